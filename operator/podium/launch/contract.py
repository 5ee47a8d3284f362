"""The launch contract: what a trainer receives, in a pod or in a local process."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podium.api import BenchmarkRunSpec, Submission, TryId
from podium.launch.pinning import pinned_image
from podium.launch.placement import nodes_to_avoid
from podium.reconcile import Run, job_name, object_name
from podium.rounds import Round
from podium.rules import goal_for

RENDEZVOUS_PORT = 29500
RUN_UID_LABEL = "podium.dev/run-uid"  # on all of Podium's Jobs and pods; in a large cluster, most have none
ATTEMPT_LABEL = "podium.dev/attempt"
TRY_LABEL = "podium.dev/try"
SEED_ANNOTATION = "podium.dev/seed"  # on Jobs: a Job that an earlier operator created is adopted with its seed
DATA_DIR = "/data"


@dataclass(frozen=True, slots=True)
class Launch:
    """One try of one run, ready to be launched."""

    namespace: str
    run: str
    uid: str
    spec: BenchmarkRunSpec
    attempt: int
    try_: int
    job: str
    service: str
    seed: int
    target: str
    trainer: str  # package of podium_benchmarks that implements the benchmark; "" if only an image does
    hyperparameters: Mapping[str, Any]  # the spec's, over those in which the round's reference differs from the preset
    submission: Submission  # the spec's, over the administrator's
    avoid: tuple[str, ...] = ()  # names of nodes
    pod_group: bool = False  # whether the scheduler starts its pods together
    image: str = ""  # the pinned one, with its digest; "" for the first pods, which find it

    @property
    def labels(self) -> dict[str, str]:
        return {
            "app.kubernetes.io/managed-by": "podium",
            "app.kubernetes.io/part-of": "podium",
            "app.kubernetes.io/component": "trainer",
            "podium.dev/run": self.run,
            RUN_UID_LABEL: self.uid,
            ATTEMPT_LABEL: str(self.attempt),
            TRY_LABEL: str(self.try_),
        }

    @property
    def try_labels(self) -> dict[str, str]:
        """The labels that select the pods of this try."""
        return {key: self.labels[key] for key in (RUN_UID_LABEL, ATTEMPT_LABEL, TRY_LABEL)}


def new_seed() -> int:
    """Draw the 31-bit seed of a try: nobody can know it in advance, or choose it."""
    return secrets.randbits(31)


def launch_for(
    run: Run, id_: TryId, seed: int, rounds: Mapping[str, Round], submission: Submission | None = None
) -> Launch:
    """Return the launch of a try with `seed`; `submission` has the administrator's defaults."""
    spec, round_ = run.spec, rounds[run.spec.round]
    benchmark = round_.benchmarks.get(spec.benchmark)
    defaults = benchmark.defaults if benchmark and spec.division != "open" and spec.template.image is None else {}
    return Launch(
        namespace=run.namespace,
        run=run.name,
        uid=run.uid,
        spec=spec,
        attempt=id_.attempt,
        try_=id_.number,
        job=job_name(run.name, id_),
        service=object_name(run.name),
        seed=seed,
        target=goal_for(spec, rounds).text,
        trainer=(benchmark and benchmark.trainer) or "",
        hyperparameters={**defaults, **spec.hyperparameters},
        submission=(submission or Submission()).model_copy(update=spec.submission.model_dump(exclude_none=True)),
        image=pinned_image(run.status.pinned),
        pod_group=run.status.pinned is not None and run.status.pinned.gang == "PodGroup",
        avoid=nodes_to_avoid(run.status.attempts),
    )


def command(launch: Launch, data_dir: str = "") -> list[str]:
    """Return the default command; torchrun takes nodes, ranks and rendezvous from its PET_ variables.

    `data_dir` is for local runs: in a pod, spec.data is mounted at DATA_DIR.
    """
    spec = launch.spec
    words = ["torchrun", "-m", f"podium_benchmarks.{launch.trainer}", "--preset", spec.preset]
    words += ["--target", launch.target, "--seed", str(launch.seed)]
    if folder := _data_folder(spec, data_dir):
        words += ["--data", folder]
    for key, value in launch.hyperparameters.items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return words


def environment(launch: Launch, master: str, port: int = RENDEZVOUS_PORT, data_dir: str = "") -> dict[str, str]:
    """Return the variables of the contract, except PET_NODE_RANK, which differs by node."""
    spec = launch.spec
    variables = {
        "PET_NNODES": str(spec.system.nodes),
        "PET_NPROC_PER_NODE": str(spec.system.processes_per_node),
        "PET_MASTER_ADDR": master,
        "PET_MASTER_PORT": str(port),
        "PYTHONUNBUFFERED": "1",  # lines arrive when they are printed: rules.clock compares
        "PODIUM_RUN": launch.run,
        "PODIUM_ATTEMPT": str(launch.attempt),
        "PODIUM_ROUND": spec.round,
        "PODIUM_DIVISION": spec.rules_division,  # as logs name it: MLCommons' tools know only two
        "PODIUM_PRESET": spec.preset,
        "PODIUM_PLATFORM": spec.system.name,
        "PODIUM_SEED": str(launch.seed),
        "PODIUM_TARGET": launch.target,
        "PODIUM_HYPERPARAMETERS": json.dumps(dict(launch.hyperparameters), sort_keys=True),
    }
    if launch.submission.org:
        variables["PODIUM_SUBMISSION_ORG"] = launch.submission.org
    if launch.submission.status:
        variables["PODIUM_SUBMISSION_STATUS"] = launch.submission.status
    if folder := _data_folder(spec, data_dir):
        variables["PODIUM_DATA_DIR"] = folder
    return variables


def _data_folder(spec: BenchmarkRunSpec, data_dir: str) -> str:
    return data_dir or (DATA_DIR if spec.data else "")
