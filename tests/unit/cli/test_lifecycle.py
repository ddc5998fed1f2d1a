from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.errors import LabError

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Lab, Labs


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        ((), "enforced+bouncer"),
        (("--with", "gatekeeper"), "enforced+bouncer+gatekeeper"),
        (("--image-policy", "off"), "off"),
        (("--image-policy", "open", "--with", "bouncer", "--with", "gatekeeper"), "open+bouncer+gatekeeper"),
        (("--state", "enforced"), "enforced"),
        (("--state", "off+gatekeeper"), "off+gatekeeper"),
    ],
)
def test_up_makes_the_start_state_that_was_asked_for(
    run: Lab, labs: Labs, arguments: tuple[str, ...], state: str
) -> None:
    result = run("up", *arguments)

    assert result.exit_code == 0
    assert labs.clusters["lab"].calls == [("up", state)]
    assert result.stdout.splitlines()[0].endswith(f" s: {state}")


def test_up_tells_its_progress_on_standard_error_and_what_now_on_standard_output(run: Lab) -> None:
    result = run("up")

    assert result.stderr == "    0.0 s  etcd and the API server start\n"
    assert result.stdout.splitlines()[1:] == [
        "",
        "what now",
        "  lab kubectl get pods -A  everything that runs",
        "  lab node shell           root on the node: edit /etc/kubernetes",
        "  lab down                 stop it and remove its files",
    ]


def test_up_hands_on_what_the_options_say(run: Lab, labs: Labs, tmp_path: Path) -> None:
    config = tmp_path / "kind.yaml"
    config.touch()
    result = run("up", "-n", "two", "--backend", "other", "--bin-dir", "/programs", "--config", str(config))

    assert result.exit_code == 0
    (opened,) = labs.opened
    assert opened["name"] == "two"
    assert opened["backend"] == "other"
    assert opened["bin_dir"] == Path("/programs")
    assert opened["definition"] == config
    assert "lab node shell --name two" in result.stdout


def test_the_environment_names_lab_and_backend(run: Lab, labs: Labs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_NAME", "three")
    monkeypatch.setenv("LAB_BACKEND", "other")
    run("up")

    assert (labs.opened[0]["name"], labs.opened[0]["backend"]) == ("three", "other")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--state", "nope"), "state-unknown"),
        (("--state", "off+nope"), "state-unknown"),
        (("--state", "off", "--with", "bouncer"), "state-twice"),
    ],
)
def test_a_start_state_that_cannot_be_is_bad_input(run: Lab, labs: Labs, arguments: tuple[str, ...], code: str) -> None:
    result = run("up", *arguments)

    assert result.exit_code == 2
    assert f"[{code}]" in result.stderr
    assert labs.clusters == {}


def test_up_leaves_a_lab_that_is_in_that_state_as_it_is(run: Lab, labs: Labs) -> None:
    cluster = labs.add(phase="running", state="enforced+bouncer")
    result = run("up")

    assert result.exit_code == 0
    assert cluster.calls == []
    assert result.stdout.startswith("lab is already up: enforced+bouncer\n")


@pytest.mark.parametrize(("phase", "state"), [("running", "off"), ("broken", "enforced+bouncer"), ("starting", "off")])
def test_up_does_not_throw_away_a_lab_that_is_otherwise(run: Lab, labs: Labs, phase: str, state: str) -> None:
    cluster = labs.add(phase=phase, state=state)
    result = run("up")

    assert result.exit_code == 2
    assert "[lab-exists]" in result.stderr
    assert "'lab reset --state enforced+bouncer'" in result.stderr
    assert cluster.calls == []


def test_down_takes_one_lab_down(run: Lab, labs: Labs) -> None:
    one, two = labs.add("one", phase="running"), labs.add("two", phase="running")
    result = run("down", "-n", "two")

    assert result.stdout == "two is gone\n"
    assert (one.calls, two.calls) == ([], [("down",)])


def test_down_all_goes_on_after_one_that_cannot_be_removed_and_tells_it(run: Lab, labs: Labs) -> None:
    def fail() -> None:
        raise LabError("busy", "it is busy", hint="wait")

    labs.add("one", on_down=fail)
    two = labs.add("two")
    result = run("down", "--all")

    assert result.exit_code == 3
    assert result.stdout == "two is gone\n"
    assert two.calls == [("down",)]
    assert "1 of 2 labs could not be removed [labs-left]" in result.stderr
    assert "it is busy" in result.stderr


def test_down_tells_why_it_could_not(run: Lab, labs: Labs) -> None:
    def fail() -> None:
        raise LabError("busy", "it is busy", hint="wait")

    labs.add(on_down=fail)
    assert run("down").stderr == "error: it is busy [busy]\n  what to do: wait\n"


@pytest.mark.parametrize(
    ("arguments", "state"), [((), "off+gatekeeper"), (("--state", "enforced+bouncer"), "enforced+bouncer")]
)
def test_reset_puts_back_the_state_asked_for_or_else_its_own(
    run: Lab, labs: Labs, arguments: tuple[str, ...], state: str
) -> None:
    cluster = labs.add(phase="broken", state="off+gatekeeper")
    result = run("reset", *arguments)

    assert result.exit_code == 0
    assert cluster.calls == [("reset", state)]
    assert result.stdout.endswith(f" s: {state}\n")


def test_reset_of_a_lab_that_does_not_run_could_not_run(run: Lab) -> None:
    result = run("reset")

    assert result.exit_code == 3
    assert "[lab-not-running]" in result.stderr


def test_reset_on_a_backend_without_snapshots_could_not_run(run: Lab, labs: Labs) -> None:
    labs.add(can_reset=False, phase="running", state="off", backend="existing")
    result = run("reset")

    assert result.exit_code == 3
    assert "the backend existing cannot put a start state back" in result.stderr
