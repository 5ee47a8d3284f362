"""The status of a BenchmarkRun: what the operator reports. Fractional numbers are strings."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, NamedTuple, Self

from pydantic import ConfigDict, Field

from podium.api import model


class Model(model.Model):
    """Part of the status; fields that a newer operator wrote are ignored."""

    model_config = ConfigDict(extra="ignore")


class AttemptState(StrEnum):
    """The state of one try of an attempt; `means` explains it in a sentence."""

    means: str

    def __new__(cls, word: str, means: str) -> Self:
        member = str.__new__(cls, word)
        member._value_, member.means = word, means
        return member

    PENDING = "Pending", "The Job exists; not every pod is running."
    INITIALIZING = "Initializing", "All pods are running; the clock has not started."
    TRAINING = "Training", "Between run_start and run_stop."
    CONVERGED = "Converged", "The target was reached within the rules."
    MEASURED = "Measured", "The rate was measured as spec.measure asks, and the attempt was ended."
    NOT_CONVERGED = (
        "NotConverged",
        "The attempt ended without reaching the target. The score may drop one such attempt as the slowest.",
    )
    INVALID = "Invalid", "The log breaks a rule. The attempt counts as not converged."
    FAILED = (
        "Failed",
        "The infrastructure or the program failed, and nothing was measured. The attempt is retried if that may help.",
    )
    ABORTED = "Aborted", "A user suspended or deleted the run."

    @property
    def finished(self) -> bool:
        return self not in _ACTIVE

    @property
    def succeeded(self) -> bool:
        """Whether the attempt has measured what it was made for."""
        return self in _SUCCEEDED


_ORDER = {AttemptState.PENDING: 0, AttemptState.INITIALIZING: 1, AttemptState.TRAINING: 2}
_ACTIVE = frozenset(_ORDER)
_SUCCEEDED = frozenset({AttemptState.CONVERGED, AttemptState.MEASURED})


class ConditionType(StrEnum):
    """Condition types of a BenchmarkRun, in display order."""

    ADMITTED = "Admitted"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    RESULT_STORED = "ResultStored"
    COMPLETE = "Complete"
    FAILED = "Failed"


class Condition(Model):
    """A condition, as metav1.Condition."""

    type: str = Field(max_length=316)
    status: Literal["True", "False", "Unknown"]
    reason: str = Field(max_length=1024)
    message: str = Field(default="", max_length=32768)
    last_transition_time: str = Field(json_schema_extra={"format": "date-time"}, max_length=32)
    observed_generation: int | None = None


class FailureClass(StrEnum):
    """What a failure says about the try, and so what follows from it."""

    means: str

    def __new__(cls, word: str, means: str) -> Self:
        member = str.__new__(cls, word)
        member._value_, member.means = word, means
        return member

    DISRUPTION = "disruption", "Somebody took the machines: a node was lost, a pod evicted or preempted."
    INFRASTRUCTURE = "infrastructure", "The try could not be started or followed: image, data, log, device."
    PROGRAM = "program", "The training program ended itself, or did not do what it had to."


class Failure(Model):
    """Why a try ended before its program finished: the first thing that failed."""

    class_: FailureClass = Field(alias="class")
    reason: str = Field(max_length=64, description="The kubelet's or the scheduler's word, such as OOMKilled.")
    node: str | None = Field(default=None, max_length=253, description="Node of the pod that failed first.")
    pod: str | None = Field(default=None, max_length=253, description="Pod that failed first.")
    exit_code: int | None = Field(default=None, description="Exit code of its container.")
    signal: int | None = Field(default=None, description="Signal that ended its container.")
    message: str = Field(default="", max_length=2048, description="The cause in a sentence, or the last output.")


class AttemptStatus(Model):
    """One try of one attempt. Every try stays listed."""

    index: int = Field(ge=1, description="Number of the attempt, starting at 1.")
    try_: int = Field(default=0, ge=0, alias="try", description="Number of the retry; 0 for the first try.")
    state: AttemptState
    seed: int = Field(description="Seed given to the trainer.")
    job: str = Field(max_length=63, description="Name of the Job.")
    created_time: str = Field(default="", max_length=32, description="When the Job was created.")
    start_time: str | None = Field(default=None, max_length=32, description="Time of run_start in the log.")
    quality: str | None = Field(default=None, max_length=64, description="Quality at the last evaluation.")
    epochs: str | None = Field(default=None, max_length=32, description="Epochs at the last evaluation.")
    time_to_train_seconds: str | None = Field(
        default=None, max_length=32, description="run_stop - run_start in the log."
    )
    samples_per_second: str | None = Field(
        default=None, max_length=32, description="The rate, with spec.measure: samples trained per second of training."
    )
    energy_joules: str | None = Field(default=None, max_length=32)
    converged_after: str | None = Field(
        default=None,
        max_length=32,
        description="Epochs or samples until the target was reached, as the round's reference points count.",
    )
    batch_size: int | None = Field(default=None, description="Global batch size in the log, to find these points.")
    reason: str | None = Field(default=None, max_length=64)
    message: str | None = Field(default=None, max_length=2048)
    stored: bool = Field(default=False, description="Whether its files are in the result store.")
    job_uid: str | None = Field(default=None, max_length=64, description="uid of the Job.")
    failure: Failure | None = Field(default=None, description="What failed first, if something did.")
    again: str | None = Field(default=None, max_length=256, description="Why this try follows an earlier one.")

    @property
    def id(self) -> TryId:
        return TryId(attempt=self.index, number=self.try_)


class TryId(NamedTuple):
    """Identifies one try: attempt 2, try 0. A tuple, because it keys most dictionaries and models compare slowly."""

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
        default=None,
        max_length=32,
        description="Latest time at which the attempt reaches its maximum number of epochs.",
    )


class Forecast(Model):
    """Whether the finished set of attempts will pass the test by its round's reference convergence points (RCP)."""

    probability: str = Field(max_length=16, description="Of passing, 0 to 1, from the attempts so far.")
    mean: str = Field(max_length=32, description="Epochs or samples that these attempts took on average.")
    least: str = Field(max_length=32, description="The least mean that passes.")
    attempts: int = Field(description="Number of attempts that it is from.")
    likely_fails: bool = Field(description="Whether the probability of passing is below 3 %.")
    message: str = Field(max_length=256)


