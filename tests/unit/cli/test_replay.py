from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from lab.errors import LabError
from lab.scenario.result import Outcome, PhaseKind, PhaseResult, ScenarioResult
from lab.scenario.run import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.scenario.load import Scenario
    from lab.scenario.plan import Plan
    from tests.unit.cli.conftest import FakeCluster, Lab, Labs

DOCUMENT = """\
apiVersion: lab.supply-chain/v1alpha1
kind: Scenario
metadata:
  {{name: {name}, topic: {topic}, title: The title of {name}, seeds: ["000"], difficulty: easy, weight: 5,
   timeMinutes: 8}}
start: {{addons: [gatekeeper]}}
hints: [Look closely.]
checks:
  - id: done
    title: It is done
    points: 1
    exec: {{command: ["true"]}}
    feedback: [{{id: not-done, say: It is not done.}}]
mistakes:
  - {{id: nothing, title: Nothing was done, script: mistakes/nothing.sh, fails: done, feedback: not-done}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three scenarios in two topics."""
    for topic, name in (("audit", "first"), ("audit", "second"), ("webhooks", "third")):
        directory = tmp_path / "scenarios" / topic / name
        (directory / "mistakes").mkdir(parents=True)
        (directory / "scenario.yaml").write_text(DOCUMENT.format(name=name, topic=topic))
        (directory / "task.md").write_text("Do it.\n")
        for script in ("solution.sh", "mistakes/nothing.sh"):
            (directory / script).write_text("true\n")
    return tmp_path / "scenarios"


