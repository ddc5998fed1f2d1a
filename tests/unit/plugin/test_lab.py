"""The session's lab: started late, shared, put back when it must be, taken down."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import SourceFileLoader
from typing import TYPE_CHECKING

import lab.cluster.backends

if TYPE_CHECKING:
    from tests.unit.plugin.conftest import Session

USES_LAB = """
    def test_one(lab_cluster):
        assert lab_cluster.status().phase == "running"

    def test_two(lab_cluster):
        assert lab_cluster.status().phase == "running"
"""


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    script = (
        "import sys, pytest; before = set(sys.modules); import lab.pytest_plugin;"
        " print(*sorted(name for name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["lab", "lab.pytest_plugin"]


def test_these_tests_run_the_labs_modules_as_they_are() -> None:
    loader = type(lab.cluster.backends.__loader__)
    assert loader is SourceFileLoader, "remove k8s_supply_chain_lab.egg-info, as make does: pytest rewrites them"


def test_a_session_that_uses_no_lab_starts_none(session: Session) -> None:
    session.pytester.makepyfile("def test_nothing(): pass")
    session.run().assert_outcomes(passed=1)
    assert session.lines == []


def test_one_lab_serves_the_session_and_goes_with_it(session: Session) -> None:
    session.pytester.makepyfile(USES_LAB)
    session.run().assert_outcomes(passed=2)
    assert session.log == ["up enforced+bouncer", "down"]
    assert session.alive == []


def test_two_sessions_have_labs_of_different_names(session: Session) -> None:
    session.pytester.makepyfile(USES_LAB)
    session.run_workers()
    session.run_workers()
    assert len({line.split()[0] for line in session.lines}) == 2


def test_a_kept_lab_stays_and_its_name_is_told(session: Session) -> None:
    session.pytester.makepyfile(USES_LAB)
    result = session.run("--lab-name", "mine", "--lab-keep")
    assert session.alive == ["mine"]
    result.stdout.fnmatch_lines(["the lab mine was left running; `lab down --name mine` takes it down"])


def test_a_lab_that_runs_already_is_put_back_and_left_running(session: Session) -> None:
    session.pytester.makepyfile(USES_LAB)
    session.run("--lab-name", "mine", "--lab-keep")
    session.run("--lab-name", "mine").assert_outcomes(passed=2)
    assert session.log == ["up enforced+bouncer", "reset enforced+bouncer"]
    assert session.alive == ["mine"]


def test_a_lab_that_cannot_start_is_an_error_with_its_remedy_and_is_tried_once(session: Session) -> None:
    (session.pytester.path / "broken").touch()
    session.pytester.makepyfile(USES_LAB)
    result = session.run()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        ["the lab cannot start [[]lab-broken[]]", "*log: all of it", "*what to do: use a whole*"]
    )
    assert "Traceback" not in result.stdout.str()
    assert session.log == ["up enforced+bouncer", "down"]


def test_an_unknown_start_state_is_an_error(session: Session) -> None:
    session.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.lab_state("shut")
        def test_it(lab_cluster): pass
        """
    )
    result = session.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'shut' is not a valid ImagePolicy*"])
    assert session.lines == []


def test_each_test_finds_the_start_state_that_it_asks_for(session: Session) -> None:
    session.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.lab_state("off")
        def test_off(lab_cluster): assert lab_cluster.status().state == "off"

        @pytest.mark.lab_state("off")
        def test_still_off(lab_cluster): assert lab_cluster.status().state == "off"

        def test_default(lab_cluster): assert lab_cluster.status().state == "enforced+bouncer"
        """
    )
    session.run().assert_outcomes(passed=3)
    assert session.log == ["up off", "reset enforced+bouncer", "down"]


def test_what_a_test_changed_is_put_back_before_the_next_one(session: Session) -> None:
    session.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.lab_changes
        def test_changes(lab_cluster): pass

        def test_uses_no_lab(): pass

        def test_next(lab_cluster): pass

        def test_last(lab_cluster): pass
        """
    )
    session.run().assert_outcomes(passed=4)
    assert session.log == ["up enforced+bouncer", "reset enforced+bouncer", "down"]


def test_nothing_is_put_back_when_no_test_follows(session: Session) -> None:
    session.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.lab_changes
        def test_changes(lab_cluster): pass
        """
    )
    session.run().assert_outcomes(passed=1)
    assert session.log == ["up enforced+bouncer", "down"]


def test_a_test_that_makes_its_own_state_is_not_waited_for(session: Session) -> None:
    session.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.lab_changes
        @pytest.mark.lab_state("any")
        def test_one(lab_cluster): pass

        @pytest.mark.lab_state("any")
        def test_two(lab_cluster): pass

        def test_three(lab_cluster): pass
        """
    )
    session.run().assert_outcomes(passed=3)
    assert session.log == ["up enforced+bouncer", "reset enforced+bouncer", "down"]
