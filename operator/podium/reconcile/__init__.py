"""decide(run, observed) -> actions and status: pure; drives cluster and local runs alike."""

from podium.reconcile.attempt import measured
from podium.reconcile.decide import decide
from podium.reconcile.model import (
    Action,
    Container,
    CreateJob,
    Decision,
    DeleteJob,
    DeleteRun,
    DropCheckpoint,
    Emit,
    ListPods,
    Observed,
    ObservedJob,
    ObservedLog,
    Outcome,
    ReadLog,
    Refusal,
    Run,
    Staging,
    StoreAttempt,
    StoreResult,
)
from podium.reconcile.progress import finish_time
from podium.reconcile.read import read_run, size_refusal
from podium.reconcile.score import score_run
from podium.reconcile.tries import concluded, job_name, job_names, object_name, unlisted_tries

__all__ = [
    "Action", "Container", "CreateJob", "Decision", "DeleteJob", "DeleteRun", "DropCheckpoint", "Emit", "ListPods",
    "Observed", "ObservedJob", "ObservedLog", "Outcome", "ReadLog", "Refusal", "Run", "Staging", "StoreAttempt",
    "StoreResult", "concluded", "decide", "finish_time", "job_name", "job_names", "measured", "object_name", "read_run",
    "score_run", "size_refusal", "unlisted_tries",
]  # fmt: skip
