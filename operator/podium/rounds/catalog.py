"""All rounds that can be scored: those that can be run, and later ones with what scoring needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType

import yaml
from pydantic import BaseModel, ConfigDict

from podium.rounds.model import Benchmark, Clock, Quality, Round, load_rounds

DEFAULT_RUNS = 10  # for an unknown benchmark (mlperf_logging's benchmark_meta: "others 10")
_NAME = re.compile(r"v?(\d+)\.(\d+)(?:\.\d+)?")
_FOLDER = re.compile(r"(?:mlperf_)?(?:training_)?(?:results_)?(v?\d+\.\d+(?:\.\d+)?)", re.IGNORECASE)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Span(_Value):
    first: str
    last: str
    quality: tuple[Quality, ...]
    variant: str = ""
    note: str = ""


class _LaterBenchmark(_Value):
    title: str
    runs: int
    drop_fastest: int = 1
    drop_slowest: int = 1
    max_failures: int = 1
    spans: tuple[_Span, ...]

    def in_round(self, names: list[str], name: str) -> Benchmark | None:
        for span in self.spans:
            if names.index(span.first) <= names.index(name) <= names.index(span.last):
                return Benchmark(
                    title=self.title,
                    model="as in the rules of the round",
                    dataset="as in the rules of the round",
                    quality=span.quality,
                    runs=self.runs,
                    drop_fastest=self.drop_fastest,
                    drop_slowest=self.drop_slowest,
                    max_failures=self.max_failures,
                    eval_every="",
                    variant=span.variant,
                    note=span.note,
                    source="mlperf_logging: benchmark_meta.py and the compliance checker's targets",
                )
        return None


class _LaterRound(_Value):
    until: date
    max_init_seconds: int


class _Later(_Value):
    rounds: Mapping[str, _LaterRound]
    benchmarks: Mapping[str, _LaterBenchmark]


def load_scorable_rounds(*folders: Path) -> Mapping[str, Round]:
    """Load the rounds that can be scored, by name, oldest first: those of `load_rounds`, and later ones.

    For a later round, only attempts, drops and targets are known: runs of it are not admitted, and MLCommons' checker
    checks what is tunable. A round file of the same name replaces what it has, the other benchmarks are still scored.
    """
    later = _later()
    names = list(later.rounds)
    rounds = dict(load_rounds(*folders))
    for name in names:
        found = ((key, benchmark.in_round(names, name)) for key, benchmark in later.benchmarks.items())
        round_ = Round(
            name=name,
            description=f"MLPerf Training {name}",
            log_format="mllog",
            first_epoch=1,
            clock=Clock(
                start="when any part of the system first touches the data set (run_start)",
                stop="when any part of the system finds the target reached (run_stop); never paused",
                model_creation_timed=False,
                max_init_seconds=later.rounds[name].max_init_seconds,
                source=f"compliance checker of {name}",
            ),
            benchmarks={key: benchmark for key, benchmark in found if benchmark},
        )
        if own := rounds.get(name):
            round_ = own.model_copy(update={"benchmarks": {**round_.benchmarks, **own.benchmarks}})
        rounds[name] = round_
    return MappingProxyType(dict(sorted(rounds.items(), key=lambda item: round_number(item[0]))))


def round_number(name: str) -> tuple[int, ...]:
    """Return (4, 1) for "v4.1": rounds in their order. (0, 0), before all others, for a name without a number."""
    parts = name.removeprefix("v").split(".")
    return tuple(map(int, parts)) if all(map(str.isdecimal, parts)) else (0, 0)


def round_name(text: str) -> str | None:
    """Return ``v0.6`` for "v0.6", "0.6" or "0.6.0"; None for any other text."""
    match = _NAME.fullmatch(text.strip())
    return f"v{match[1]}.{match[2]}" if match else None


def round_of_folder(name: str) -> str | None:
    """Return the round that a folder such as ``training_results_v1.0`` or ``v0.5.0`` is named after; None if none."""
    match = _FOLDER.fullmatch(name)
    return round_name(match[1]) if match else None


def round_at(unix_seconds: float, benchmark: str | None, rounds: Mapping[str, Round]) -> str | None:
    """Return the round that a log of this time belongs to, by the rounds' publication dates.

    That is the first round published after it; if that round lacks the benchmark, the last earlier one that has it.
    """
    day = datetime.fromtimestamp(unix_seconds, UTC).date()
    names = list(_later().rounds)
    at = next((i for i, name in enumerate(names) if day <= _later().rounds[name].until), len(names) - 1)
    having = [name for name in names[: at + 1] if benchmark is None or benchmark in rounds[name].benchmarks]
    following = [name for name in names[at:] if benchmark in rounds[name].benchmarks]
    return next(iter([*having[-1:], *following]), names[at])


@cache
def _later() -> _Later:
    path = Path(__file__).parent / "later-rounds.yaml"
    return _Later.model_validate(yaml.safe_load(path.read_text()))
