"""``python -m tests.simulation.guarantees``: prints docs/reference/guarantees.md, from the checks' own docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from tests.simulation.aftermath import FINAL
from tests.simulation.forecasts import FORECASTS
from tests.simulation.logged import Stumbles
from tests.simulation.programs import KINDS
from tests.simulation.scenario import FAULTS, SWEEP_FAULTS
from tests.simulation.sweep_watchdog import SWEEP_GUARANTEES
from tests.simulation.watchdog import GUARANTEES

_HEAD = """\
# What the operator guarantees

Generated from the checks in `tests/simulation` by `make generate`. `make simulate SEEDS=10000` checks each of them in
that many simulated clusters, in which the real operator runs and everything listed below fails; see [Testing](../testing.md).

| guarantee | what it means |
|---|---|
"""
_FAULTS = """
## Whatever fails

A seed chooses one to six runs, the training programs' behavior, and up to eight of these faults, each at any moment:
{faults}.

One world in sixteen also has a BenchmarkSweep over nodes, node counts or variants, and up to two of these:
{sweep_faults}.

Seven worlds in a hundred have a run of the closed division, whose attempts may converge implausibly fast; most of these
runs have `stopWhenHopeless`.

The programs: {programs}.

After the faults, everything is repaired: nodes return, the store and the API server answer, a suspended run is resumed.
Every run and every sweep must then end, and nothing of it may be left.

## What is not guaranteed

- Lines that a container printed while nobody could read its log, and that were rotated away or died with their node
  before anybody could, are lost. The try then fails as one whose log was lost; it gets no verdict.
- If a pod is taken away and gone while no operator watches, or right before the operator dies, nothing says anymore why
  it went. How the other programs of its attempt end because of that counts as their own exit.
- While a node is cut off, what runs on it cannot be stopped by anybody. It ends when the node returns.
- The clock of a node that is set while nobody reads the log of an attempt, in the middle of it, may stay unnoticed;
  the time of that attempt is then wrong by as much. A step that the operator sees is named (`NodeClockStepped`).
- A clock of the operator's machine that is stepped makes deadlines end earlier or later by the step.
"""


def page() -> str:
    """Return the page."""
    checks = (*GUARANTEES, *FORECASTS, *SWEEP_GUARANTEES, Stumbles.it_never_stumbles, *FINAL)
    rows = [f"| {_words(check)} | {_sentence(check)} |\n" for check in checks]
    lists = {"faults": FAULTS, "sweep_faults": SWEEP_FAULTS, "programs": KINDS}
    return _HEAD + "".join(rows) + _FAULTS.format(**{name: ", ".join(words) for name, words in lists.items()})


def _words(check: Callable[..., object]) -> str:
    return check.__name__.replace("_", " ").capitalize()


def _sentence(check: Callable[..., object]) -> str:
    return " ".join((inspect.getdoc(check) or "").split())


if __name__ == "__main__":
    print(page(), end="")
