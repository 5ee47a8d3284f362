"""A round of MLPerf Training as data: everything needed to run, score and check its benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from podium.rounds.kinds import Kind, Range, Settings, Unconstrained, same, shown
from podium.rounds.published import Published
from podium.rounds.reference import ReferencePoint, point_at


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hyperparameter(_Value):
    """A key of the MLPerf log, with the closed division's rule for it."""

    type: Literal["integer", "number", "boolean", "string", "numbers", "number or numbers"]
    rule: Kind = Unconstrained()
    id: str = ""  # of the rule, as in findings
    source: str = ""  # document:line; see Round.documents
    reference: Any = None  # the reference implementation's value, which is always allowed
    optimizers: tuple[str, ...] = ()  # empty: any; it applies only to these
    description: str = ""

    def allowed(self, settings: Settings) -> str:
        """Describe the allowed values to the user."""
        text = self.rule.text(settings)
        what = "true or false" if self.type == "boolean" else self.type
        if isinstance(self.rule, Unconstrained):
            return what if self.type == "boolean" else f"any {what}"
        if isinstance(self.rule, Range):
            return f"{what}, {'each ' if self.type == 'numbers' else ''}{text}"
        extra = self.reference is not None and not self._by_rule(self.reference, settings)
        return f"{text}; or the reference's {shown(self.reference)}" if extra else text

    def allows(self, value: Any, settings: Settings) -> bool:
        """Return whether `value`, which has the right type, is the reference's or satisfies the rule."""
        return same(value, self.reference) or self._by_rule(value, settings)

    def nearest(self, value: Any, settings: Settings) -> Any:
        """Return the allowed value closest to `value`; None if there is no closest one."""
        if self.rule.takes_lists or not isinstance(value, list | tuple):
            return self.rule.nearest(value, settings)
        each = [self.rule.nearest(item, settings) for item in value]
        return None if None in each else each

    def reference_for(self, settings: Settings) -> Any:
        """Return the reference's value in a run with these settings; None if there is none."""
        return self.rule.reference(settings) if self.reference is None else self.reference

    def _by_rule(self, value: Any, settings: Settings) -> bool:
        if self.rule.takes_lists or not isinstance(value, list | tuple):
            return self.rule.allows(value, settings)
        return all(self.rule.allows(item, settings) for item in value)


class Quality(_Value):
    """A metric and the value at which the clock stops."""

    metric: str
    key: str = "eval_accuracy"
    target: float
    lower_is_better: bool = False
    bounded: bool = True  # a loss is above 0, a rate with a target up to 1 is at most 1; custom metrics are not


class Clock(_Value):
    """When the time to train starts and stops."""

    start: str
    stop: str
    model_creation_timed: bool
    max_init_seconds: int | None = None
    source: str = ""


class LogRules(_Value):
    """What a log of the round must contain, for a round that MLCommons' checker does not know."""

    exactly_once: tuple[str, ...]  # in this order
    closed_at_least_once: tuple[str, ...]
    source: str
    keys: Mapping[str, str] = Field(default_factory=dict)  # the round's log keys that have another name in Podium
    later: Mapping[str, str] = Field(
        default_factory=dict
    )  # what the later format of Podium's trainers calls such a line
    schedules: tuple[str, ...] = ()  # logged at each change: the largest value is the setting
    spellings: Mapping[str, str] = Field(default_factory=dict)  # from lowercase texts in the logs to Podium's names
    placeholder: str = ""  # text starting with this stands for a value that is not in the log


class Benchmark(_Value):
    """One benchmark of a round."""

    title: str
    trainer: str | None = Field(
        default=None, pattern=r"^[a-z][a-z0-9_]*$"
    )  # package of podium_benchmarks; None: needs an image
    model: str
    dataset: str
    quality: tuple[Quality, ...]
    runs: int = Field(ge=1)
    converged_runs: int | None = None  # only this many are scored, the first to converge
    drop_fastest: int = 1
    drop_slowest: int = 1
    max_failures: int = 1
    eval_every: str
    evaluates_first_epoch: bool = True
    timed_by: Literal["run_stop", "eval_result"] = "run_stop"
    suspended: bool = False
    variant: str = ""  # not visible in the name: results of different variants are not comparable
    note: str = ""
    source: str = ""
    published: Published | None = None  # what closed logs have in common
    reference_points: tuple[ReferencePoint, ...] = ()  # by batch size, pruned as MLCommons' rcp_checker does
    closed_log_keys: tuple[str, ...] = ()  # additional keys that a closed log must contain
    closed_log_source: str = ""
    tunable: Mapping[str, Hyperparameter] = Field(default_factory=dict)
    fixed: Mapping[str, Hyperparameter] = Field(default_factory=dict)  # logged, and must be the reference's
    defaults: Mapping[str, Any] = Field(default_factory=dict)  # reference values that our trainers' preset full lacks

    @property
    def ruled(self) -> Mapping[str, Hyperparameter]:
        """Every hyperparameter that the closed division has a rule for."""
        return {**self.tunable, **self.fixed}

    @property
    def targets(self) -> dict[str, float]:
        """The target of each metric."""
        return {quality.metric: quality.target for quality in self.quality}

    def reference_point(self, batch_size: int) -> ReferencePoint | None:
        """Return how the reference converges at a batch size; None if no reference convergence point says it."""
        return point_at(self.reference_points, batch_size, self.runs)


class Round(_Value):
    """A round: targets, number of runs, rules, log format."""

    name: str = Field(pattern=r"^v[0-9]+\.[0-9]+$")
    description: str
    until: date | None = None  # its publication: no log of the round is later; None: not known by date
    documents: Mapping[str, str] = Field(default_factory=dict)  # where the files are that `source` fields name; with *
    log_format: Literal["mlp-v0.5", "mll", "mllog"]
    first_epoch: Literal[0, 1]
    clock: Clock
    log_rules: LogRules | None = None
    benchmarks: Mapping[str, Benchmark]

    def document(self, name: str) -> str:
        """Return where the document is that a `source` names; "" if that is not known."""
        return next((place for pattern, place in self.documents.items() if fnmatchcase(name, pattern)), "")
