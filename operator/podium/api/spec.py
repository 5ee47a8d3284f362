"""The spec of a BenchmarkRun: what a user asks for.

The models are the single source: the schema in ``crds/`` is generated from them, and ``kubectl explain`` shows the
descriptions.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from podium.api.affinity import Affinity, Label
from podium.api.model import Model

GROUP = "podium.dev"
VERSION = "v1alpha1"
KIND = "BenchmarkRun"
PLURAL = "benchmarkruns"
MANAGER = "podium.dev/operator"
MAX_SPEC_BYTES = 64 * 1024  # of the spec as JSON
MAX_SPEC_DEPTH = 32  # levels of nested lists and objects

MAX_NAME_LENGTH = 50  # names of objects keep its first 42 characters, see reconcile.object_name
MAX_ATTEMPTS = 100
MAX_RETRIES = 10
MAX_NODES = 4096

DURATION = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"
DECIMAL = r"^[0-9]{1,12}(\.[0-9]{1,12})?$"
# as resource.Quantity of Kubernetes: 64Gi, 65536Ki, 1.5, .5, 100m, 1e9
QUANTITY = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$"
# no part of the path starts with a dot, so ".." cannot lead out of the prefix
BUCKET_URL = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_!*'()=+@:,-][A-Za-z0-9_.!*'()=+@:,-]*)*/?$"
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
BENCHMARK = r"^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"  # MLPerf's names have underscores; no object is named after them
QUALIFIED_NAME = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"

SUBMITTER = r"^[A-Za-z0-9]([-A-Za-z0-9 ._+&]*[A-Za-z0-9.])?$"

Division = Literal["closed", "open", "outOfTheBox"]
Status = Literal["onprem", "cloud", "preview", "research"]
Quantity = Annotated[str, Field(max_length=32, pattern=QUANTITY)] | int
Duration = Annotated[str, Field(min_length=2, max_length=24, pattern=DURATION)]
Decimal = Annotated[str, Field(max_length=25, pattern=DECIMAL)]


ONE_END = "measure: set either duration or samples"
ONE_SOURCE = "data: name one source, either a claim in persistentVolumeClaim or a bucket in stage.from"


class System(Model):
    """The machines that the run uses."""

    name: str = Field(max_length=63, pattern=DNS_LABEL, description="Name of the system; results are filed under it.")
    nodes: int = Field(ge=1, le=MAX_NODES, description="Number of nodes; each node gets one pod.")
    accelerators_per_node: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Accelerators per node, one process for each; 0 runs one process on the CPU.",
    )
    accelerator_resource: str = Field(
        default="nvidia.com/gpu",
        max_length=128,
        pattern=QUALIFIED_NAME,
        description="Kubernetes resource name of the accelerators.",
    )

    @property
    def processes_per_node(self) -> int:
        """Ranks that torchrun starts on each node."""
        return max(1, self.accelerators_per_node)

    @property
    def ranks(self) -> int:
        """Ranks that a try starts on all nodes together."""
        return self.nodes * self.processes_per_node


class PersistentVolumeClaim(Model):
    """A claim in the run's namespace that holds the data set."""

    claim_name: str = Field(max_length=253, min_length=1, description="Name of the PersistentVolumeClaim.")
    read_only: bool = Field(default=True, description="Mount it read-only.")


class Stage(Model):
    """Copies the data set to the node's disk before the trainer starts, in parallel and verified by checksum.

    The run sets only the source. The administrator sets credentials, endpoint and disk.
    """

    from_: Annotated[str, Field(max_length=1024, pattern=BUCKET_URL)] | None = Field(
        default=None,
        alias="from",
        description='Bucket and prefix, such as "s3://datasets/imagenet"; default: the claim.',
    )


