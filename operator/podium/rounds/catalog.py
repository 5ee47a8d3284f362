"""The rounds: one YAML file each, here or in a folder of the administrator's; and the keys of hyperparameters.

To add a round, add such a file; no Python code names a round or a benchmark. A built-in file is read when its round is
first asked for: most commands need one round.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from podium.rounds.model import Hyperparameter, Round

DEFAULT_RUNS = 10  # for an unknown benchmark (mlperf_logging's benchmark_meta: "others 10")
_HERE = Path(__file__).parent
_NAME = re.compile(r"v?(\d+)\.(\d+)(?:\.\d+)?")
_FOLDER = re.compile(r"(?:mlperf_)?(?:training_)?(?:results_)?(v?\d+\.\d+(?:\.\d+)?)", re.IGNORECASE)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast


def load_rounds(*folders: Path) -> Mapping[str, Round]:
    """Return the rounds by name, oldest first: the built-in ones and those in `folders`.

    A later round replaces an earlier one of the same name. Raises ValueError, naming file and field, if a file in a
    folder is not valid.
    """
    added: dict[str, Round] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder")
        added |= {round_.name: round_ for round_ in map(_read, sorted(folder.glob("v*.yaml")))}
    return _Rounds(added)


class _Rounds(Mapping[str, Round]):
    """The built-in rounds, each read when it is first needed, and `added` ones."""

    def __init__(self, added: Mapping[str, Round]) -> None:
        self._added = added
        self._names = sorted({*_built_in(), *added}, key=round_number)

    def __getitem__(self, name: str) -> Round:
        return self._added[name] if name in self._added else _built_in_round(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._added or name in _built_in()


@cache
def vocabulary() -> Mapping[str, Hyperparameter]:
    """Return the known hyperparameters by key, as vocabulary.yaml describes them."""
    return MappingProxyType({key: Hyperparameter.model_validate(value) for key, value in _vocabulary().items()})


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
    dates = {name: round_.until for name, round_ in rounds.items() if round_.until}
    names = list(dates)
    at = next((i for i, until in enumerate(dates.values()) if day <= until), len(names) - 1)
    having = [name for name in names[: at + 1] if benchmark is None or benchmark in rounds[name].benchmarks]
    following = [name for name in names[at:] if benchmark in rounds[name].benchmarks]
    return next(iter([*having[-1:], *following]), names[at])


@cache
def _built_in() -> Mapping[str, Path]:
    return {path.stem: path for path in _HERE.glob("v*[0-9].yaml")}


@cache
def _built_in_round(name: str) -> Round:
    return _read(_built_in()[name])


def _read(path: Path) -> Round:
    try:
        document = yaml.load(path.read_text(), _LOADER)  # noqa: S506 (a safe loader)
        round_ = Round.model_validate(_completed(document))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error
    if round_.name != path.stem:  # otherwise a copy of another round's file would silently replace that round
        raise ValueError(f"{path}: name is {round_.name}; name the file {round_.name}.yaml, or correct the name")
    return round_


def _completed(document: Any) -> Any:
    """Fill in what a hyperparameter's entry leaves out: its id, and without a type, all that the vocabulary has."""
    benchmarks = document.get("benchmarks") if isinstance(document, dict) else None
    for name, benchmark in benchmarks.items() if isinstance(benchmarks, dict) else ():
        for kind in ("tunable", "fixed"):
            entries = benchmark.get(kind) if isinstance(benchmark, dict) else None
            if not isinstance(entries, dict):
                continue
            for key, entry in entries.items():
                if isinstance(entry, dict):
                    known = {} if "type" in entry else _vocabulary().get(key, {})
                    entries[key] = {"id": f"{document.get('name')}.{name}.{key}", **known, **entry}
    return document


@cache
def _vocabulary() -> Mapping[str, dict[str, Any]]:
    document: dict[str, dict[str, Any]] = yaml.load((_HERE / "vocabulary.yaml").read_text(), _LOADER)  # noqa: S506
    return document
