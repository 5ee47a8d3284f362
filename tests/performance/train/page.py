"""Fills the tables of docs/performance/training.md with the figures of training.json beside it.

    python tests/performance/train/page.py

The text between the tables stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "performance"
NAMES = {
    "resnet": "ResNet",
    "ssd": "SSD",
    "maskrcnn": "Mask R-CNN",
    "gnmt": "GNMT",
    "transformer": "Transformer",
    "ncf": "NCF",
    "minigo": "MiniGo",
    "llama31_8b": "Llama",
}
TARGETS = {
    "resnet": "top-1 {:.2f}",
    "ssd": "box AP {:.2f}",
    "maskrcnn": "box AP {:.2f}, mask AP {:.2f}",
    "gnmt": "BLEU {:.2f}",
    "transformer": "BLEU {:.2f}",
    "ncf": "HR@10 {:.2f}",
    "minigo": "{:.0%} of the games won",
    "llama31_8b": "log perplexity {:.2f}",
}
Rows = Iterable[Sequence[str]]


def tiny_rows(parts: Mapping[str, Any]) -> Rows:
    """A row for each trainer: what its seeds reached, after how much, in how many CPU seconds."""
    for name, part in parts.items():
        runs, target = part["runs"], part["target"]
        amount = next(key for key in ("epochs", "generations", "sequences") if key in runs[0])
        threads = sorted({run["threads"] for run in runs})
        cpu = (f"{span(run['cpu_seconds'] for run in runs if run['threads'] == count)} ({count})" for count in threads)
        seeds = ", ".join(str(run["seed"]) for run in runs)
        yield (
            NAMES[name],
            TARGETS[name].format(*(target if isinstance(target, list) else [target])),
            f"{sum(run['reached'] for run in runs)} of {len(runs)} ({seeds})",
            f"{span(run[amount] for run in runs)} {amount}",
            "; ".join(cpu),
            f"{part['aim_seconds']:.0f} s",
            f"{span((run['peak_memory_mb'] / 1000 for run in runs), '.1f')} GB",
            f"{span(run['load_average'] for run in runs)}",
            part["environment"]["commit"],
        )


def rank_rows(parts: Mapping[str, Any]) -> Rows:
    """A row for each trainer: how far the losses of one rank and of two are apart."""
    for name, part in parts.items():
        losses = f"{part['first_loss']:.3f}, {part['last_loss']:.3f}"
        apart = (f"{part[key]:.1e}".replace("e-0", "e-") for key in ("largest_of_20_steps", "largest_of_all"))
        yield NAMES[name], str(part["steps"]), losses, *apart, part["environment"]["commit"]


def memory_rows(parts: Mapping[str, Any]) -> Rows:
    """A row for each trainer: the larger of its two steps, and what more input takes."""
    for name, part in parts.items():
        parameters, commit = f"{part['parameters']:,}", part["environment"]["commit"]
        if "steps" not in part:
            state = f"weights, gradients and both moments in fp32: {part['state_mb'] / 1000:.1f} GB"
            yield NAMES[name], parameters, "one sequence of 8,192 tokens, without memory", "-", state, commit
            continue
        step, unit, more = part["steps"][-1], part["unit"], part["mb_per_unit"]
        slope = f"{more:,.0f} MB an image" if unit == "images" else f"{more * 1000:,.0f} MB per 1,000 {unit}"
        peak = f"{step['peak_memory_mb'] / 1000:.1f} GB"
        yield NAMES[name], parameters, f"{step['amount']:,} {unit}", peak, slope, commit


TIMES = {"start": "before the first step", "epoch": "each epoch", "evaluation": "each evaluation"}


def clock_rows(parts: Mapping[str, Any]) -> Rows:
    """A row for each thing that is done on the clock beside training: as the trainer does it, and in a plain way."""
    for name, part in parts.items():
        for row in part["rows"]:
            shares = [
                part["part"] * row[key] for key in ("part", "plain_part") if row["plain"] is not None or key == "part"
            ]
            measured = ", ".join("all" if share == 1 else f"{share:.2g}" for share in dict.fromkeys(shares))
            plain = "-" if row["plain"] is None else few_digits(row["plain"])
            yield (NAMES[name], TIMES[row["when"]], row["what"], few_digits(row["seconds"]), plain, measured,
                   part["environment"]["commit"])  # fmt: skip


def few_digits(seconds: float) -> str:
    """Two of them at least."""
    return f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2g}"


def span(values: Iterable[float], kind: str = ",.0f") -> str:
    """Lowest and highest, as a reader writes them."""
    found = sorted(values)
    lowest, highest = f"{found[0]:{kind}}", f"{found[-1]:{kind}}"
    return lowest if lowest == highest else f"{lowest} to {highest}"


def ordered(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were measured, in the order of NAMES."""
    return {name: parts[name] for name in NAMES if name in parts}


def filled(page: str, content: Mapping[str, Any]) -> str:
    """The page with new rows in its tables, which are in the order of `makers`."""
    makers = (("tiny", tiny_rows), ("ranks", rank_rows), ("memory", memory_rows), ("clock", clock_rows))
    bodies = iter(
        ["".join(f"| {' | '.join(row)} |\n" for row in rows(ordered(content[part]))) for part, rows in makers]
    )
    found, count = re.subn(r"(?m)(^\|[-|]+\|\n)(?:\|.*\n)*", lambda table: table[1] + next(bodies), page)
    assert count == len(makers), f"the page has {count} tables instead of {len(makers)}"
    return found


if __name__ == "__main__":
    page = FOLDER / "training.md"
    page.write_text(filled(page.read_text(), json.loads((FOLDER / "training.json").read_text())))
