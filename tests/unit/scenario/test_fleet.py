"""Several labs side by side: who replays what, and how it ends early. Labs are plain values, the threads are real."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from lab.cluster.protocol import StartState
from lab.errors import LabError
from lab.scenario.fleet import replay
from lab.scenario.run import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.cluster.protocol import Cluster
    from lab.scenario.load import Scenario
    from lab.scenario.result import ScenarioResult

LONG_S = 30.0
"""Longer than anything here takes; a wait for as long fails its test."""


@dataclass
class Bay:
    """A lab. Its lock is a real backend's: one caller at a time brings it up or takes it down."""

    name: str
    phase: str = "stopped"
    calls: list[str] = field(default_factory=list)
    on_up: Callable[[Callable[[str], None]], None] = lambda _progress: None
    on_down: Callable[[], None] = lambda: None
    gone: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def status(self) -> Any:
        return SimpleNamespace(phase=self.phase)

    def up(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        with self.lock:
            self.calls.append(f"up {state.key}")
            self.on_up(progress)
            self.phase = "running"
            self.gone.clear()

    def down(self) -> None:
        with self.lock:
            self.calls.append("down")
            self.on_down()
            self.phase = "stopped"
            self.gone.set()

    def exec(self) -> None:
        """A command on the node that ends with the lab only."""
        assert self.gone.wait(LONG_S), "nobody took the lab down"
        raise LabError("node-gone", "the lab ended", hint="start it")


@dataclass
class Journal:
    """What is told of the labs."""

    told: list[str] = field(default_factory=list)

    def of(self, cluster: Cluster) -> Page:
        return Page(cluster.name, self.told)


@dataclass
class Page:
    name: str
    told: list[str]

    def step(self, text: str) -> None:
        self.told.append(f"{self.name} {text}")

    def event(self, event: Event) -> None:
        self.told.append(f"{self.name} {event.scenario}")

    def leaving(self, *, kept: bool) -> None:
        self.told.append(f"{self.name} {'kept' if kept else 'leaving'}")

    def not_removed(self, error: Exception) -> None:
        self.told.append(f"{self.name} not removed: {error}")

    def end(self) -> None:
        self.told.append(f"{self.name} end")


@dataclass
class Course:
    """Stands in for the runner: a scenario does what the test says."""

    acts: dict[str, Callable[[Bay, Callable[[float], None]], None]] = field(default_factory=dict)
    ran: list[tuple[str, str, bool]] = field(default_factory=list)
    began: dict[str, threading.Event] = field(default_factory=dict)

    def run(
        self,
        scenario: Scenario,
        cluster: Cluster,
        *,
        fresh: bool,
        on_event: Callable[[Event], None],
        pause: Callable[[float], None],
    ) -> ScenarioResult:
        on_event(Event(kind=EventKind.SCENARIO_STARTED, scenario=scenario.name))
        self.ran.append((scenario.name, cluster.name, fresh))
        assert cluster.status().phase == "running"
        self.started(scenario.name).set()
        try:
            if scenario.name in self.acts:
                self.acts[scenario.name](cast("Bay", cluster), pause)
        except LabError:  # a phase that could not run is a result, and told
            on_event(Event(kind=EventKind.PHASE_FINISHED, scenario=scenario.name))
        return cast("ScenarioResult", f"result of {scenario.name}")

    def started(self, name: str) -> threading.Event:
        return self.began.setdefault(name, threading.Event())

    def await_start(self, name: str) -> None:
        assert self.started(name).wait(LONG_S), f"{name} did not start"


def scenario(name: str, state: str = "off") -> Scenario:
    start = SimpleNamespace(state=StartState.from_key(state))
    return cast("Scenario", SimpleNamespace(name=name, document=SimpleNamespace(start=start)))


def scenarios(*names: str) -> list[Scenario]:
    return [scenario(name) for name in names]


def bays(count: int) -> list[Bay]:
    return [Bay(f"lab-{number}") for number in range(1, count + 1)]


def send(
    names: str, labs: list[Bay], course: Course, journal: Journal | None = None, *, keep: bool = False
) -> tuple[object, ...]:
    journal = journal or Journal()
    return replay(scenarios(*names.split()), cast("list[Cluster]", labs), run=course.run, watch=journal.of, keep=keep)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Any:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_results_have_the_order_of_the_scenarios_whoever_is_done_first() -> None:
    course = Course()
    course.acts["a"] = lambda _bay, _pause: course.await_start("d")
    labs = bays(2)

    assert send("a b c d", labs, course) == ("result of a", "result of b", "result of c", "result of d")
    assert sorted(course.ran) == [
        ("a", "lab-1", True),
        ("b", "lab-2", True),
        ("c", "lab-2", False),
        ("d", "lab-2", False),
    ]
    assert [lab.calls for lab in labs] == [["up off", "down"], ["up off", "down"]]


MIXED = [("a", "off"), ("b", "open"), ("c", "off"), ("d", "enforced"), ("e", "open"), ("f", "off")]


def order_in(count: int, *, in_order: bool) -> dict[str, str]:
    """The scenarios that each lab had, in its order; whoever has one waits until all labs have."""
    course, together = Course(), threading.Barrier(count)

    def meet(_bay: Bay, _pause: Callable[[float], None]) -> None:
        together.wait(LONG_S)

    course.acts = dict.fromkeys("abcdef", meet)
    labs = cast("list[Cluster]", bays(count))
    replay([scenario(*one) for one in MIXED], labs, run=course.run, watch=Journal().of, in_order=in_order)
    return {lab.name: "".join(name for name, where, _ in course.ran if where == lab.name) for lab in labs}


def test_a_lab_goes_on_with_the_state_that_it_is_in_and_then_with_the_one_that_most_wait_for() -> None:
    assert order_in(1, in_order=False) == {"lab-1": "acfbed"}


def test_labs_share_the_states_and_then_the_scenarios_of_one() -> None:
    assert order_in(2, in_order=False) == {"lab-1": "acf", "lab-2": "bed"}


def test_scenarios_are_handed_out_in_their_order_on_request() -> None:
    assert order_in(1, in_order=True) == {"lab-1": "abcdef"}


def test_two_scenarios_are_under_way_at_a_time() -> None:
    course, together = Course(), threading.Barrier(2)

    def meet(_bay: Bay, _pause: Callable[[float], None]) -> None:
        together.wait(LONG_S)

    course.acts = dict.fromkeys("ab", meet)

    assert len(send("a b", bays(2), course)) == 2


def test_a_single_lab_is_worked_in_by_the_calling_thread_one_scenario_after_another() -> None:
    course, threads = Course(), []
    course.acts = dict.fromkeys("abc", lambda _bay, _pause: threads.append(threading.current_thread()))
    send("a b c", bays(1), course)

    assert threads == [threading.main_thread()] * 3
    assert course.ran == [("a", "lab-1", True), ("b", "lab-1", False), ("c", "lab-1", False)]


def test_a_lab_that_runs_already_is_used_and_stays() -> None:
    course, (mine,) = Course(), bays(1)
    mine.phase = "running"
    send("a", [mine], course)

    assert course.ran == [("a", "lab-1", False)]
    assert mine.calls == []


def test_a_lab_without_work_left_is_removed_while_the_others_go_on() -> None:
    course, labs = Course(), bays(2)
    course.acts["a"] = lambda _bay, _pause: _await(labs[1].gone)

    send("a b", labs, course)


def test_what_is_told_ends_with_the_lab() -> None:
    journal, (lab,) = Journal(), bays(1)
    lab.on_up = lambda progress: progress("comes up")
    send("a", [lab], Course(), journal)

    assert journal.told == ["lab-1 comes up", "lab-1 a", "lab-1 leaving", "lab-1 end"]


def test_labs_are_kept_on_request() -> None:
    journal, labs = Journal(), bays(2)
    send("a b", labs, Course(), journal, keep=True)

    assert [lab.calls for lab in labs] == [["up off"], ["up off"]]
    assert {"lab-1 kept", "lab-2 kept"} <= set(journal.told)


@pytest.mark.parametrize("failing", [0, 1])
def test_a_lab_that_does_not_come_up_ends_the_others_and_is_raised(failing: int) -> None:
    course, labs = Course(), bays(2)
    other = "ba"[failing]

    def fail(_progress: Callable[[str], None]) -> None:
        course.await_start(other)
        raise LabError("no-etcd", "etcd ended", hint="see its log")

    labs[failing].on_up = fail
    course.acts[other] = lambda bay, _pause: bay.exec()
    with pytest.raises(LabError, match="etcd ended"):
        send("a b c", labs, course)

    assert [name for name, _, _ in course.ran] == [other], "the halted worker takes no other scenario"
    assert labs[failing].calls == ["up off"], "a backend removes what did not come up"
    assert labs[1 - failing].phase == "stopped"


def test_a_defect_in_one_thread_is_raised_in_the_caller_s() -> None:
    course = Course()

    def fail(_bay: Bay, _pause: Callable[[float], None]) -> None:
        raise RuntimeError("defect")

    course.acts = {"a": lambda _bay, pause: pause(LONG_S), "b": fail}
    with pytest.raises(RuntimeError, match="defect"):
        send("a b", bays(2), course)


def _await(event: threading.Event) -> None:
    assert event.wait(LONG_S), "it did not happen"


INTERRUPTED: dict[str, Callable[[Bay, Callable[[float], None]], None]] = {
    "in a call": lambda bay, _pause: bay.exec(),
    "in a pause": lambda _bay, pause: pause(LONG_S),
}


@pytest.mark.parametrize("where", INTERRUPTED)
def test_ctrl_c_ends_every_worker_wherever_it_is(where: str) -> None:
    course, labs, journal = Course(), bays(3), Journal()

    def interrupted(_bay: Bay, _pause: Callable[[float], None]) -> None:
        course.await_start("b")
        course.await_start("c")
        raise KeyboardInterrupt

    course.acts = {"a": interrupted, "b": INTERRUPTED[where], "c": INTERRUPTED[where]}
    with pytest.raises(KeyboardInterrupt):
        send("a b c d", labs, course, journal)

    assert {lab.phase for lab in labs} == {"stopped"}
    assert sorted(name for name, _, _ in course.ran) == ["a", "b", "c"]
    assert not [line for line in journal.told if "not removed" in line]


def test_ctrl_c_ends_a_lab_that_is_coming_up_without_waiting_for_its_lock() -> None:
    course, labs, halted = Course(), bays(2), threading.Event()
    labs[0].on_down = halted.set

    def slowly(progress: Callable[[str], None]) -> None:
        progress("begins")
        course.started("coming up").set()
        _await(halted)
        progress("goes on")
        raise AssertionError("it went on")

    def interrupted(_bay: Bay, _pause: Callable[[float], None]) -> None:
        course.await_start("coming up")
        raise KeyboardInterrupt

    labs[1].on_up = slowly
    course.acts["a"] = interrupted
    with pytest.raises(KeyboardInterrupt):
        send("a b", labs, course)

    assert [lab.calls for lab in labs] == [["up off", "down"], ["up off"]]


def test_a_lab_that_came_up_after_ctrl_c_is_removed_by_its_worker() -> None:
    course, labs, halted = Course(), bays(2), threading.Event()
    labs[0].on_down = halted.set

    def silently(_progress: Callable[[str], None]) -> None:
        course.started("coming up").set()
        _await(halted)

    def interrupted(_bay: Bay, _pause: Callable[[float], None]) -> None:
        course.await_start("coming up")
        raise KeyboardInterrupt

    labs[1].on_up = silently
    course.acts["a"] = interrupted
    with pytest.raises(KeyboardInterrupt):
        send("a b", labs, course)

    assert [name for name, _, _ in course.ran] == ["a"]
    assert labs[1].calls == ["up off", "down"]


def test_ctrl_c_while_the_caller_s_own_work_is_done_ends_the_others() -> None:
    course, labs = Course(), bays(2)

    def sends_it(bay: Bay, _pause: Callable[[float], None]) -> None:
        _await(labs[0].gone)
        signal.pthread_kill(cast("int", threading.main_thread().ident), signal.SIGINT)
        bay.exec()

    course.acts["b"] = sends_it
    with pytest.raises(KeyboardInterrupt):
        send("a b", labs, course)

    assert {lab.phase for lab in labs} == {"stopped"}


def test_a_second_ctrl_c_is_not_held_up() -> None:
    course, (lab,) = Course(), bays(1)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    lab.on_down = course.acts["a"] = interrupted
    with pytest.raises(KeyboardInterrupt):
        send("a", [lab], course)

    assert lab.calls == ["up off", "down"]


def test_a_lab_that_cannot_be_removed_is_raised_or_when_something_else_ended_the_replay_told() -> None:
    def stays() -> None:
        raise LabError("lab-still-there", "it has not ended", hint="see ps")

    (lab,) = bays(1)
    lab.on_down = stays
    with pytest.raises(LabError, match="it has not ended"):
        send("a", [lab], Course())

    course, labs, journal = Course(), bays(2), Journal()

    def interrupted(_bay: Bay, _pause: Callable[[float], None]) -> None:
        course.await_start("b")
        raise KeyboardInterrupt

    course.acts = {"a": interrupted, "b": lambda _bay, pause: pause(LONG_S)}
    labs[1].on_down = stays
    with pytest.raises(KeyboardInterrupt):
        send("a b", labs, course, journal)
    assert [line.split(" [")[0] for line in journal.told if "not removed" in line] == [
        "lab-2 not removed: it has not ended"
    ]
