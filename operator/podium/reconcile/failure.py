"""A try whose containers or Job failed: what failed first, whose fault it is, and so whether another try follows.

The class of a failure follows from evidence: what the scheduler, the kubelet and the node lifecycle controller say
about the pod. Without any, a container that exited with a code ended itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from podium.api import AttemptStatus, Failure, Reason
from podium.reconcile.model import Container, ObservedJob, ObservedLog, Staging
from podium.reconcile.step import colon, move_to, tail_text
from podium.text import printable

# The Job controller stamps the condition right before it deletes the pods; both times are whole seconds, of two clocks.
# More would take a pod that a person deleted, and the failures of the others that follow, for a crash of the program.
_SAME_SYNC_SECONDS = 1.0
# Exit codes of `podium stage` that require action. All others are outages and lost nodes.
STAGE_FINAL = frozenset({1, 2})

# Reasons of the pod condition DisruptionTarget, except TerminationByKubelet
_DISRUPTIONS: Mapping[str, Reason] = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "PreemptionByKubeScheduler": Reason.PREEMPTED,
    "EvictionByEvictionAPI": Reason.DRAINED,
    "DeletionByTaintManager": Reason.DRAINED,
    "DeletionByPodGC": Reason.NODE_LOST,
}
# The kubelet's reasons for pods and containers that it ended or refused
_WORDS: Mapping[str, Reason] = {
    "Evicted": Reason.EVICTED,
    "Preempting": Reason.EVICTED,
    Reason.NODE_LOST.value: Reason.NODE_LOST,  # it is the kubelet's word as well
    "NodeShutdown": Reason.DRAINED,
    "Shutdown": Reason.DRAINED,
    "Terminated": Reason.DRAINED,
    "ContainerStatusUnknown": Reason.POD_LOST,
    "UnexpectedAdmissionError": Reason.DEVICE_ERROR,
    "StartError": Reason.POD_CANNOT_START,
    "ContainerCannotRun": Reason.POD_CANNOT_START,
}
# What container runtimes say of a node that cannot give a container its devices, such as one without its driver loaded
_DEVICES = re.compile(r"nvidia-container|running (\w+ )?hook|CDI device|custom device|no such device")
# The kubelet begins the message of every pod with it that it does not admit, whatever the reason (OutOfnvidia.com/gpu)
_REJECTED = "Pod was rejected"


def first_failure(job: ObservedJob) -> Container | None:
    """Return the container that failed first: the others often fail because of it.

    Times alone do not show that, since nodes stamp them, and clocks differ. A node is noticed to be lost long after the
    fact, so its container comes first, then those that the kubelet or the scheduler says were taken away. Pods that the
    Job controller deleted because another one had failed come last.
    """
    failures = [c for c in job.containers if c.finished is not None and (c.exit_code != 0 or _taken(c))]
    return min(failures, key=lambda c: _rank(job, c), default=None)


def _rank(job: ObservedJob, container: Container) -> tuple[bool, bool, bool, float]:
    """Return how much speaks against a failed container being the cause; the least is the cause."""
    unexplained = container.stopped == "Deleted" and not container.disruption
    taken = _taken(container) is not None and not unexplained
    return not container.node_lost, _is_consequence(job, container), not taken, container.finished or 0.0


def silent_node(job: ObservedJob) -> Container | None:
    """Return a container that is not known to have ended, on a node that does not report: the others may wait for it,
    or have failed because of it. Its pod is evicted only after the node's toleration, 300 s by default."""
    return next((c for c in job.containers if c.finished is None and c.node_lost), None)


def awaits_cause(job: ObservedJob) -> bool:
    """Return whether a pod was deleted and another one has failed, and the Job will say which was the cause."""
    first = first_failure(job)
    if first is None or first.stopped != "Deleted" or first.disruption or first.node_lost:
        return False
    silent = not (job.finished or job.failing or job.deleting or job.suspended)
    return silent and any(c.exit_code not in (0, None) for c in job.containers)


def _is_consequence(job: ObservedJob, container: Container) -> bool:
    """Return whether a pod was deleted after its Job had failed, by the control plane's clock.

    If it was only seen to be gone, by the operator's clock, that may have been so by either of them.
    """
    if job.failing_since is None or container.stopped != "Deleted" or container.disruption:
        return False
    since, deleted = job.failing_since, container.deleted
    if deleted is None:
        since, deleted = min(since, job.failing_seen or since), container.finished
    return deleted is not None and deleted >= since - _SAME_SYNC_SECONDS