class MeasuredRate(Model):
    """The rate of a run with spec.measure: the geometric mean of its attempts."""

    samples_per_second: str = Field(max_length=32)
    per_accelerator: str | None = Field(default=None, max_length=32, description="Samples per second and accelerator.")


class Score(Model):
    """The benchmark's result: the olympic mean of the attempts' times to train or, with spec.measure, their rate."""

    time_to_train_minutes: str | None = Field(default=None, max_length=32)
    rate: MeasuredRate | None = None
    valid: bool
    official: bool = Field(
        description="Valid, in the closed division, and with the number of attempts that the round requires."
    )
    dropped: tuple[int, ...] = Field(
        default=(), max_length=200, description="Attempts dropped as the fastest and the slowest."
    )
    designated: tuple[int, ...] = Field(
        default=(),
        max_length=200,
        description="Of more attempts than the round asks for, the consecutive ones with the median score: only they "
        "count. Empty: all count.",
    )
    coefficient_of_variation: str | None = Field(default=None, max_length=32)
    energy_joules: str | None = Field(default=None, max_length=32)
    cost: str | None = Field(default=None, max_length=48, description='Mean cost of one attempt, such as "12.30 USD".')
    reasons: tuple[str, ...] = Field(
        default=(), max_length=32, description="Why the score is not valid or not official."
    )
    tries: int | None = Field(default=None, description="Number of tries in all; more than attempts if some failed.")


class Result(Model):
    """Where the result is stored."""

    uri: str = Field(max_length=2048, description="URL of the folder with the result files.")
    sha256: str = Field(max_length=64, description="Digest of SHA256SUMS, which lists the digest of every file.")
    public_key: str | None = Field(
        default=None, max_length=512, description="Key that verifies its signature, as PEM; absent if it is not signed."
    )


MAX_PINNED = 32768


class Pinned(Model):
    """What was fixed when the run was admitted: every attempt uses it."""

    operator_version: str = Field(default="", max_length=64)
    image: str = Field(default="", max_length=512, description="Image of the training pods.")
    image_digest: str | None = Field(
        default=None, max_length=128, description="Digest that the first pod ran; later pods are started with it."
    )
    round_digest: str = Field(default="", max_length=64, description="SHA-256 of the round's rules.")
    pod_defaults_digest: str = Field(default="", max_length=64, description="SHA-256 of the administrator's defaults.")
    gang: Literal["Queue", "PodGroup", "None"] = Field(
        default="None", description="What starts the pods of an attempt together: Kueue, the scheduler, or nothing."
    )
    rules: str = Field(default="", max_length=MAX_PINNED, description="The round's rules as JSON, while the run lasts.")
    pod_defaults: str = Field(
        default="", max_length=MAX_PINNED, description="The administrator's defaults as JSON, while the run lasts."
    )


_ENDS = frozenset({ConditionType.COMPLETE, ConditionType.FAILED})


class BenchmarkRunStatus(Model):
    """Everything the operator remembers about a run."""

    observed_generation: int | None = None
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16)
    attempts: tuple[AttemptStatus, ...] = Field(default=(), max_length=1200)
    pinned: Pinned | None = None
    progress: Progress | None = None
    forecast: Forecast | None = None
    score: Score | None = None
    result: Result | None = None

    @property
    def current(self) -> AttemptStatus | None:
        """The try to show: of those that run, the one that has come furthest; if none runs, the last one."""
        return current_try(self.attempts)

    def condition(self, kind: ConditionType) -> Condition | None:
        return next((c for c in self.conditions if c.type == kind), None)

    def is_true(self, kind: ConditionType) -> bool:
        condition = self.condition(kind)
        return condition is not None and condition.status == "True"

    @property
    def end(self) -> Condition | None:
        """The condition that says how the run ended: Complete or Failed, if one of them is true."""
        for condition in self.conditions:  # every reconciliation asks several times
            if condition.status == "True" and condition.type in _ENDS:
                return condition
        return None

    @property
    def terminal(self) -> bool:
        """Whether the run has ended: nothing is created for it anymore."""
        return self.end is not None


def current_try(attempts: Sequence[AttemptStatus]) -> AttemptStatus | None:
    """Return the one of the tries that `BenchmarkRunStatus.current` shows."""
    running = [attempt for attempt in attempts if not attempt.state.finished]
    furthest = max(running, key=lambda attempt: _ORDER[attempt.state], default=None)  # the first of several
    return furthest or (attempts[-1] if attempts else None)
