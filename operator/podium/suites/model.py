"""A round of MLPerf Training as data. Adding one is adding a YAML file; no Python names a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hyperparameter(_Value):
    """A key of the MLPerf log that a submitter may choose, with what the rules say of it."""

    type: Literal["integer", "number", "boolean", "string", "numbers"]
    minimum: float | None = None
    exclusive_minimum: float | None = None
    allowed: tuple[Any, ...] = ()
    description: str = ""
    source: str = ""


class Quality(_Value):
    """A metric and the value at which the clock stops."""

    metric: str
    key: str = "eval_accuracy"
    target: float
    lower_is_better: bool = False


class Clock(_Value):
    """When the time to train begins and ends."""

    start: str
    stop: str
    model_creation_timed: bool
    max_init_seconds: int | None = None
    source: str = ""


class LogRules(_Value):
    """What a log of the round has to hold, where MLCommons' checker does not know the round."""

    exactly_once: tuple[str, ...]  # in this order
    closed_at_least_once: tuple[str, ...]
    source: str


class Benchmark(_Value):
    """One benchmark of a round."""

    title: str
    model: str
    dataset: str
    quality: tuple[Quality, ...]
    runs: int = Field(ge=1)
    converged_runs: int | None = None  # of the runs, so many are scored: the first to converge
    drop_fastest: int = 1
    drop_slowest: int = 1
    max_failures: int = 1
    eval_every: str
    evaluates_first_epoch: bool = True
    timed_by: Literal["run_stop", "eval_result"] = "run_stop"
    suspended: bool = False
    variant: str = ""  # what the name hides: results of two variants are not comparable
    note: str = ""
    source: str = ""
    tunable: Mapping[str, Hyperparameter] = Field(default_factory=dict)


class Suite(_Value):
    """A round: targets, number of runs, rules, log format."""

    name: str
    description: str
    log_format: Literal["mlp-v0.5", "mll", "mllog"]
    first_epoch: Literal[0, 1]
    clock: Clock
    log_rules: LogRules | None = None
    benchmarks: Mapping[str, Benchmark]


def load_suites(*folders: Path) -> Mapping[str, Suite]:
    """The built-in rounds and those of further `folders`, by name; a later one replaces an earlier one of its name.

    Raises ValueError naming file and field when a file does not fit the model.
    """
    suites = dict(_built_in())
    for folder in folders:
        for path in sorted(folder.glob("v*.yaml")):
            suite = _read(path)
            suites[suite.name] = suite
    return suites


@cache
def vocabulary() -> Mapping[str, Hyperparameter]:
    """Every hyperparameter key there is: the tunable ones of all built-in rounds, and those fixed in all of them."""
    document = yaml.safe_load((Path(__file__).parent / "vocabulary.yaml").read_text())
    known = {key: Hyperparameter.model_validate(value) for key, value in document.items()}
    for suite in _built_in().values():
        for benchmark in suite.benchmarks.values():
            for key, parameter in benchmark.tunable.items():
                known.setdefault(key, Hyperparameter(type=parameter.type, description=parameter.description))
    return MappingProxyType(known)


@cache
def _built_in() -> Mapping[str, Suite]:
    suites = (_read(path) for path in sorted(Path(__file__).parent.glob("v*[0-9].yaml")))
    return {suite.name: suite for suite in suites}


def _read(path: Path) -> Suite:
    try:
        return Suite.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error


def targets(benchmark: Benchmark) -> dict[str, float]:
    """The target of each metric."""
    return {quality.metric: quality.target for quality in benchmark.quality}