def failed(attempt: AttemptStatus, job: ObservedJob, first: Container | None, log: ObservedLog) -> AttemptStatus:
    """Return the failed try. `first` is the container that failed first, None if only the Job reports a failure."""
    if first is None:
        return with_failure(_job_failed(attempt, job), None, "")
    place = f"pod {first.name}" if first.name else "a pod"
    reason = _taken(first)
    if reason is Reason.POD_LOST and job.reason == "DeadlineExceeded":
        moved = _job_failed(attempt, job)
    elif reason:
        on = f" on node {first.node}" if first.node else ""
        moved = move_to(attempt, reason, f"{place}{on}: {_word(first)}{colon(first.message)}")
    elif first.staging and first.staging.exit_code:
        moved = _stage_failed(attempt, place, first, first.staging)
    elif log.lost and attempt.start_time is None:  # nobody can say whether the clock was running
        moved = move_to(attempt, Reason.LOG_LOST, f"{log.lost}; {place}: {_exit(first)}")
    else:
        reason = Reason.PROGRAM_FAILED if attempt.start_time is None else Reason.PROGRAM_EXITED
        moved = move_to(attempt, reason, f"{place}: {_exit(first)}{_last_output(first, log)}")
    return with_failure(moved, first, log.tail)


def _last_output(first: Container, log: ObservedLog) -> str:
    """Return what the container that failed first printed last, and what rank 0 did. `log` is rank 0's."""
    if first.node_index == 0:
        return tail_text(log)
    own = f"; last output: {first.last_output}" if first.last_output else ""
    return own + (f"; rank 0's last output: {log.tail}" if log.tail else "")


def _taken(container: Container) -> Reason | None:
    """Return why a container ended that did not end itself; None for one that did."""
    if container.node_lost:
        return Reason.NODE_LOST
    if container.disruption == "TerminationByKubelet":  # for a node that shuts down, too
        return _WORDS.get(container.stopped, Reason.EVICTED)
    if container.disruption:
        return _DISRUPTIONS.get(container.disruption, Reason.POD_LOST)
    if container.stopped == "OOMKilled" and not container.memory_limited:
        return Reason.NODE_OUT_OF_MEMORY
    word = _WORDS.get(container.stopped)
    if word or container.exit_code is not None:
        return cannot_start(container) if word is Reason.POD_CANNOT_START else word
    return Reason.POD_REJECTED if container.message.startswith(_REJECTED) else Reason.POD_LOST


def cannot_start(container: Container) -> Reason:
    """Return why a container could not be started: its node's devices, or something that no other node would change."""
    return Reason.DEVICE_ERROR if _DEVICES.search(container.message) else Reason.POD_CANNOT_START


def _job_failed(attempt: AttemptStatus, job: ObservedJob) -> AttemptStatus:
    """Return the try of a Job that failed although no container did: it ran into its activeDeadlineSeconds."""
    if job.reason != "DeadlineExceeded":
        return move_to(attempt, Reason.POD_LOST, job.message or "a pod was lost")
    if attempt.start_time is not None:
        return move_to(attempt, Reason.RUN_DEADLINE_EXCEEDED, job.message or "the Job ran into its deadline")
    return move_to(attempt, Reason.INIT_DEADLINE_EXCEEDED, job.message or "the Job ran into its deadline")


def _stage_failed(attempt: AttemptStatus, place: str, first: Container, staging: Staging) -> AttemptStatus:
    reason = Reason.STAGE_FAILED if staging.exit_code in STAGE_FINAL else Reason.STAGE_INTERRUPTED
    last = " | ".join(line.strip() for line in staging.last_lines.strip().splitlines()[-3:])
    message = f"{place}: copying its data: exit code {staging.exit_code}{_cause(first)}{colon(last or first.message)}"
    return move_to(attempt, reason, message)


def with_failure(attempt: AttemptStatus, first: Container | None, tail: str) -> AttemptStatus:
    """Return the try with what is known of its first failure. `tail` is the last output of rank 0."""
    reason = Reason.known(attempt.reason)
    if reason is None or reason.failure is None:
        return attempt
    found = Failure(class_=reason.failure, reason=reason.value, message=(attempt.message or "")[:1024])
    if first is not None:
        code, last = first.exit_code, first.last_output if first.node_index else tail
        signal = first.signal or (code - 128 if code is not None and 128 < code < 128 + 65 else None)
        found = found.model_copy(
            update={
                "reason": (first.disruption or first.stopped or first.waiting or reason.value)[:64],
                "node": first.node[:253] or None,
                "pod": first.name[:253] or None,
                "exit_code": code,
                "signal": signal,
                "message": printable(first.message or last or attempt.message or "")[:1024],
            }
        )
    return attempt.model_copy(update={"failure": found})


def _word(container: Container) -> str:
    if container.node_lost:
        return "its node is lost"
    return container.disruption or container.stopped or "it was lost"


def _exit(container: Container) -> str:
    return f"exit code {container.exit_code}{_cause(container)}"


def _cause(container: Container) -> str:
    return f" ({container.stopped})" if container.stopped not in ("", "Error") else ""
