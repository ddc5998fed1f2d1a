from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lab.cli import access
from lab.cli.kubeconfig import merge_into

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Lab, Labs

USERS_OWN = """\
apiVersion: v1
kind: Config
clusters:
- {name: work, cluster: {server: "https://work.example:6443"}}
- {name: lab-lab, cluster: {server: "https://127.0.0.1:1"}}
users:
- {name: me, user: {token: mine}}
contexts:
- {name: work, context: {cluster: work, user: me, namespace: team}}
current-context: work
"""


class Replaced:
    """Stands in for the pinned kubectl and for the exec that starts it."""

    def __init__(self) -> None:
        self.arguments: tuple[str, ...] = ()
        self.environment: dict[str, str] = {}
        self.program = Path()
        self.bin_dir: Path | None = None

    def become(self, program: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.program, self.arguments, self.environment = program, arguments, environment

    def components(self, _paths: object, *, bin_dir: Path | None, progress: object) -> Replaced:
        assert callable(progress)
        self.bin_dir = bin_dir
        return self

    def ensure(self, name: str) -> dict[str, Path]:
        return {name: Path("/store") / name}


@pytest.fixture
def kubectl(monkeypatch: pytest.MonkeyPatch, labs: Labs) -> Replaced:
    del labs
    replaced = Replaced()
    monkeypatch.setattr(access, "become", replaced.become)
    monkeypatch.setattr("lab.components.Components", replaced.components)
    return replaced


@pytest.mark.parametrize(
    ("typed", "passed"),
    [
        (["get", "pods"], ["get", "pods"]),
        (["--", "get", "pods"], ["get", "pods"]),
        (["-n", "kube-system", "get", "pods"], ["-n", "kube-system", "get", "pods"]),
        (["--namespace=kube-system", "-v6", "get", "pods"], ["--namespace=kube-system", "-v6", "get", "pods"]),
        (["get", "pods", "--help"], ["get", "pods", "--help"]),
        (["get", "pods", "-n", "x", "--name", "y"], ["get", "pods", "-n", "x", "--name", "y"]),
        (["exec", "-it", "pod", "--", "sh", "-c", "a  b"], ["exec", "-it", "pod", "--", "sh", "-c", "a  b"]),
        (["--", "exec", "pod", "--", "ls"], ["exec", "pod", "--", "ls"]),
        (["run", "podx", "--image=nginx", ""], ["run", "podx", "--image=nginx", ""]),
        ([], []),
    ],
)
def test_kubectl_gets_its_arguments_as_they_are(
    run: Lab, kubectl: Replaced, typed: list[str], passed: list[str]
) -> None:
    result = run("kubectl", *typed)

    assert result.exit_code == 0, result.stderr
    assert list(kubectl.arguments) == passed
    assert kubectl.program == Path("/store/kubectl")


def test_kubectl_has_the_lab_s_kubeconfig_and_the_rest_of_the_environment(
    run: Lab, labs: Labs, kubectl: Replaced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/the/user's/own")
    monkeypatch.setenv("KUBE_EDITOR", "ed")
    run("kubectl", "--name", "two", "--bin-dir", "/programs", "-n", "default", "get", "pods")

    assert labs.opened[0]["name"] == "two"
    assert list(kubectl.arguments) == ["-n", "default", "get", "pods"]
    assert kubectl.environment["KUBECONFIG"] == str(labs.directory / "two.kubeconfig")
    assert kubectl.environment["KUBE_EDITOR"] == "ed"
    assert kubectl.bin_dir == Path("/programs")


def test_becoming_another_program_hands_over_arguments_environment_and_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("os.execve", lambda *arguments: seen.append(arguments))
    access.become(Path("/store/kubectl"), ("get", "pods"), {"KUBECONFIG": "here"})

    assert seen == [(Path("/store/kubectl"), ["kubectl", "get", "pods"], {"KUBECONFIG": "here"})]


@pytest.mark.parametrize(
    ("typed", "passed"),
    [
        (["--", "ls", "-l"], ("ls", "-l")),
        (["ls", "-n", "--name", "x"], ("ls", "-n", "--name", "x")),
        (["-n", "two", "sh", "-c", "exit 7"], ("sh", "-c", "exit 7")),
    ],
)
def test_node_exec_runs_the_command_and_has_its_exit_code(
    run: Lab, labs: Labs, typed: list[str], passed: tuple[str, ...]
) -> None:
    for name in ("lab", "two"):
        labs.add(name, phase="running", shell_code=7)
    result = run("node", "exec", *typed)

    assert result.exit_code == 7
    assert labs.clusters[labs.opened[0]["name"]].calls == [("node_shell", *passed)]
    assert labs.opened[0]["name"] == ("two" if "two" in typed else "lab")


def test_node_exec_without_a_command_is_wrong_usage(run: Lab) -> None:
    assert run("node", "exec").exit_code == 2


def test_node_shell_has_the_shell_s_exit_code(run: Lab, labs: Labs) -> None:
    cluster = labs.add(phase="running", shell_code=130)

    assert run("node", "shell").exit_code == 130
    assert cluster.calls == [("node_shell",)]


def test_kubeconfig_prints_the_text_or_the_path(run: Lab, labs: Labs) -> None:
    labs.add(phase="running")

    assert yaml.safe_load(run("kubeconfig").stdout)["current-context"] == "admin@kubernetes"
    assert run("kubeconfig", "--path").stdout == f"{labs.directory / 'lab.kubeconfig'}\n"
    assert not (labs.directory / ".kube").exists()


def test_kubeconfig_path_and_merge_exclude_each_other(run: Lab) -> None:
    assert run("kubeconfig", "--path", "--merge").exit_code == 2


def test_merge_makes_a_file_for_the_owner_only(run: Lab, labs: Labs) -> None:
    result = run("kubeconfig", "--merge", "-n", "two")

    made = labs.directory / ".kube" / "config"
    assert result.stdout == f"added to {made}; use it with: kubectl --context lab-two ...\n"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    config = yaml.safe_load(made.read_text())
    assert config["contexts"] == [{"name": "lab-two", "context": {"cluster": "lab-two", "user": "lab-two"}}]
    assert config["clusters"] == [{"name": "lab-two", "cluster": {"server": "https://127.0.0.1:4711"}}]
    assert config["users"] == [{"name": "lab-two", "user": {"token": "secret-of-the-lab"}}]
    assert config["current-context"] == ""


def test_merge_keeps_what_is_the_user_s_own(run: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text(USERS_OWN)
    real.chmod(0o640)
    link.symlink_to(real)
    monkeypatch.setenv("KUBECONFIG", f"{link}:/elsewhere")
    assert run("kubeconfig", "--merge").exit_code == 0
    assert run("kubeconfig", "--merge").exit_code == 0

    before, after = yaml.safe_load(USERS_OWN), yaml.safe_load(real.read_text())
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert after["current-context"] == "work"
    assert after["contexts"][0] == before["contexts"][0]
    assert after["users"][0] == before["users"][0]
    assert [(c["name"], c["cluster"]["server"]) for c in after["clusters"]] == [
        ("work", "https://work.example:6443"),
        ("lab-lab", "https://127.0.0.1:4711"),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lab.kubeconfig", "link", "real"]


@pytest.mark.parametrize("text", ["a: [", "just a text", "clusters: {}", "contexts: [1]"])
def test_merge_does_not_touch_a_file_that_is_no_kubeconfig(
    run: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    own = tmp_path / "own"
    own.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(own))
    result = run("kubeconfig", "--merge")

    assert result.exit_code == (0 if text == "clusters: {}" else 2)
    assert (own.read_text() == text) == (result.exit_code == 2)
    assert not own.with_name("own.lock").exists()


def test_merge_respects_the_lock_of_kubectl(run: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    own.write_text(USERS_OWN)
    own.with_name("own.lock").touch()
    monkeypatch.setenv("KUBECONFIG", str(own))
    result = run("kubeconfig", "--merge")

    assert result.exit_code == 3
    assert "[kubeconfig-locked]" in result.stderr
    assert own.read_text() == USERS_OWN
    assert own.with_name("own.lock").exists()


def test_merge_leaves_nothing_when_the_file_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    target, source = tmp_path / "config", tmp_path / "source"
    target.write_text(USERS_OWN)
    source.write_text(USERS_OWN)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        merge_into(target, source, name="lab")

    assert target.read_text() == USERS_OWN
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config", "source"]
