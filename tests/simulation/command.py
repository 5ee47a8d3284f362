"""``python -m tests.simulation``: runs seeds, and prints what broke and the seed that replays it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from multiprocessing import get_context

from tests.simulation.simulation import Outcome, run_seed

_HASH_SEED = "PYTHONHASHSEED"


def reproducibly(module: str = "tests.simulation") -> None:
    """Start this program again with a fixed order of sets: a seed must give the same world every time."""
    if os.environ.get(_HASH_SEED) != "0":
        os.environ[_HASH_SEED] = "0"
        os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])


def outcome_of(seed: int) -> Outcome:
    """Run the world of one seed. An error of the simulation itself breaks that world, not all of them."""
    try:
        return run_seed(seed)
    except Exception as error:  # noqa: BLE001 - reported with the seed that shows its traceback
        return Outcome(seed, {"the_simulation_works": repr(error)})


def run_seeds(seeds: Iterable[int], processes: int) -> Iterator[Outcome]:
    """Yield the outcome of every seed."""
    if processes == 1:
        yield from map(outcome_of, seeds)
        return
    with get_context("forkserver").Pool(processes) as pool:
        yield from pool.imap_unordered(outcome_of, seeds, chunksize=10)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many worlds (default: 500)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="replay one world")
    parser.add_argument("-v", "--verbose", action="store_true", help="print what happens in it")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--stop-at", type=int, default=0, help="end after this many broken worlds")
    options = parser.parse_args()
    reproducibly()
    if options.seed is not None:
        outcome = run_seed(options.seed, verbose=options.verbose)
        print(f"seed {outcome.seed}: {outcome.runs} runs, {outcome.tries} tries, {outcome.virtual_seconds:.0f} s")
        for name, case in outcome.broken.items():
            print(f"BROKEN {name}: {case}")
        sys.exit(bool(outcome.broken))
    sys.exit(_report(options))


def _report(options: argparse.Namespace) -> int:
    started = time.monotonic()
    faults: Counter[str] = Counter()
    broken: dict[str, list[tuple[int, str]]] = {}
    done = worlds = tries = 0
    virtual = 0.0
    for outcome in run_seeds(range(options.first, options.first + options.seeds), options.processes):
        done += 1
        tries += outcome.tries
        virtual += outcome.virtual_seconds
        faults += outcome.faults
        worlds += bool(outcome.broken)
        for name, case in outcome.broken.items():
            broken.setdefault(name, []).append((outcome.seed, case))
        if options.stop_at and worlds >= options.stop_at:
            break
    seconds = time.monotonic() - started
    print(f"{done} seeds in {seconds:.1f} s: {done / seconds:.1f} a second; {tries} tries, {virtual / 86400:.1f} days")
    print("faults: " + ", ".join(f"{name} {count}" for name, count in faults.most_common()))
    for name, cases in sorted(broken.items()):
        cases.sort()
        print(f"\nBROKEN {name}: {len(cases)} seeds: {' '.join(str(seed) for seed, _ in cases[:12])}")
        for seed, case in cases[:3]:
            print(f"  python -m tests.simulation -v --seed {seed}    {case[:400]}")
    print(f"\n{worlds} of {done} worlds broke an invariant" if worlds else "\nevery invariant held in every world")
    if not tries:
        print("no try was ever made: the simulation proves nothing")
    return int(bool(worlds) or not tries)
