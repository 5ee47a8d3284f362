"""``python -m tests.simulation.mutants``: shows that the simulation can fail.

Each patch in ``mutants/`` puts a fault back that the operator once had, or could have; its first line names it. It is
applied to a temporary copy of the package; then seeds run until an invariant breaks that holds in the same world
without the patch. A mutant that survives all seeds is a hole in the simulation.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATCHES = Path(__file__).parent / "mutants"
_BROKEN = re.compile(r"^BROKEN (\w+): .*seeds: (\d+)", re.MULTILINE)
_DONE = re.compile(r"^(\d+) seeds in", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """What became of one mutant: the invariants that it broke, with a seed for each; empty if it survived."""

    name: str
    broken: dict[str, int]
    seeds: int
    seconds: float


def mutate(patch: Path, folder: Path) -> None:
    """Copy the operator's package into a folder, with a patch.

    Raises subprocess.CalledProcessError if the patch does not apply, or uses a name that is not there: the code has
    changed, so the patch must as well. A mutant that only stumbles over itself would show nothing.
    """
    shutil.copytree(ROOT / "operator" / "podium", folder / "operator" / "podium")
    subprocess.run(["git", "apply", "-C1", str(patch)], cwd=folder, check=True, capture_output=True)
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F82", str(folder)]
    subprocess.run(ruff, check=True, capture_output=True)


def find(patch: Path, seeds: int, processes: int) -> Found:
    """Run seeds with a patch until an invariant breaks that holds without it."""
    started = time.monotonic()
    first = done = 0
    with tempfile.TemporaryDirectory(prefix="podium-mutant-") as folder:
        mutate(patch, Path(folder))
        while first < seeds:
            wanted = ["--first", str(first), "--seeds", str(seeds - first), "--processes", str(processes)]
            run = _simulate(Path(folder) / "operator", *wanted, "--stop-at", "1")
            if (count := _DONE.search(run.stdout)) is None:
                raise RuntimeError(f"{patch.name}: {run.stdout}{run.stderr}")
            done += int(count[1])
            broken = {name: int(seed) for name, seed in _BROKEN.findall(run.stdout)}
            if not broken or not _breaks_anyway(seed := max(broken.values())):
                return Found(patch.stem, broken, done, time.monotonic() - started)
            print(f"seed {seed} breaks without {patch.name} as well", file=sys.stderr)
            first = seed + 1
    return Found(patch.stem, {}, done, time.monotonic() - started)


def _breaks_anyway(seed: int) -> bool:
    return _simulate(ROOT / "operator", "--seed", str(seed)).returncode != 0


def _simulate(operator: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run worlds with the operator in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(operator), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "tests.simulation", *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def main() -> None:
    """Run the command: exit 1 if a mutant survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="mutants to try (default: all)")
    parser.add_argument("--seeds", type=int, default=2000, help="how many worlds each (default: 2000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    survivors = 0
    for patch in sorted(PATCHES.glob("*.patch")):
        if options.names and patch.stem not in options.names:
            continue
        found = find(patch, options.seeds, options.processes)
        survivors += not found.broken
        what = ", ".join(f"{name} (seed {seed})" for name, seed in found.broken.items()) or "SURVIVED"
        print(f"{found.name:<40} {found.seeds:5} seeds {found.seconds:6.1f} s  {what}", flush=True)
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
