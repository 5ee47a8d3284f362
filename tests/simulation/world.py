"""Virtual time: one queue of events for the whole world, and one event loop for each operator process.

Nothing here sleeps. When no process has anything to do, time jumps to the next event or timer. A process stands still
between two steps of its event loop, so it can be killed or frozen at any await.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from asyncio import events
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

EPOCH = 1_790_000_000.0  # unix seconds at which every world begins
_MOST_STEPS_AT_ONCE = 20_000  # of one process, without time passing: it spins


class World:
    """Time, randomness and events of one simulated cluster."""

    def __init__(self, seed: int, *, verbose: bool = False) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0  # seconds since EPOCH
        self.faults: Counter[str] = Counter()
        self.broken: dict[str, str] = {}  # invariants that do not hold: the first case of each
        self.verbose = verbose
        self.running: Process | None = None  # the process whose step is being executed
        self.processes: list[Process] = []
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._stamps: dict[int, str] = {}

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Call `action` in `seconds` of virtual time."""
        heapq.heappush(self._events, (self.now + seconds, next(self._order), action))

    def say(self, who: str, what: str) -> None:
        """Add a line to the timeline."""
        if self.verbose:
            print(f"{self.now:10.3f}  {who:<12} {what}")

    def fault(self, kind: str, what: str = "") -> None:
        """Count a fault that happened."""
        self.faults[kind] += 1
        self.say("FAULT", f"{kind} {what}")

    def breaks(self, invariant: str, case: str) -> None:
        """Record that an invariant does not hold."""
        if invariant not in self.broken:
            self.broken[invariant] = f"{self.now:.3f} s: {case}"
        self.say("BROKEN", f"{invariant}: {case}")

    @property
    def wall(self) -> float:
        """Unix seconds, as the API server's clock shows them."""
        return EPOCH + self.now

    def stamp(self, later: float = 0.0) -> str:
        """Return the time, or a `later` one in seconds from now, as the API server writes it: in whole seconds."""
        second = int(self.wall + later)
        if second not in self._stamps:
            self._stamps[second] = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}"
        return self._stamps[second]

    def run(self, until: Callable[[], bool], limit: float) -> None:
        """Let time pass until `until` holds or `limit` seconds have passed."""
        while self.now < limit and not until():
            alive = [process for process in self.processes if process.alive]
            while sum(process.turn() for process in alive):
                pass  # each of them, until none has anything to do
            moments = [process.next_timer() for process in alive]
            if self._events:
                moments.append(self._events[0][0])
            self.now = max(self.now, min([*moments, limit]))
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()


class Process(asyncio.BaseEventLoop):
    """One process: an event loop that is driven step by step.

    `clock_offset` is the error of its machine's wall clock, in seconds.
    """

    def __init__(self, world: World, name: str) -> None:
        super().__init__()
        self.world = world
        self.name = name
        self.alive = True
        self.frozen = False
        self.thawed = -math.inf
        self.clock_offset = 0.0
        self.steps = 0
        self.dies_at_step: int | None = None
        self.freezes_at_step: int | None = None
        self.freeze: Callable[[], None] = lambda: None
        self.died: Callable[[], None] = lambda: None
        self.sweeps: Any = None  # those of the operator that runs in it
        self.executor: Callable[[Process, Callable[[], Any]], asyncio.Future[Any]] | None = None
        self._instant, self._steps_at_instant = -1.0, 0
        world.processes.append(self)

    def time(self) -> float:
        return self.world.now

    def next_timer(self) -> float:
        """Return when the process has something to do again."""
        if not self.alive or self.frozen:
            return float("inf")
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False
        return max(self.world.now, self._scheduled[0]._when) if self._scheduled else float("inf")

    def turn(self) -> bool:
        """Run everything that is ready. Returns whether anything was."""
        if not self.alive or self.frozen:
            return False
        while self._scheduled and self._scheduled[0]._when <= self.world.now:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            self._ready.append(handle)
        if not self._ready:
            return False
        if self._instant != self.world.now:
            self._instant, self._steps_at_instant = self.world.now, 0
        events._set_running_loop(self)
        self.world.running = self
        try:
            for _ in range(len(self._ready)):
                handle = self._ready.popleft()
                if handle._cancelled:
                    continue
                self._steps_at_instant += 1
                self.count_step()
                if not self.alive or self.frozen:
                    self._ready.appendleft(handle)
                    break
                handle._run()
        finally:
            self.world.running = None
            events._set_running_loop(None)
        if self._steps_at_instant > _MOST_STEPS_AT_ONCE:
            self.world.breaks(
                "nothing_spins", f"{self.name} takes {_MOST_STEPS_AT_ONCE} steps while no time passes: {handle}"
            )
            self.die()
        return True

    def count_step(self) -> None:
        """Count a step, of the event loop or of a thread between two operations on the store; it may be the last."""
        self.steps += 1
        if self.steps == self.dies_at_step:
            self.die()
        if self.steps == self.freezes_at_step:
            self.freeze()

    def thaw(self) -> None:
        self.frozen, self.thawed = False, self.world.now

    def die(self) -> None:
        """End as with SIGKILL: nothing of it runs anymore, not even a ``finally``."""
        if self.alive:
            self.alive = False
            self.died()

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        assert self.executor is not None
        return self.executor(self, lambda: func(*args))

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: object) -> None:
        """Signals are the world's business."""

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_soon(callback, *args, context=context)

    def call_exception_handler(self, context: object) -> None:
        """Tasks that are destroyed with their process are no error."""

    def _check_closed(self) -> None:
        """What is left of a dead process may still be collected."""

    def __del__(self) -> None:
        """There is nothing to close."""

    def _write_to_self(self) -> None:
        """There is no selector to wake."""

    def _process_events(self, event_list: object) -> None:
        """There are no file descriptors."""


class VirtualClock:
    """Puts the world's time in the place of the `time` module's while a seed runs."""

    def __init__(self, world: World) -> None:
        self._world = world
        names = ("time", "monotonic", "perf_counter", "time_ns", "clock_gettime")
        self._real = {name: getattr(time, name) for name in names}

    def __enter__(self) -> None:
        world = self._world

        def wall() -> float:
            return world.wall + (world.running.clock_offset if world.running else 0.0)

        time.time, time.time_ns = wall, lambda: int(wall() * 1e9)
        time.monotonic = time.perf_counter = lambda: world.now
        time.clock_gettime = lambda _: world.now

    def __exit__(self, *_: object) -> None:
        for name, function in self._real.items():
            setattr(time, name, function)
