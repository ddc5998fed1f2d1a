"""Replays scenarios in several labs side by side.

What is done with a scenario in its lab is the caller's: a replay, or the measuring of a decision point, whose start
state is written as a scenario's.

Each lab has a worker: the calling thread is the first, so that one lab needs no thread; every other has one of its own.
A worker brings its lab up in the state of its first scenario, takes others until none is left, and takes the lab down.
It goes on with those of the state that its lab is in, which is set up once and put back in between, and then with the
state that most scenarios wait for. On request they are handed out in the order given, to find what depends on it.

**How it ends early.** Ctrl-C reaches the calling thread alone, and nothing interrupts another thread from outside. So
whoever fails first, that thread included, orders a halt, which reaches a worker wherever it is:

- in a pause between two looks at the cluster, which ends at once, and at every event and every step of a lab that comes
  up: the order is raised there as an exception;
- in a call to its lab (a script on the node, a request): its lab is taken down under it, so the call fails, and the
  event that tells of the failure raises the order.

While a lab comes up or is put back, its worker holds the lab's lock. A lab that comes up is left to its worker, which
hears the order at the next step: in a few seconds, or in up to twenty while a template is made for the first time. To
take down one that is being put back waits for that as long. Nobody holds a lock of ours meanwhile, so the wait is never
a circle. Each worker takes its own lab down in any case, after its last call, so that none comes up behind the back of
whoever removed it. The threads are daemons: a second Ctrl-C ends the process without waiting for them; a lab that was
still coming up is then left, as with one lab.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from lab.cluster.protocol import Cluster, StartState
    from lab.scenario.load import Scenario
    from lab.scenario.run import Event


Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Run(Protocol[Result_co]):
    """Replays one scenario in a lab; see `lab.scenario.run.run_scenario`."""

    def __call__(
        self,
        scenario: Scenario,
        cluster: Cluster,
        *,
        fresh: bool,
        on_event: Callable[[Event], None],
        pause: Callable[[float], None],
    ) -> Result_co:
        """Replay it."""


class Watch(Protocol):
    """Told what goes on in one lab, in the thread of its worker."""

    def step(self, text: str) -> None:
        """The lab comes up: a step of that."""

    def event(self, event: Event) -> None:
        """Something of a scenario."""

    def leaving(self, *, kept: bool) -> None:
        """The worker is done, and the lab stays or is removed now."""

    def not_removed(self, error: Exception) -> None:
        """The lab could not be removed after something else had ended the replay."""

    def end(self) -> None:
        """Nothing more goes on in this lab."""


_LONGEST_SLEEP_S = 0.2
"""How late a Ctrl-C may be heard that comes at the moment at which the calling thread begins to wait."""


class _HaltedError(BaseException):
    """The order to halt, raised in the worker that hears it. No LabError: a scenario must not take it for a result."""


def replay(
    scenarios: Sequence[Scenario],
    labs: Sequence[Cluster],
    *,
    run: Run[Result],
    watch: Callable[[Cluster], Watch],
    keep: bool = False,
    in_order: bool = False,
) -> tuple[Result, ...]:
    """Replay scenarios in labs, each lab one scenario at a time.

    Args:
        scenarios: at least as many as labs.
        labs: at least one. One that does not run is brought up, and removed at the end, however that comes; one that
            runs already stays.
        run: replays one scenario.
        watch: who is told of a lab.
        keep: leave the labs that were brought up.
        in_order: hand the scenarios out in their order, whatever their start states are.

    Returns:
        The results, in the order of the scenarios.

    Raises:
        LabError: a lab could not be brought up, or not be removed. The other labs are removed first.
        BaseException: whatever else ended a worker, KeyboardInterrupt included.
    """
    fleet = _Fleet(_Waiting(scenarios, in_order=in_order), labs, run=run, watch=watch, keep=keep)
    own, *others = fleet.workers
    try:
        for worker in others:
            worker.start()
        own.work()
        _await(others)
    except BaseException as interrupt:
        if not fleet.halt(interrupt) and isinstance(fleet.cause, KeyboardInterrupt):
            raise  # the second one: whoever sends it does not want to wait
        _await(others)
    if fleet.cause is not None:
        raise fleet.cause
    return tuple(fleet.results[index] for index in range(len(scenarios)))


def _await(workers: Sequence[_Worker[Result]]) -> None:
    for worker in workers:
        worker.wait()


class _Waiting:
    """The scenarios that nobody has begun, each with its index."""

    def __init__(self, scenarios: Sequence[Scenario], *, in_order: bool) -> None:
        self._scenarios = list(enumerate(scenarios))
        self._in_order = in_order

    def pop(self, state: StartState | None, *, elsewhere: Collection[StartState]) -> tuple[int, Scenario] | None:
        """The next one for a lab; None when there is none left.

        Args:
            state: the start state that the lab is in; None before its first.
            elsewhere: those that other labs are in.
        """
        if not self._scenarios:
            return None
        place = 0 if self._in_order else self._place(state, elsewhere)
        return self._scenarios.pop(place)

    def _place(self, state: StartState | None, elsewhere: Collection[StartState]) -> int:
        states = [scenario.document.start.state for _, scenario in self._scenarios]
        if state not in states:
            state, _ = Counter([one for one in states if one not in elsewhere] or states).most_common(1)[0]
        return states.index(state)


class _Fleet(Generic[Result]):
    """What the workers share.

    Attributes:
        workers: one per lab; each has its first scenario already.
        results: by index of the scenario.
        run: replays one scenario.
        keep: whether labs that were brought up stay.
        cause: why it was halted; None while it was not.
    """

    def __init__(
        self,
        waiting: _Waiting,
        labs: Sequence[Cluster],
        *,
        run: Run[Result],
        watch: Callable[[Cluster], Watch],
        keep: bool,
    ) -> None:
        self._lock = threading.Lock()
        self._halted = threading.Event()
        self._waiting = waiting
        self.run = run
        self.keep = keep
        self.cause: BaseException | None = None
        self.results: dict[int, Result] = {}
        self._states: dict[str, StartState] = {}
        self.workers = [_Worker(lab, watch(lab), self.take(lab), self) for lab in labs]

    def take(self, lab: Cluster) -> tuple[int, Scenario] | None:
        """The next scenario for a lab, and its index; None when there is none left."""
        with self._lock:
            state = self._states.pop(lab.name, None)
            turn = self._waiting.pop(state, elsewhere=self._states.values())
            if turn is not None:
                self._states[lab.name] = turn[1].document.start.state
            return turn

    def heed(self) -> None:
        """Raise the order to halt, if there is one."""
        if self._halted.is_set():
            raise _HaltedError

    def pause(self, seconds: float) -> None:
        """Wait, unless there is an order to halt or one comes."""
        if self._halted.wait(seconds):
            raise _HaltedError

    def halt(self, cause: BaseException, *, by: _Worker[Result] | None = None) -> bool:
        """Order every worker to halt.

        Args:
            cause: why; only the first counts. What comes after it is what the halt has done to the others.
            by: the worker that gives the order; it sees to its own lab.

        Returns:
            Whether it was the first.
        """
        with self._lock:
            if self._halted.is_set():
                return False
            self.cause = cause
            self._halted.set()
        for worker in self.workers:
            if worker is not by:
                worker.cut_short()
        return True


class _Worker(Generic[Result]):
    """One lab and who replays scenarios in it."""

    def __init__(
        self, cluster: Cluster, watch: Watch, first: tuple[int, Scenario] | None, fleet: _Fleet[Result]
    ) -> None:
        self._cluster = cluster
        self._watch = watch
        self._first = first
        self._fleet = fleet
        self._made = False
        self._thread = threading.Thread(target=self.work, name=cluster.name, daemon=True)
        self._done = threading.Event()

    def start(self) -> None:
        """Work in a thread of its own."""
        self._thread.start()

    def wait(self) -> None:
        """Wait until the thread has done its work, if it was started."""
        if self._thread.ident is not None:
            # Ctrl-C in Thread.join makes Python 3.11 take the thread for ended, so that is called when it ends anyway.
            # One that comes while this thread goes to sleep does not wake it, so no sleep is long.
            while not self._done.wait(_LONGEST_SLEEP_S):
                pass
            self._thread.join()

    def work(self) -> None:
        """Replay scenarios until none is left or the halt is ordered, and leave the lab."""
        try:
            try:
                self._take_turns()
            except BaseException as error:  # noqa: BLE001 - `replay` raises it in the thread of its caller
                self._fleet.halt(error, by=self)
            try:
                self._leave()
            except Exception as error:  # noqa: BLE001 - `replay` raises it, or it is told here
                if not self._fleet.halt(error, by=self):
                    self._watch.not_removed(error)
            self._watch.end()
        finally:
            self._done.set()

    def cut_short(self) -> None:
        """Take the lab down under its worker, so that the call which it waits for fails."""
        if self._made and not self._fleet.keep:
            # The worker takes it down again when it is done with it, and tells what stands in the way.
            with contextlib.suppress(LabError, OSError):
                self._cluster.down()

    def _take_turns(self) -> None:
        self._fleet.heed()
        turn = self._first
        if turn is not None and self._cluster.status().phase == "stopped":
            self._cluster.up(turn[1].document.start.state, progress=self._on_step)
            self._made = True
        fresh = self._made
        while turn is not None:
            index, scenario = turn
            self._fleet.results[index] = self._fleet.run(
                scenario, self._cluster, fresh=fresh, on_event=self._on_event, pause=self._fleet.pause
            )
            turn, fresh = self._fleet.take(self._cluster), False

    def _leave(self) -> None:
        if not self._made:
            return
        self._watch.leaving(kept=self._fleet.keep)
        if not self._fleet.keep:
            self._cluster.down()

    def _on_step(self, text: str) -> None:
        self._fleet.heed()
        self._watch.step(text)

    def _on_event(self, event: Event) -> None:
        self._fleet.heed()
        self._watch.event(event)