class Engine:
    """Stands in for the runner: each scenario ends as the test says."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.ran: list[tuple[str, str]] = []
        self.phases: list[str] = []
        self.fresh: list[str] = []
        self.bundles: Path | None = None
        self.on_run: Callable[[], None] = lambda: None
        self.pause: Callable[[float], None] = lambda _: None

    def run_scenario(
        self,
        scenario: Scenario,
        cluster: FakeCluster,
        *,
        to_run: Plan,
        bundles: Path,
        fresh: bool,
        on_event: Callable[[Event], None],
        pause: Callable[[float], None],
    ) -> ScenarioResult:
        self.pause = pause
        self.ran.append((scenario.name, cluster.name))
        self.fresh += [scenario.name] if fresh else []
        self.phases += [phase.name for phase in to_run.phases]
        self.bundles = bundles
        assert cluster.phase == "running"
        on_event(Event(kind=EventKind.PHASE_STARTED, scenario=scenario.name, phase="solution"))
        self.on_run()
        outcome = self.outcomes.get(scenario.name, Outcome.PASS)
        phase = PhaseResult(
            kind=PhaseKind.SOLUTION, name="solution", outcome=outcome, problem="" if outcome is Outcome.PASS else "why"
        )
        on_event(Event(kind=EventKind.PHASE_FINISHED, scenario=scenario.name, phase="solution", result=phase))
        return ScenarioResult(
            name=scenario.name,
            topic=scenario.topic,
            title=scenario.document.metadata.title,
            backend=cluster.backend,
            phases=() if outcome is Outcome.SKIP else (phase,),
            skipped="the backend lacks something" if outcome is Outcome.SKIP else "",
        )


def _await(event: threading.Event) -> None:
    assert event.wait(30.0), "it did not happen"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr("lab.scenario.run.run_scenario", engine.run_scenario)
    monkeypatch.setattr("os.getpid", lambda: 4711)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    return engine


def test_scenarios_are_listed_with_topic_and_title(run: Lab, root: Path) -> None:
    lines = run("scenarios", "--scenarios", str(root)).stdout.splitlines()

    assert lines[0].split() == ["NAME", "TOPIC", "DIFFICULTY", "TIME", "TITLE"]
    assert [line.split()[:2] for line in lines[1:]] == [["first", "audit"], ["second", "audit"], ["third", "webhooks"]]
    assert lines[1].endswith("The title of first")


def test_scenarios_as_json(run: Lab, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    entries = json.loads(run("scenarios", "--json").stdout)

    assert [entry["name"] for entry in entries] == ["first", "second", "third"]
    assert entries[0]["state"] == "off+gatekeeper"
    assert (entries[0]["checks"], entries[0]["mistakes"]) == (["done"], ["nothing"])


def test_the_project_s_own_scenarios_are_the_default(run: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path(__file__).parents[3] / "scenarios"

    assert {Path(entry["directory"]).parents[1] for entry in json.loads(run("scenarios", "--json").stdout)} == {own}


def test_an_invalid_scenario_is_bad_input_and_every_fault_is_told(run: Lab, root: Path) -> None:
    for name in ("first", "second"):
        file = root / "audit" / name / "scenario.yaml"
        file.write_text(file.read_text().replace("difficulty: easy", "difficulty: none"))
    result = run("scenarios", "--scenarios", str(root))

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("scenario.yaml:4") == 2


@pytest.mark.parametrize("arguments", [("run",), ("run", "first", "--all")])
def test_run_wants_names_or_all(run: Lab, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_unknown_scenario_is_bad_input_and_makes_no_lab(run: Lab, labs: Labs, root: Path) -> None:
    result = run("run", "frist", "--scenarios", str(root))

    assert result.exit_code == 2
    assert "did you mean first" in result.stderr
    assert labs.opened == []


def test_scenarios_that_are_skipped_need_no_lab(run: Lab, labs: Labs, root: Path) -> None:
    for name in ("first", "second"):
        file = root / "audit" / name / "scenario.yaml"
        file.write_text(file.read_text().replace("start:", "requires: [runs-images]\nstart:"))
    result = run("run", "first", "second", "--scenarios", str(root))

    assert result.exit_code == 0
    assert result.stdout.count("skipped: the backend embedded lacks runs-images") == 2
    assert [call for cluster in labs.clusters.values() for call in cluster.calls] == []


def test_the_cluster_to_be_a_guest_in_is_told_to_the_backend(run: Lab, labs: Labs, root: Path, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "theirs"
    kubeconfig.touch()
    options = ("--backend", "existing", "--kubeconfig", str(kubeconfig), "--context", "staging")
    run("run", "first", "--scenarios", str(root), *options)

    assert labs.opened[0]["backend"] == "existing"
    assert (labs.opened[0]["kubeconfig"], labs.opened[0]["context"]) == (kubeconfig, "staging")


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_directory_without_scenarios_is_bad_input(run: Lab, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    result = run("run", "--all", "--scenarios", str(tmp_path / name))

    assert result.exit_code == 2
    assert "[no-scenarios]" in result.stderr


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ({}, 0),
        ({"second": Outcome.SKIP}, 0),
        ({"second": Outcome.FAIL}, 1),
        ({"first": Outcome.ERROR, "second": Outcome.FAIL}, 1),
        ({"third": Outcome.ERROR}, 3),
    ],
)
def test_run_ends_with_the_exit_code_of_its_outcomes(
    run: Lab, root: Path, engine: Engine, outcomes: dict[str, Outcome], code: int
) -> None:
    engine.outcomes = outcomes
    result = run("run", "--all", "--scenarios", str(root))

    assert result.exit_code == code
    assert [name for name, _ in engine.ran] == ["first", "second", "third"]
    for name in ("first", "second", "third"):
        assert name in result.stdout
    assert f"{outcomes.get('first', Outcome.PASS).upper()} " in result.stderr


def test_run_makes_a_lab_of_its_own_and_removes_it(run: Lab, labs: Labs, root: Path, engine: Engine) -> None:
    mine = labs.add(phase="running", state="enforced+bouncer")
    assert run("run", "third", "first", "--scenarios", str(root)).exit_code == 0

    assert engine.ran == [("third", "run-4711"), ("first", "run-4711")]
    assert engine.fresh == ["third"], "only the first finds its start state made"
    assert labs.clusters["run-4711"].calls == [("up", "off+gatekeeper"), ("down",)]
    assert mine.calls == []


def test_run_with_a_name_uses_the_lab_that_runs_and_leaves_it(run: Lab, labs: Labs, root: Path, engine: Engine) -> None:
    mine = labs.add("mine", phase="running", state="enforced+bouncer")
    assert run("run", "first", "-n", "mine", "--scenarios", str(root)).exit_code == 0

    assert engine.ran == [("first", "mine")]
    assert engine.fresh == [], "a lab that ran already may have been changed"
    assert mine.calls == []


def test_run_with_a_name_makes_that_lab_if_it_does_not_run(
    run: Lab, labs: Labs, root: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_NAME", "mine")
    run("run", "first", "--scenarios", str(root))

    assert engine.ran == [("first", "mine")]
    assert labs.clusters["mine"].calls == [("up", "off+gatekeeper"), ("down",)]


@pytest.mark.parametrize(
    ("cpus", "options", "expected"),
    [
        (4, ("--all",), ["run-4711-1", "run-4711-2"]),
        (2, ("first", "second"), ["run-4711-1", "run-4711-2"]),
        (2, ("first",), ["run-4711"]),
        (1, ("--all",), ["run-4711"]),
        (None, ("--all",), ["run-4711"]),
        (4, ("--all", "--workers", "1"), ["run-4711"]),
        (1, ("--all", "--workers", "3"), ["run-4711-1", "run-4711-2", "run-4711-3"]),
        (4, ("first", "second", "--workers", "9"), ["run-4711-1", "run-4711-2"]),
        (4, ("--all", "-n", "mine"), ["mine"]),
        (4, ("--all", "-n", "mine", "--workers", "1"), ["mine"]),
    ],
)
def test_run_makes_a_lab_for_each_worker(
    request: pytest.FixtureRequest, cpus: int | None, options: tuple[str, ...], expected: list[str]
) -> None:
    run, labs, root, engine = (request.getfixturevalue(name) for name in ("run", "labs", "root", "engine"))
    request.getfixturevalue("monkeypatch").setattr("os.cpu_count", lambda: cpus)
    assert run("run", *options, "--scenarios", str(root)).exit_code == 0

    assert sorted(labs.clusters) == expected
    assert {lab for _, lab in engine.ran} == set(expected), "each worker has a scenario"
    for cluster in labs.clusters.values():
        assert cluster.calls == [("up", "off+gatekeeper"), ("down",)]


@pytest.mark.parametrize("options", [("-n", "mine"), ()])
def test_several_workers_and_a_named_lab_is_wrong_usage_and_makes_no_lab(
    run: Lab, labs: Labs, root: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    if not options:
        monkeypatch.setenv("LAB_NAME", "mine")
    result = run("run", "--all", *options, "--workers", "2", "--scenarios", str(root))

    assert result.exit_code == 2
    assert "--workers 2 needs 2 labs, and --name (or LAB_NAME) names one" in result.stderr
    assert labs.opened == []


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_there_is_at_least_one_worker(run: Lab, labs: Labs, root: Path, workers: str) -> None:
    assert run("run", "--all", "--workers", workers, "--scenarios", str(root)).exit_code == 2
    assert labs.opened == []


def test_the_report_has_the_order_of_the_scenarios_whichever_worker_is_done_first(
    run: Lab, labs: Labs, root: Path, engine: Engine
) -> None:
    second_is_done = threading.Event()
    labs.add("run-4711-1", on_up=lambda: _await(second_is_done))
    labs.add("run-4711-2", on_down=second_is_done.set)
    stdout = run("run", "--all", "--workers", "2", "--scenarios", str(root)).stdout

    assert engine.ran[-1] == ("first", "run-4711-1"), "all others were replayed before it"
    assert stdout.index("first") < stdout.index("second") < stdout.index("third")


def test_a_lab_of_several_that_does_not_come_up_ends_the_others(
    run: Lab, labs: Labs, root: Path, engine: Engine
) -> None:
    def fail() -> None:
        raise LabError("no-etcd", "etcd ended", hint="see its log")

    labs.add("run-4711-2", on_up=fail)
    engine.on_run = lambda: engine.pause(600.0)
    result = run("run", "--all", "--workers", "2", "--scenarios", str(root))

    assert result.exit_code == 3
    assert "[no-etcd]" in result.stderr
    assert result.stdout == ""
    assert labs.clusters["run-4711-1"].phase == "stopped"
    assert labs.clusters["run-4711-2"].calls == [("up", "off+gatekeeper")], "it takes care of itself"


@pytest.mark.usefixtures("engine")
def test_lines_of_several_labs_say_which_one_they_are_about(run: Lab, root: Path) -> None:
    lines = run("run", "--all", "--workers", "2", "--keep", "--scenarios", str(root)).stderr.splitlines()

    assert sorted(line[11:] for line in lines) == [
        "PASS  first solution, 0.0 s",
        "PASS  second solution, 0.0 s",
        "PASS  third solution, 0.0 s",
        "run-4711-1 is kept; remove it with: lab down --name run-4711-1",
        "run-4711-1: etcd and the API server start",
        "run-4711-2 is kept; remove it with: lab down --name run-4711-2",
        "run-4711-2: etcd and the API server start",
    ]


@pytest.mark.parametrize(
    ("options", "phases"),
    [((), ["untouched", "solution", "mistake/nothing"]), (("--no-mistakes",), ["untouched", "solution"])],
)
def test_run_makes_the_mistakes_unless_told_not_to(
    run: Lab, root: Path, engine: Engine, options: tuple[str, ...], phases: list[str]
) -> None:
    assert run("run", "first", *options, "--scenarios", str(root)).exit_code == 0

    assert engine.phases == phases


def test_a_seed_gives_a_random_order_that_is_told_and_always_the_same(
    run: Lab, root: Path, engine: Engine, tmp_path: Path
) -> None:
    report = tmp_path / "r.json"
    orders = []
    for seed in ("0", "0", "5"):
        result = run("run", "--all", "--shuffle", seed, "--scenarios", str(root), "--json", str(report))
        names = [scenario["name"] for scenario in json.loads(report.read_text())["scenarios"]]
        assert f"order of seed {seed}: {', '.join(names)}\n" in result.stderr
        assert f"in the order of seed {seed}: --shuffle {seed}\n" in result.stdout
        assert json.loads(report.read_text())["shuffleSeed"] == int(seed)
        orders.append(names)

    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert [name for name, _ in engine.ran] == [name for order in orders for name in order]


def test_run_keeps_the_lab_when_asked_to_and_says_how_to_remove_it(
    run: Lab, labs: Labs, root: Path, engine: Engine
) -> None:
    engine.outcomes = {"first": Outcome.FAIL}
    result = run("run", "first", "--keep", "--scenarios", str(root))

    assert labs.clusters["run-4711"].calls == [("up", "off+gatekeeper")]
    assert "lab down --name run-4711" in result.stderr


@pytest.mark.parametrize("ending", [(KeyboardInterrupt(), 130), (RuntimeError("defect"), 3)])
def test_run_removes_its_lab_when_it_is_interrupted_or_breaks(
    run: Lab, labs: Labs, root: Path, engine: Engine, ending: tuple[BaseException, int]
) -> None:
    error, code = ending

    def fail() -> None:
        raise error

    engine.on_run = fail
    result = run("run", "--all", "--scenarios", str(root))

    assert result.exit_code == code
    assert labs.clusters["run-4711"].calls == [("up", "off+gatekeeper"), ("down",)]
    assert result.stdout == ""


def test_a_lab_that_does_not_come_up_could_not_run(run: Lab, labs: Labs, root: Path, engine: Engine) -> None:
    def fail() -> None:
        raise LabError("no-etcd", "etcd ended", hint="see its log")

    labs.add("run-4711", on_up=fail)
    result = run("run", "--all", "--scenarios", str(root))

    assert result.exit_code == 3
    assert "[no-etcd]" in result.stderr
    assert engine.ran == []


def test_run_writes_its_reports(run: Lab, root: Path, engine: Engine, tmp_path: Path) -> None:
    engine.outcomes = {"first": Outcome.FAIL, "third": Outcome.ERROR}
    json_file, junit_file, bundles = tmp_path / "new" / "r.json", tmp_path / "new" / "r.xml", tmp_path / "bundles"
    files = ("--json", str(json_file), "--junit", str(junit_file), "--bundles", str(bundles))
    run("run", "--all", "--scenarios", str(root), *files)

    report: dict[str, Any] = json.loads(json_file.read_text())
    assert [scenario["outcome"] for scenario in report["scenarios"]] == ["fail", "pass", "error"]
    suites = ET.fromstring(junit_file.read_text())  # noqa: S314 - our own
    assert [len(suites.findall(f".//{tag}")) for tag in ("testcase", "failure", "error")] == [3, 1, 1]
    assert engine.bundles == bundles


def test_a_report_that_cannot_be_written_is_told_before_anything_runs(
    run: Lab, labs: Labs, root: Path, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = run("run", "--all", "--scenarios", str(root), "--json", str(tmp_path / "file" / "r.json"))

    assert result.exit_code == 2
    assert "[report-directory]" in result.stderr
    assert (labs.opened, engine.ran) == ([], [])


def test_progress_is_a_line_per_phase_with_the_reason_of_a_failure(run: Lab, root: Path, engine: Engine) -> None:
    engine.outcomes = {"second": Outcome.FAIL}
    lines = run("run", "first", "second", "--scenarios", str(root)).stderr.splitlines()

    assert [line[11:] for line in lines] == [
        "etcd and the API server start",
        "PASS  first solution, 0.0 s",
        "FAIL  second solution, 0.0 s: why",
        "removing run-4711",
    ]
