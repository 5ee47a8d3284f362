"""``python -m tests.simulation.week``: a week of one operator process with 200 runs a day, in virtual time.

Prints at the end of each day what the process holds: the bytes of every object that can be reached from the operator
and its tasks. The exit code is 1 if that grows by more than 5 % of the process after the first day.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from tests.simulation.command import reproducibly
from tests.simulation.scenario import RunPlan, Scenario, choose
from tests.simulation.simulation import Simulation, opened
from tests.simulation.world import Process

_DAY = 86_400.0
_IDLE_BYTES = 75e6  # of an operator that has just started, as `make perf-operator` measures it
_GROWTH = 0.05
_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType)


def plan(seed: int, days: int, runs_per_day: int, keep_seconds: int | None) -> Scenario:
    """Return a calm week: `runs_per_day` runs at even intervals, each deleted `keep_seconds` after its end."""
    chosen = choose(Simulation(seed).world.random)
    runs = []
    for index in range(days * runs_per_day):
        spec = dict(chosen.runs[0].spec)
        spec |= {"attempts": 1 + index % 3, "system": {"name": "lab", "nodes": 1}}
        spec.pop("queueName", None)
        spec.pop("ttlSecondsAfterFinished", None)
        if keep_seconds is not None:
            spec["ttlSecondsAfterFinished"] = keep_seconds
        runs.append(RunPlan(f"run-{index:05}", index * _DAY / runs_per_day, spec))
    return replace(chosen, replicas=1, nodes=8, runs=tuple(runs), faults=(), sweep=None)


def held_bytes(simulation: Simulation) -> int:
    """Return the bytes of all objects that belong to the operator process, and to nothing of the world around it."""
    process = simulation.leader.process
    seen: set[int] = set()
    waiting: list[Any] = [simulation.leader.operator, *asyncio.all_tasks(process)]
    total = 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, _SHARED) or _is_of_the_world(one):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        waiting.extend(gc.get_referents(one))
    return total


def _is_of_the_world(one: object) -> bool:
    return isinstance(one, Process) or type(one).__module__.startswith("tests.simulation")


def days_of(simulation: Simulation, days: int) -> Iterable[int]:
    """Let the days pass. Yields the bytes held at the end of each."""
    simulation.start()
    for day in range(1, days + 1):
        simulation.world.run(lambda: False, day * _DAY)
        gc.collect()  # the collector is off while a world runs
        yield held_bytes(simulation)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.week", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--runs-per-day", type=int, default=200)
    parser.add_argument("--keep", type=int, default=21_600, metavar="SECONDS", help="-1: finished runs stay for good")
    given = parser.parse_args()
    reproducibly("tests.simulation.week")
    started = time.monotonic()
    keep = None if given.keep < 0 else given.keep
    with opened(Simulation(1, plan(1, given.days, given.runs_per_day, keep))) as simulation:
        held = []
        for day, size in enumerate(days_of(simulation, given.days), start=1):
            held.append(size)
            known = len(simulation.server.all("benchmarkruns"))
            print(f"day {day}: {size / 1e6:.2f} MB held, {known} runs exist", flush=True)
    growth = (max(held) - held[0]) / (_IDLE_BYTES + held[0])
    runs = given.days * given.runs_per_day
    print(f"{runs} runs in {time.monotonic() - started:.0f} s; {growth:+.1%} of the process after the first day")
    sys.exit(growth > _GROWTH)


if __name__ == "__main__":
    main()
