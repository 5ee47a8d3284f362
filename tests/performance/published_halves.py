"""How often `podium compare` is wrong about published results, and what it finds.

    python -m tests.performance.published_halves FOLDER

FOLDER holds clones of github.com/mlcommons/training_results_v5.1 or other rounds. Of each entry, the attempts are split
into random halves, which are of one system, so that "faster" and "slower" are false. Then one half is made 2 % slower,
with three attempts a side, as a test of what the rate finds.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from podium.rounds import load_rounds
from podium.scoring import Answer, Ratio, answer, estimate, student_t
from podium.stores import FileStore
from podium.submissions import ScoredResult, rate_of, read_folders, score_folder

HALVES = 1000
SLOWDOWN = 1.02
FEW = 3  # attempts a side
STEADY = 0.005  # coefficient of variation up to which a rate is expected to show SLOWDOWN
SEED = 19


@dataclass(frozen=True, slots=True)
class Halves:
    """What comparing halves of one entry gave: ratios of all that were compared."""

    name: str
    variation: float
    false: float  # of halves, called different
    found: float  # of triples of which one is made slower by 2 %, called slower


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    rounds = load_rounds()
    rows: dict[str, list[Halves]] = {"time to train": [], "rate": []}
    for clone in sorted(options.parse_args().folder.glob("training_results_v*")):
        for org in sorted(path for path in clone.iterdir() if path.is_dir() and not path.name.startswith(".")):
            for folder in read_folders(FileStore(org)):
                for quantity, values in measured(score_folder(folder, rounds)).items():
                    if len(values) >= 2 * FEW:
                        rows[quantity].append(halves(f"{org.name}/{folder.path}", list(values.values())))
    for quantity, found in rows.items():
        print(f"\n{quantity}: {len(found)} entries\n{summary(found)}")


def measured(entry: ScoredResult) -> Mapping[str, Mapping[int, float]]:
    """Times to train and rates of an entry, by attempt."""
    times = {index: verdict.seconds for index, verdict in entry.verdicts.items() if verdict.converged}
    rate = rate_of(entry)
    return {
        "time to train": {index: seconds for index, seconds in times.items() if seconds},
        "rate": rate.by_attempt if rate else {},
    }


def halves(name: str, values: Sequence[float]) -> Halves:
    """Compare random halves of `values`, and random triples of which one is slowed down."""
    draw, middle = random.Random(SEED), len(values) // 2

    def compared(size: int, slowdown: float) -> Answer | None:
        drawn = draw.sample(values, len(values) if size == middle else 2 * size)
        return difference(drawn[:size], [value * slowdown for value in drawn[size:]])

    same = [compared(middle, 1.0) for _ in range(HALVES)]
    slowed = [compared(FEW, SLOWDOWN) for _ in range(HALVES)]
    return Halves(
        name,
        statistics.stdev(values) / statistics.fmean(values),
        false=sum(each is not None for each in same) / HALVES,
        found=slowed.count(Answer.SLOWER) / HALVES,
    )


def difference(before: Sequence[float], after: Sequence[float]) -> Answer | None:
    """Return whether `after` is surely faster or slower: `scoring.answer`, without a quantile where none is needed."""
    ratio = Ratio(*(estimate(side) for side in (before, after)))
    if abs(ratio.log) <= student_t(1e9) * ratio.error:  # the smallest quantile
        return None
    fewest = min(each.freedom for each in (ratio.before, ratio.after))
    if abs(ratio.log) > student_t(fewest) * ratio.error:  # Welch's degrees of freedom are no fewer
        return Answer.SLOWER if ratio.log > 0 else Answer.FASTER
    found = answer(ratio)
    return found if found in (Answer.FASTER, Answer.SLOWER) else None


def summary(rows: Sequence[Halves]) -> str:
    """The worst entries, and the medians."""
    steady = [row for row in rows if row.variation <= STEADY]
    lines = [
        f"coefficient of variation, median: {statistics.median(row.variation for row in rows):.2%}",
        f"called different, mean: {statistics.fmean(row.false for row in rows):.1%}",
        *(f"  {row.false:.1%} {row.name}" for row in sorted(rows, key=lambda row: -row.false)[:8]),
    ]
    if steady:
        lines.append(f"2 % slower found, CV at most {STEADY:.1%}: mean {statistics.fmean(r.found for r in steady):.1%}")
        worst = sorted(steady, key=lambda row: row.found)[:8]
        lines += [f"  {row.found:.1%} {row.name}, CV {row.variation:.2%}" for row in worst]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