class Data(Model):
    """Source of the training data: a claim that is mounted, or a claim or bucket that is copied."""

    persistent_volume_claim: PersistentVolumeClaim | None = Field(
        default=None, description="Mounted at /data in every pod; with stage, it is copied and the copy is mounted."
    )
    stage: Stage | None = Field(
        default=None,
        description="Copy the data set to the node's disk before the trainer starts; the copy is mounted at /data, "
        "read-only.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if (self.persistent_volume_claim is None) == (self.bucket_url is None):
            raise ValueError(ONE_SOURCE)
        return self

    @property
    def bucket_url(self) -> str | None:
        """The bucket to copy from; None for a claim."""
        return self.stage.from_ if self.stage else None


class Deadlines(Model):
    """Time limits for the phases of an attempt, such as "90s", "30m" or "1h30m"."""

    pending: Duration = Field(
        default="30m",
        description="From the creation of the Job (with queueName, from its admission) until every container is "
        "running. With data.stage, until every pod "
        "is copying, and again from the end of copying until every container is running.",
    )
    stage: Duration = Field(
        default="2h", description="With data.stage, from when the last pod starts copying until all have the data."
    )
    queued: Duration | None = Field(
        default=None, description="With queueName, until the queue admits the Job; default: no limit."
    )
    init: Duration = Field(default="20m", description="From the start of the containers until run_start is logged.")
    run: Duration = Field(
        default="48h", description="From run_start until run_stop; an attempt that exceeds it did not converge."
    )
    silence: Duration | None = Field(
        default=None,
        description="After run_start, how long rank 0 may print nothing; an attempt that is silent for longer hangs, "
        "and did not converge. Default: no limit.",
    )


class Measure(Model):
    """Measure the rate instead of the time to train: each attempt is ended after a while.

    The rate is that of the training between the end of `warmup` and the first line after `duration`, or `samples`,
    that says how much was trained.
    """

    warmup: Duration = Field(default="1m", description="From run_start; what is trained in it does not count.")
    duration: Duration | None = Field(default=None, description="How long to measure after the warm-up.")
    samples: int | None = Field(default=None, ge=1, le=10**15, description="How many samples to measure.")

    @model_validator(mode="after")
    def _one_end(self) -> Measure:
        if (self.duration is None) == (self.samples is None):
            raise ValueError(ONE_END)
        return self


class EnvVar(Model):
    """An environment variable with a literal value: a run must not read Secrets or ConfigMaps by name."""

    name: str = Field(max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")
    value: str = Field(default="", max_length=4096)


class Resources(Model):
    """Compute resources of one pod, in addition to its accelerators."""

    requests: dict[Annotated[str, Field(max_length=128)], Quantity] = Field(default_factory=dict, max_length=16)
    limits: dict[Annotated[str, Field(max_length=128)], Quantity] = Field(default_factory=dict, max_length=16)


class Toleration(Model):
    """A toleration, as in a pod."""

    key: str | None = Field(default=None, max_length=316)
    operator: Literal["Exists", "Equal"] | None = None
    value: Label | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = Field(default=None, ge=0)


class LocalObjectReference(Model):
    """The name of an object in the run's namespace."""

    name: str = Field(max_length=253, min_length=1)


class ResourceClaim(Model):
    """A claim for devices, one per pod, made from a ResourceClaimTemplate in the run's namespace."""

    name: str = Field(max_length=63, pattern=DNS_LABEL, description="Name within the pod.")
    resource_claim_template_name: str = Field(max_length=253, min_length=1)


class Template(Model):
    """Pod settings that a run may change.

    A closed list: permission to create BenchmarkRuns must grant nothing else, so there is no hostPath, privileged mode,
    host network or service account here. Cluster-wide settings (RDMA devices, NCCL variables, local disks) go in the
    operator's pod defaults, which the administrator sets.
    """

    image: str | None = Field(
        default=None,
        max_length=512,
        min_length=1,
        description="Container image; default: the operator's trainer image.",
    )
    command: tuple[Annotated[str, Field(max_length=4096)], ...] = Field(default=(), max_length=64)
    args: tuple[Annotated[str, Field(max_length=4096)], ...] = Field(default=(), max_length=64)
    env: tuple[EnvVar, ...] = Field(default=(), max_length=64)
    resources: Resources | None = None
    node_selector: dict[Annotated[str, Field(max_length=316)], Label] = Field(default_factory=dict, max_length=32)
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=32)
    affinity: Affinity | None = Field(default=None, description="As in a pod; terms cover the run's namespace only.")
    priority_class_name: str | None = Field(default=None, max_length=253)
    image_pull_secrets: tuple[LocalObjectReference, ...] = Field(default=(), max_length=16)
    shared_memory: Annotated[str, Field(max_length=32, pattern=QUANTITY)] | None = Field(
        default=None, description="Size of /dev/shm; default: half of the pod's memory limit."
    )
    annotations: dict[Annotated[str, Field(max_length=316)], Annotated[str, Field(max_length=4096)]] = Field(
        default_factory=dict, max_length=32, description="Annotations of the pods."
    )
    resource_claims: tuple[ResourceClaim, ...] = Field(
        default=(), max_length=16, description="Devices by dynamic resource allocation, beside the accelerators."
    )
    secrets: tuple[Annotated[str, Field(max_length=63, pattern=DNS_LABEL)], ...] = Field(
        default=(),
        max_length=16,
        description="Names from the administrator's list (trainer.secrets): their variables are set from Secrets in "
        "the run's namespace.",
    )


class Quality(Model):
    """The quality at which the clock stops."""

    target: str = Field(
        max_length=51,
        pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?(/[0-9]{1,12}(\.[0-9]{1,12})?)?$",
        description='Target of the quality metric, such as "0.60", or "0.30/0.25" for two metrics (Mask R-CNN).',
    )


class Pricing(Model):
    """Price of the system, so that the result includes the cost of an attempt."""

    per_node_hour: Decimal = Field(description='Price of one node per hour, such as "98.32".')
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$", max_length=3)


class Submission(Model):
    """In whose name the logs are written, as MLPerf's submission_org and submission_status."""

    org: str | None = Field(
        default=None,
        max_length=64,
        pattern=SUBMITTER,
        description="Submitter; default: the administrator's (trainer.submission), else podium.",
    )
    status: Status | None = Field(
        default=None,
        description="Whether others can get the system: onprem, cloud, preview (soon; from v0.7 on) or research; "
        "default: the administrator's (trainer.submission), else research.",
    )


class BenchmarkRunSpec(Model):
    """One time-to-train benchmark: what to run, where, and how many times."""

    round: str = Field(
        max_length=16,
        description="MLPerf round whose rules apply: targets, number of attempts, hyperparameters.",
    )
    benchmark: str = Field(
        max_length=40,
        pattern=BENCHMARK,
        description="Benchmark of the round, or any name in the open division with a custom image.",
    )
    division: Division = Field(
        default="closed",
        description="closed: the round's model, target and tunable hyperparameters; outOfTheBox: closed, with only "
        "the batch size tuned; open: anything except another data set or quality metric.",
    )
    preset: Literal["full", "tiny"] = Field(
        default="full",
        description="full: the benchmark itself; tiny: a small, self-contained one, only in the open division.",
    )
    attempts: int | None = Field(
        default=None,
        ge=1,
        le=MAX_ATTEMPTS,
        description="Number of attempts; default: the round's, or 3 with measure. Of more, consecutive ones with the "
        "median score count.",
    )
    parallel_attempts: int = Field(
        default=1, ge=1, le=MAX_ATTEMPTS, description="Number of attempts that may run at the same time."
    )
    max_retries: int = Field(
        default=2,
        ge=0,
        le=MAX_RETRIES,
        description="Retries per attempt after disruptions and infrastructure failures.",
    )
    hyperparameters: dict[str, Any] = Field(
        default_factory=dict, description="Hyperparameters, keyed by MLPerf log key, such as global_batch_size."
    )
    system: System
    data: Data | None = None
    deadlines: Deadlines = Deadlines()
    measure: Measure | None = Field(
        default=None,
        description="Measure the rate (samples per second) instead of the time to train, and end each attempt then.",
    )
    template: Template = Template()
    queue_name: Label | None = Field(default=None, description="Kueue LocalQueue that admits the run's Jobs.")
    queue_priority_class: Label | None = Field(
        default=None, description="Kueue WorkloadPriorityClass of the run's Jobs."
    )
    quality: Quality | None = Field(default=None, description="Replaces the round's target; open division only.")
    pricing: Pricing | None = None
    submission: Submission = Submission()
    suspend: bool = Field(
        default=False,
        description="Pause the run; an attempt before run_start is stopped and repeated on resume, one after run_start "
        "did not converge.",
    )
    stop_when_hopeless: bool = Field(
        default=False,
        description="Make no more attempts once the result passes the test by reference convergence points with a "
        "probability below 1 %; without such points for the division and benchmark it does nothing.",
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=31_536_000,
        description="Seconds to keep a finished run; results are kept.",
    )
    managed_by: str | None = Field(
        default=None,
        max_length=128,
        description="Controller of the run, such as kueue.x-k8s.io/multikueue; default: podium.dev/operator. The "
        "operator leaves a run of another controller alone.",
    )

    @property
    def rules_division(self) -> Literal["closed", "open"]:
        """The MLPerf division of the run: an out-of-the-box run follows all closed rules."""
        return "open" if self.division == "open" else "closed"


_UNIT_SECONDS = {"h": 3600, "m": 60, "s": 1}


def duration_seconds(text: str) -> int:
    """Convert a duration to seconds: ``"1h30m"`` is 5400."""
    return sum(int(number) * _UNIT_SECONDS[unit] for number, unit in re.findall(r"(\d+)([hms])", text))
