"""pytest plugin of the lab: clusters, namespaces, manifests and probes as fixtures, scenarios as tests.

It is loaded in every pytest session of an environment that has the lab installed, most of which never touch a
cluster: so it imports nothing but pytest at load time, and everything else when a test asks for a lab. A session in
which no test asks starts nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab.cluster.protocol import Cluster
    from lab.scenario.result import ProbeResult
    from lab.testing.scenarios import CaseRun
    from lab.testing.session import SessionLab, Settings

    class Apply(Protocol):
        """What `lab_apply` is."""

        def __call__(self, source: Path | str | Mapping[str, Any], *, namespace: str | None = None) -> None:
            """Apply a manifest."""

    class SendProbe(Protocol):
        """What `lab_probe` is."""

        def __call__(self, spec: Mapping[str, Any] | str, *, within_s: float = 0.0) -> ProbeResult:
            """Send a probe that must get the verdict that it expects."""

    class XdistNode(Protocol):
        """A worker, as pytest-xdist shows it to the controlling process."""

        workerinput: dict[str, Any]


_LAB: pytest.StashKey[SessionLab] = pytest.StashKey()
_LEDGER: pytest.StashKey[Path] = pytest.StashKey()

_ANY_STATE = "any"
_TRIED_TWICE = "lab_tried_twice"
_MARKERS = (
    "lab_state(key): the start state that the test needs, such as 'off' or 'enforced+bouncer'; 'any': it makes its own",
    "xdist_group(name): tests that pytest-xdist runs in one worker (pytest-xdist declares it too, where it is there)",
    "lab_changes: the test changes the cluster itself; the next one that uses the lab finds it put back",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("supply-chain lab")
    group.addoption("--lab-backend", default="embedded", metavar="BACKEND", help="what labs run on (default: embedded)")
    group.addoption(
        "--lab-kubeconfig", type=Path, metavar="FILE", help="with --lab-backend existing: the cluster to be a guest in"
    )
    group.addoption("--lab-image-registry", metavar="REF", help="registry that this cluster gets the lab's images from")
    group.addoption("--lab-context", metavar="NAME", help="context of that kubeconfig (default: its current one)")
    group.addoption(
        "--lab-name", metavar="NAME", help="name of the lab; one that runs already is used and left running"
    )
    group.addoption("--lab-keep", action="store_true", help="leave the lab running when the session ends")
    group.addoption("--lab-bin-dir", type=Path, metavar="DIR", help="own binaries, used instead of the pinned ones")
    group.addoption(
        "--lab-scenarios",
        action="append",
        type=Path,
        metavar="DIR",
        help="where scenarios (<topic>/<name>/scenario.yaml) are collected from (default: ini option lab_scenarios)",
    )
    group.addoption(
        "--lab-shuffle", type=int, metavar="SEED", help="run scenarios in a random order, always the same for a seed"
    )
    parser.addini("lab_scenarios", type="paths", help="directories of scenarios (default: scenarios)", default=[])


def pytest_report_header(config: pytest.Config) -> str | None:
    """Tell the seed of the scenarios' order."""
    seed = config.getoption("--lab-shuffle")
    return None if seed is None else f"scenarios: in the order of --lab-shuffle {seed}"


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: XdistNode) -> None:
    """Tell a worker of pytest-xdist where to note the labs that it starts."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]  # pytest-xdist has it, and no types
    if _LEDGER not in config.stash:
        _end_orderly_when_terminated(config)
        config.stash[_LEDGER] = Path(tempfile.mkdtemp(prefix="pytest-lab-"))
    node.workerinput["lab_ledger"] = str(config.stash[_LEDGER])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `lab_scenario` once for each case of each scenario."""
    if "lab_scenario" not in metafunc.fixturenames:
        return
    from lab.errors import InputError  # noqa: PLC0415 - see the module's docstring, here and below
    from lab.testing.scenarios import cases_in  # noqa: PLC0415

    config = metafunc.config
    chosen = config.getoption("--lab-scenarios") or config.getini("lab_scenarios") or [config.rootpath / "scenarios"]
    try:
        cases = cases_in([directory.absolute() for directory in chosen], seed=config.getoption("--lab-shuffle"))
    except InputError as error:
        raise pytest.Collector.CollectError(str(error)) from error
    # The mistakes of a scenario are waited for as long as its solution took, so they stay together, solution first.
    parameters = [pytest.param(case, id=case.id, marks=pytest.mark.xdist_group(case.scenario.name)) for case in cases]
    metafunc.parametrize("lab_scenario", parameters, indirect=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have the lab in the start state that a test needs, before its fixtures are set up."""
    if "lab_cluster" not in getattr(item, "fixturenames", ()):
        return
    from lab.cluster.protocol import DEFAULT_STATE, StartState  # noqa: PLC0415
    from lab.errors import LabError  # noqa: PLC0415

    marker = item.get_closest_marker("lab_state")
    if marker is not None and marker.args == (_ANY_STATE,):
        return
    try:
        state = DEFAULT_STATE if marker is None else StartState.from_key(*marker.args)
        _session_lab(item.config).choose(state)
    except (LabError, ValueError) as error:
        pytest.fail(str(error), pytrace=False)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Remember that a test changed the lab."""
    if item.get_closest_marker("lab_changes") is not None and _LAB in item.config.stash:
        item.config.stash[_LAB].mark_changed()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which scenarios had to be tried twice, and which labs were left running."""
    for name in _tried_twice(terminalreporter):
        terminalreporter.write_line(f"the scenario {name} could not run at first and was tried twice")
    if not config.getoption("--lab-keep"):
        return
    names = [lab.settings.name for lab in [config.stash.get(_LAB, None)] if lab is not None and lab.is_left_running]
    if _LEDGER in config.stash:
        names += sorted(entry.name for entry in config.stash[_LEDGER].iterdir())
    for name in names:
        terminalreporter.write_line(f"the lab {name} was left running; `lab down --name {name}` takes it down")


def _tried_twice(terminalreporter: pytest.TerminalReporter) -> list[str]:
    reports = [report for group in terminalreporter.stats.values() for report in group]
    properties = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    return sorted({str(value) for name, value in properties if name == _TRIED_TWICE})


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take down what workers left behind that did not live to do it themselves."""
    ledger = config.stash.get(_LEDGER, None)
    if ledger is None:
        return
    try:
        if any(ledger.iterdir()):
            from lab.testing.session import take_down_left_over  # noqa: PLC0415

            take_down_left_over(_settings(config, ledger))
    finally:
        shutil.rmtree(ledger)


@pytest.fixture(scope="session")
def lab_cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """The session's lab (one for each worker of pytest-xdist), running, in the start state that the test asks for.

    That is the marker ``lab_state``'s, or a cluster that enforces its image policy. It is brought up when the first
    test asks for it and taken down at the end, unless ``--lab-keep`` is given or it ran before.
    """
    from lab.errors import LabError  # noqa: PLC0415

    _end_orderly_when_terminated(pytestconfig)
    lab = _session_lab(pytestconfig)
    try:
        try:
            cluster = lab.up()
        except LabError as error:
            pytest.fail(str(error), pytrace=False)
        yield cluster
    finally:
        lab.down()


@pytest.fixture
def lab_namespace(lab_cluster: Cluster) -> Iterator[str]:
    """Name of a namespace of the test's own, in which Pods can be created; deleted afterwards, without a wait."""
    from lab.testing.objects import api_of, make_namespace, remove_namespace  # noqa: PLC0415

    name = make_namespace(api_of(lab_cluster))
    yield name
    remove_namespace(api_of(lab_cluster), name)


@pytest.fixture
def lab_apply(request: pytest.FixtureRequest, lab_cluster: Cluster, lab_namespace: str) -> Apply:
    """Applies manifests (server-side): a `pathlib.Path` (relative to the test's file), YAML text, or an object.

    An object that names no namespace goes to the test's own, or to the one that is given. What is applied elsewhere
    stays until the lab is put back, which happens before the next test.
    """
    from lab.testing.objects import api_of, objects_in  # noqa: PLC0415

    def apply(source: Path | str | Mapping[str, Any], *, namespace: str | None = None) -> None:
        api = api_of(lab_cluster)
        for manifest in objects_in(source, directory=request.path.parent):
            where = manifest["metadata"].get("namespace") or namespace or lab_namespace
            if where != lab_namespace or not api.kind_of(manifest).namespaced:
                _session_lab(request.config).mark_changed()
            api.apply(manifest, namespace=where)

    return apply


@pytest.fixture
def lab_probe(request: pytest.FixtureRequest, lab_cluster: Cluster) -> SendProbe:
    """Sends a probe, written as under ``probe:`` in a scenario, and fails unless it gets its verdict, cause included.

    With ``within_s`` it is sent again until it does or that time is over. A verdict whose cause cannot be proved raises
    a LabError.
    """
    from lab.testing import probes  # noqa: PLC0415

    def send(spec: Mapping[str, Any] | str, *, within_s: float = 0.0) -> ProbeResult:
        __tracebackhide__ = True
        sighting = probes.send(probes.decode(spec), lab_cluster, directory=request.path.parent, within_s=within_s)
        if sighting.mismatches:
            pytest.fail(probes.mismatch_text(sighting))
        return probes.proved(sighting)

    return send


@pytest.fixture
def lab_scenario(request: pytest.FixtureRequest) -> CaseRun:
    """A case of a scenario, run: the test has to call its ``verify()``.

    A test that asks for this runs once for each case of each scenario. A case that could not run is tried once more
    from a fresh start state, and the session's summary names it; then it is an error of this fixture. One that the
    backend cannot hold is skipped; whether the others passed is for the test to say, and no verdict is asked twice.
    """
    from lab.scenario.result import Outcome  # noqa: PLC0415
    from lab.testing.scenarios import explain, reason_to_skip, run_case  # noqa: PLC0415

    case = request.param
    lab = _session_lab(request.config)
    reason = reason_to_skip(case.plan_on(lab.cluster))
    if reason:
        pytest.skip(reason)
    if not lab.is_up:
        lab.choose(case.scenario.document.start.state)
    cluster = request.getfixturevalue("lab_cluster")
    lab.mark_changed()
    passed_after_s = lab.passed_after_s.setdefault(case.scenario.name, {})
    run = run_case(case, cluster, passed_after_s=passed_after_s, tell=_tell)
    if run.result.outcome is Outcome.ERROR:
        _tell(explain(run.result))
        _tell(f"{case.id} could not run and is tried once more")
        request.node.user_properties.append((_TRIED_TWICE, case.id))
        run = run_case(case, cluster, passed_after_s=passed_after_s, tell=_tell)
    if run.result.bundle is not None:
        request.node.user_properties.append(("lab_bundle", str(run.result.bundle)))
    if run.result.outcome is Outcome.ERROR:
        pytest.fail(explain(run.result), pytrace=False)
    return run


def _session_lab(config: pytest.Config) -> SessionLab:
    """The lab of this process; asking starts nothing."""
    from lab.testing.session import SessionLab  # noqa: PLC0415

    if _LAB not in config.stash:
        worker = getattr(config, "workerinput", {})
        ledger = worker.get("lab_ledger")
        config.stash[_LAB] = SessionLab(_settings(config, None if ledger is None else Path(ledger)))
    return config.stash[_LAB]


def _settings(config: pytest.Config, ledger: Path | None) -> Settings:
    """Which lab this process uses: without ``--lab-name`` one that no other session has."""
    from lab.testing.session import Settings  # noqa: PLC0415

    worker: dict[str, Any] = getattr(config, "workerinput", {})
    session = str(worker.get("testrunuid", f"{os.getpid():x}"))[:8]
    name = config.getoption("--lab-name") or f"pytest-{session}"
    return Settings(
        name=f"{name}-{worker['workerid']}" if worker else name,
        backend=config.getoption("--lab-backend"),
        bin_dir=config.getoption("--lab-bin-dir"),
        kubeconfig=config.getoption("--lab-kubeconfig"),
        context=config.getoption("--lab-context"),
        image_registry=config.getoption("--lab-image-registry"),
        keep=config.getoption("--lab-keep"),
        ledger=ledger,
    )


def _end_orderly_when_terminated(config: pytest.Config) -> None:
    """Let SIGTERM end the session as Ctrl-C does, from now on: by itself it would leave the lab running."""
    from lab.interrupts import raised_for_signals  # noqa: PLC0415

    raising = contextlib.ExitStack()
    raising.enter_context(raised_for_signals())
    config.add_cleanup(raising.close)


def _tell(text: str) -> None:
    """Progress goes where pytest captures it, and shows it when a test fails."""
    sys.stderr.write(f"lab: {text}\n")
