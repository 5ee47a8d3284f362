"""The BenchmarkRun resource: spec and status as frozen models; the CRD schema is generated from them."""

from podium.api.model import Model
from podium.api.reasons import Reason
from podium.api.spec import (
    GROUP,
    KIND,
    MANAGER,
    MAX_SPEC_BYTES,
    MAX_SPEC_DEPTH,
    PLURAL,
    VERSION,
    BenchmarkRunSpec,
    Data,
    Deadlines,
    Division,
    EnvVar,
    Measure,
    Pricing,
    Quality,
    Resources,
    Stage,
    Submission,
    System,
    Template,
    Toleration,
    duration_seconds,
)
from podium.api.status import (
    MAX_PINNED,
    AttemptState,
    AttemptStatus,
    BenchmarkRunStatus,
    Condition,
    ConditionType,
    Failure,
    FailureClass,
    Forecast,
    MeasuredRate,
    Pinned,
    Progress,
    Result,
    Score,
    TryId,
)
from podium.api.timestamps import rfc3339, unix_seconds

__all__ = [
    "GROUP", "KIND", "MANAGER", "MAX_PINNED", "MAX_SPEC_BYTES", "MAX_SPEC_DEPTH", "PLURAL", "VERSION", "AttemptState",
    "AttemptStatus", "BenchmarkRunSpec", "BenchmarkRunStatus", "Condition", "ConditionType", "Data", "Deadlines",
    "Division", "EnvVar", "Failure", "FailureClass", "Forecast", "Measure", "MeasuredRate", "Model", "Pinned",
    "Pricing", "Progress", "Quality", "Reason", "Resources", "Result", "Score", "Stage", "Submission", "System",
    "Template", "Toleration", "TryId", "duration_seconds", "rfc3339", "unix_seconds",
]  # fmt: skip
