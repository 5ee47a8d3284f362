"""Every reason in a run's status and Events: what it is about, what it means, and what to do about it.

The reconciler sets these members, metrics and displays read them, and the reference page is printed from them. Adding a
reason is adding a member here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Self

from podium.api.status import AttemptState, ConditionType

_ADMITTED, _RUNNING, _SUSPENDED = ConditionType.ADMITTED, ConditionType.RUNNING, ConditionType.SUSPENDED
_STORED, _COMPLETE, _FAILED = ConditionType.RESULT_STORED, ConditionType.COMPLETE, ConditionType.FAILED
_NOTHING = "Nothing."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    means: str
    do: str
    state: AttemptState | None = None
    true: tuple[ConditionType, ...] = ()
    false: tuple[ConditionType, ...] = ()
    event: Literal["Normal", "Warning"] | None = None
    retriable: bool = False
    keeps_place: bool = False
    routine: bool = False


class Reason(StrEnum):
    """A CamelCase word with its facts.

    - ``means``, ``do``: sentences for the person who reads the word.
    - ``state``: the state of the attempt that ends, or waits, for this reason; None when it is not about an attempt.
    - ``true``, ``false``: the conditions that are True or False for this reason.
    - ``event``: the type of the Event with this reason; None when there is none.
    - ``retriable``: another try of the attempt may do better.
    - ``keeps_place``: the attempt's time is right although it breaks a rule; see scoring.olympic.
    - ``routine``: the condition says only that everything is as it should be.
    """

    means: str
    do: str
    state: AttemptState | None
    true: tuple[ConditionType, ...]
    false: tuple[ConditionType, ...]
    event: Literal["Normal", "Warning"] | None
    retriable: bool
    keeps_place: bool
    routine: bool

    def __new__(cls, word: str, facts: _Facts) -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        for name in _Facts.__slots__:
            setattr(member, name, getattr(facts, name))
        return member

    @staticmethod
    def known(word: str | None) -> Reason | None:
        """The member of a word out of a status; None for one that another version of Podium wrote."""
        return _BY_WORD.get(word or "")

    # fmt: off

    # ---- of an attempt that waits ----

    PENDING = "Pending", _Facts(
        state=AttemptState.PENDING, false=(_RUNNING,),
        means="Pods are not scheduled, or their images are being pulled; the message says which.",
        do="Wait, or see kubectl describe pod.",
    )
    QUEUED = "Queued", _Facts(
        state=AttemptState.PENDING, false=(_RUNNING,),
        means="Kueue has not admitted the Job yet.",
        do="See kubectl get workloads, and whether the LocalQueue of spec.queueName exists and has quota.",
    )
    STAGING = "Staging", _Facts(
        state=AttemptState.PENDING, false=(_RUNNING,),
        means="The pods are copying their data to the nodes' disks.",
        do="Wait.",
    )

    # ---- of an attempt that has ended, by its log ----

    TARGET_REACHED = "TargetReached", _Facts(
        state=AttemptState.CONVERGED,
        means="The attempt converged.",
        do=_NOTHING,
    )
    QUALITY_NOT_REACHED = "QualityNotReached", _Facts(
        state=AttemptState.NOT_CONVERGED,
        means="The log has ended, and no evaluation reaches the target. A success claimed by run_stop does not count.",
        do="Look at the curve in the report. Learning rate and batch size belong together; a smaller batch is safer.",
    )
    RUN_ABORTED = "RunAborted", _Facts(
        state=AttemptState.NOT_CONVERGED,
        means="The program gave up: the status in run_stop is not success.",
        do="Have the program log run_stop with status success when the target is reached.",
    )
    EVAL_RESULT_MISSING = "EvalResultMissing", _Facts(
        state=AttemptState.NOT_CONVERGED,
        means="A benchmark that is evaluated after the clock (MiniGo of v0.6) did not log which model passed and when.",
        do="Print eval_result with metadata.timestamp, in seconds since run_start, when a model passes.",
    )
    RUN_DEADLINE_EXCEEDED = "RunDeadlineExceeded", _Facts(
        state=AttemptState.NOT_CONVERGED,
        means="No run_stop within spec.deadlines.run of run_start.",
        do="Raise the deadline, or find out from the throughput why it is slow.",
    )
    RUN_START_MISSING = "RunStartMissing", _Facts(
        state=AttemptState.INVALID,
        means="The log has MLPerf lines but no run_start.",
        do="Print run_start when the clock starts, before the program touches the data.",
    )
    RUN_STOP_MISSING = "RunStopMissing", _Facts(
        state=AttemptState.INVALID,
        means="The program ended without an error and never printed run_stop.",
        do="Print run_stop when the target is reached or given up.",
    )
    CLOCK_INVALID = "ClockInvalid", _Facts(
        state=AttemptState.INVALID,
        means="A run_stop comes before run_start, or run_start is stamped before the container started.",
        do="Check the clocks of the nodes (chrony, NTP), and that the program stamps each line when it prints it.",
    )
    INIT_TOO_LONG = "InitTooLong", _Facts(
        state=AttemptState.INVALID, keeps_place=True,
        means="Initialization took as long as the round leaves untimed in the closed division, or longer.",
        do="Start the clock earlier, or compile and warm up less.",
    )
    BENCHMARK_MISMATCH = "BenchmarkMismatch", _Facts(
        state=AttemptState.INVALID,
        means="The log names another benchmark of the round as its submission_benchmark.",
        do="Correct spec.benchmark, or the name that the program logs.",
    )

    # ---- of an attempt that failed, or that a person ended ----

    POD_FAILED = "PodFailed", _Facts(
        state=AttemptState.FAILED, retriable=True,
        means="A container ended with an exit code other than 0. Tried again up to spec.maxRetries times.",
        do="Read the last output in the message; all of it is in the result's logs/ and, while the run exists, in "
           "kubectl logs. For OOMKilled raise the memory in spec.template.resources, or sharedMemory when the data "
           "loader ran out of it.",
    )
    POD_LOST = "PodLost", _Facts(
        state=AttemptState.FAILED, retriable=True,
        means="A pod was evicted or deleted, or its node is gone. Tried again.",
        do="See the node's Events. For spot nodes raise spec.maxRetries, for others find out what evicts pods "
           "(priorityClassName helps).",
    )
    JOB_LOST = "JobLost", _Facts(
        state=AttemptState.FAILED, retriable=True,
        means="Somebody deleted the Job before run_stop. Tried again.",
        do="Find out who deletes Jobs that Podium created; a TTL controller for Jobs is a usual suspect.",
    )
    POD_CANNOT_START = "PodCannotStart", _Facts(
        state=AttemptState.FAILED,
        means="The kubelet reports that the pod can never start (InvalidImageName, ErrImageNeverPull, "
              "CreateContainerConfigError).",
        do="Correct spec.template.image, or have the administrator correct the operator's defaults, in a new run.",
    )
    PENDING_DEADLINE_EXCEEDED = "PendingDeadlineExceeded", _Facts(
        state=AttemptState.FAILED,
        means="Not every pod ran within spec.deadlines.pending. The message quotes the scheduler or the kubelet.",
        do="Make room, correct what does not fit (resource names, tolerations, node selector, claim, image), or raise "
           "the deadline.",
    )
    INIT_DEADLINE_EXCEEDED = "InitDeadlineExceeded", _Facts(
        state=AttemptState.FAILED, retriable=True,
        means="The pods ran and printed MLPerf lines, but no run_start within spec.deadlines.init. Tried again.",
        do="If the ranks cannot reach each other, check the network (NCCL_DEBUG=INFO in spec.template.env; a "
           "NetworkPolicy may separate the pods). If initialization just takes long, raise the deadline.",
    )
    NO_MLPERF_LOG = "NoMLPerfLog", _Facts(
        state=AttemptState.FAILED,
        means="Rank 0 printed no MLPerf line at all. Not tried again, since that would not help.",
        do="Print :::MLLOG lines on stdout, from global rank 0. The message holds the last output, which is usually "
           "the program's error.",
    )
    STAGE_FAILED = "StageFailed", _Facts(
        state=AttemptState.FAILED,
        means="A pod could not copy its data: the source is missing, corrupt or forbidden, or the disk is too small. "
              "The message has the last lines of the copy.",
        do="Fix what they name; podium stage runs the same copy by hand.",
    )
    STAGE_INTERRUPTED = "StageInterrupted", _Facts(
        state=AttemptState.FAILED, retriable=True,
        means="The data source was unreachable for minutes, or the copy was killed. Tried again.",
        do="Nothing, unless it repeats; then check the source and the network.",
    )
    STAGE_DEADLINE_EXCEEDED = "StageDeadlineExceeded", _Facts(
        state=AttemptState.FAILED,
        means="Not all pods had their data within spec.deadlines.stage.",
        do="Raise the deadline, or find out whether the source is slow.",
    )
    SUSPENDED = "Suspended", _Facts(
        state=AttemptState.ABORTED, retriable=True, true=(_SUSPENDED,), false=(_RUNNING,),
        means="spec.suspend is true. An attempt that was running has been stopped and is repeated on resume.",
        do="Set spec.suspend to false to resume.",
    )
    RUN_DELETED = "RunDeleted", _Facts(
        state=AttemptState.ABORTED,
        means="The BenchmarkRun was deleted while the attempt ran. What was measured is stored.",
        do=_NOTHING,
    )

    INTERRUPTED = "Interrupted", _Facts(
        state=AttemptState.ABORTED,
        means="Ctrl-C or SIGTERM stopped a run on this machine (podium run --local). What was measured is stored.",
        do="Run the same command again; it starts from the beginning.",
    )

    # ---- of the run: its conditions ----

    VALID = "Valid", _Facts(
        true=(_ADMITTED,), routine=True,
        means="The spec is valid.",
        do=_NOTHING,
    )
    INVALID_SPEC = "InvalidSpec", _Facts(
        true=(_FAILED,), false=(_ADMITTED,), event="Warning",
        means="Something that the API server cannot check is wrong. The message names field, value and remedy.",
        do="Correct it and apply it under another name, or delete the run first. podium validate catches it before "
           "apply.",
    )
    IN_PROGRESS = "InProgress", _Facts(
        false=(_STORED, _COMPLETE, _FAILED), routine=True,
        means="The run has not ended yet.",
        do="Wait.",
    )
    INITIALIZING = "Initializing", _Facts(
        true=(_RUNNING,),
        means="All pods run, and the clock has not started.",
        do="Wait.",
    )
    TRAINING = "Training", _Facts(
        true=(_RUNNING,),
        means="The clock runs.",
        do="Wait.",
    )
    CONVERGED = "Converged", _Facts(
        true=(_RUNNING,),
        means="The attempt converged; its containers are still stopping.",
        do="Wait.",
    )
    NOT_CONVERGED = "NotConverged", _Facts(
        true=(_RUNNING,),
        means="The attempt did not converge; its containers are still stopping.",
        do="Wait, and see the attempt's reason.",
    )
    INVALID = "Invalid", _Facts(
        true=(_RUNNING,),
        means="The attempt broke a rule; its containers are still stopping.",
        do="Wait, and see the attempt's reason.",
    )
    ABORTED = "Aborted", _Facts(
        true=(_RUNNING,),
        means="The attempt was stopped; its containers are still stopping.",
        do="Wait, and see the attempt's reason.",
    )
    FINISHED = "Finished", _Facts(
        false=(_RUNNING,), routine=True,
        means="Nothing is running any more.",
        do=_NOTHING,
    )
    STORING = "Storing", _Facts(
        false=(_RUNNING,),
        means="All attempts have ended; the result is being stored.",
        do="Wait. If it lasts, see the condition ResultStored.",
    )
    NOT_SUSPENDED = "NotSuspended", _Facts(
        false=(_SUSPENDED,), routine=True,
        means="The run is not paused.",
        do=_NOTHING,
    )
    STORED = "Stored", _Facts(
        true=(_STORED,), routine=True,
        means="Every file is in the store; the message is its address.",
        do='Read it, see "Read a report".',
    )
    STORE_UNAVAILABLE = "StoreUnavailable", _Facts(
        false=(_STORED,),
        means="The store refuses or does not answer; the message quotes it. Nothing is lost, the upload is retried.",
        do="Correct results.url, the endpoint, or the operator's permission for the bucket. The run then ends by "
           "itself.",
    )
    NOTHING_TO_STORE = "NothingToStore", _Facts(
        false=(_STORED,), routine=True,
        means="The run ended before anything was measured.",
        do="See the condition Failed.",
    )
    LAUNCH_REFUSED = "LaunchRefused", _Facts(
        true=(_FAILED,), false=(_RUNNING,), event="Warning",
        means="The API server refuses the Job or the Service; the message quotes it (quota, admission policy, a name "
              "that is taken).",
        do="Give the namespace quota, exempt the training pods from the policy, or give the run another name.",
    )
    SCORED = "Scored", _Facts(
        true=(_COMPLETE,),
        means="The run has a valid score.",
        do="Read it.",
    )
    COMPLETE = "Complete", _Facts(
        false=(_FAILED,), routine=True,
        means="The run is complete.",
        do=_NOTHING,
    )
    FAILED = "Failed", _Facts(
        true=(_RUNNING,), false=(_COMPLETE,), routine=True,
        means="The attempt or the run has failed.",
        do="See the attempt's reason, or the condition Failed.",
    )
    ATTEMPT_FAILED = "AttemptFailed", _Facts(
        true=(_FAILED,), event="Warning",
        means="An attempt failed; the message holds its reason. The run fails with it when no further try is left or "
              "would help.",
        do="See the attempt's reason.",
    )
    RESULT_INVALID = "ResultInvalid", _Facts(
        true=(_FAILED,), event="Warning",
        means="Too many attempts did not converge or broke a rule. The result is stored all the same.",
        do="See the attempts' reasons.",
    )

    # ---- of Events only ----

    ATTEMPT_CONVERGED = "AttemptConverged", _Facts(
        event="Normal",
        means="An attempt reached its target; quality, seconds and epochs are in the message.",
        do=_NOTHING,
    )
    ATTEMPT_NOT_CONVERGED = "AttemptNotConverged", _Facts(
        event="Warning",
        means="An attempt ended without reaching its target; the message holds its reason.",
        do="See the attempt's reason.",
    )
    ATTEMPT_INVALID = "AttemptInvalid", _Facts(
        event="Warning",
        means="An attempt broke a rule; the message holds its reason.",
        do="See the attempt's reason.",
    )
    ATTEMPT_ABORTED = "AttemptAborted", _Facts(
        event="Warning",
        means="An attempt was stopped because the run was suspended.",
        do="See the attempt's reason.",
    )

    # fmt: on


_BY_WORD: Mapping[str, Reason] = {reason.value: reason for reason in Reason}


def failing() -> tuple[Reason, ...]:
    """The reasons for which a run fails."""
    return tuple(reason for reason in Reason if ConditionType.FAILED in reason.true)


def of_state(state: AttemptState) -> Reason:
    """The reason of Running while the last attempt is in `state`."""
    return _BY_WORD[str(state)]


def of_end(state: AttemptState) -> Reason:
    """The reason of the Event about an attempt that ended in `state`."""
    return _BY_WORD[f"Attempt{state}"]
