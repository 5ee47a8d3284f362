"""What the operator reports: the status of a BenchmarkRun. Numbers with fractions are strings."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple, Self

from pydantic import ConfigDict, Field

from podium.api import spec


class Model(spec.Model):
    """Part of the status; a field that a newer operator wrote is passed over."""

    model_config = ConfigDict(extra="ignore")


class AttemptState(StrEnum):
    """Where one try of an attempt stands; `means` says it in a sentence."""

    means: str

    def __new__(cls, word: str, means: str) -> Self:
        member = str.__new__(cls, word)
        member._value_, member.means = word, means
        return member

    PENDING = "Pending", "The Job exists; not every pod is running."
    INITIALIZING = "Initializing", "All pods are running; the clock has not started."
    TRAINING = "Training", "Between run_start and run_stop."
    CONVERGED = "Converged", "The target was reached within the rules."
    NOT_CONVERGED = (
        "NotConverged",
        "The attempt ended without reaching the target. One such attempt may be the slowest that the score drops.",
    )
    INVALID = "Invalid", "The log breaks a rule. The attempt counts as one that did not converge."
    FAILED = (
        "Failed",
        "The infrastructure or the program failed, and nothing was measured. Another try follows if it may do better.",
    )
    ABORTED = "Aborted", "Somebody suspended or deleted the run."

    @property
    def finished(self) -> bool:
        return self not in _ACTIVE


_ACTIVE = frozenset({AttemptState.PENDING, AttemptState.INITIALIZING, AttemptState.TRAINING})


class ConditionType(StrEnum):
    """Condition types of a BenchmarkRun, in the order in which they are shown."""

    ADMITTED = "Admitted"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    RESULT_STORED = "ResultStored"
    COMPLETE = "Complete"
    FAILED = "Failed"


class Condition(Model):
    """As metav1.Condition."""

    type: str = Field(max_length=316)
    status: Literal["True", "False", "Unknown"]
    reason: str = Field(max_length=1024)
    message: str = Field(default="", max_length=32768)
    last_transition_time: str = Field(json_schema_extra={"format": "date-time"}, max_length=32)
    observed_generation: int | None = None


class AttemptStatus(Model):
    """One try of one attempt. Every try that was ever made stays listed."""

    index: int = Field(ge=1, description="Number of the attempt, from 1.")
    try_: int = Field(default=0, ge=0, alias="try", description="0, or the number of the retry.")
    state: AttemptState
    seed: int = Field(description="Seed given to the trainer.")
    job: str = Field(max_length=63, description="Name of the Job.")
    created_time: str = Field(default="", max_length=32, description="When the Job was created.")
    start_time: str | None = Field(default=None, max_length=32, description="run_start of the log.")
    quality: str | None = Field(default=None, max_length=64, description="Last evaluation.")
    epochs: str | None = Field(default=None, max_length=32, description="Epoch of the last evaluation.")
    time_to_train_seconds: str | None = Field(
        default=None, max_length=32, description="run_stop - run_start of the log."
    )
    energy_joules: str | None = Field(default=None, max_length=32)
    reason: str | None = Field(default=None, max_length=64)
    message: str | None = Field(default=None, max_length=2048)
    stored: bool = Field(default=False, description="Its files are in the result store.")

    @property
    def id(self) -> TryId:
        return TryId(attempt=self.index, number=self.try_)


class TryId(NamedTuple):
    """Names one try: attempt 2, try 0. A tuple, because it is the key of most dictionaries: a model compares slowly."""

    attempt: int
    number: int

    def __str__(self) -> str:
        return f"attempt {self.attempt}" + (f" (retry {self.number})" if self.number else "")


class Progress(Model):
    """The attempt in progress, or the last one."""

    attempt: str = Field(max_length=16, description='Such as "2/5".')
    epoch: str | None = Field(default=None, max_length=32)
    samples: int | None = None
    quality: str | None = Field(default=None, max_length=64)
    target: str | None = Field(default=None, max_length=64)
    quality_ratio: str | None = Field(
        default=None,
        max_length=32,
        description="How much of the way to the target the last evaluation has come, 0 to 1.",
    )
    throughput: str | None = Field(default=None, max_length=32, description="Samples per second.")
    eta: str | None = Field(
        default=None, max_length=32, description="When the attempt will have used its epochs, at the latest."
    )


class Score(Model):
    """The benchmark's result: the olympic mean of the attempts."""

    time_to_train_minutes: str | None = Field(default=None, max_length=32)
    valid: bool
    official: bool = Field(description="As many runs as the round asks for.")
    dropped: tuple[int, ...] = Field(
        default=(), max_length=200, description="Attempts left out as fastest and slowest."
    )
    coefficient_of_variation: str | None = Field(default=None, max_length=32)
    energy_joules: str | None = Field(default=None, max_length=32)
    cost: str | None = Field(default=None, max_length=48, description='Mean cost of one training, such as "12.30 USD".')
    reasons: tuple[str, ...] = Field(default=(), max_length=32, description="Why not valid or not official.")


class Result(Model):
    """Where the result is stored."""

    uri: str = Field(max_length=2048, description="Folder of the result files.")
    sha256: str = Field(max_length=64, description="Digest of SHA256SUMS, which lists the digest of every file.")


class BenchmarkRunStatus(Model):
    """Everything the operator remembers of a run."""

    observed_generation: int | None = None
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16)
    attempts: tuple[AttemptStatus, ...] = Field(default=(), max_length=1200)
    progress: Progress | None = None
    score: Score | None = None
    result: Result | None = None

    def condition(self, kind: ConditionType) -> Condition | None:
        return next((c for c in self.conditions if c.type == kind), None)

    def is_true(self, kind: ConditionType) -> bool:
        condition = self.condition(kind)
        return condition is not None and condition.status == "True"

    @property
    def terminal(self) -> bool:
        """Complete or Failed: nothing is ever created for the run again."""
        return self.is_true(ConditionType.COMPLETE) or self.is_true(ConditionType.FAILED)
