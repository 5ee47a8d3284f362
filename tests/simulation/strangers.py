"""What people with rights in the namespace do to a run's objects: faults of `faults.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podium.launch import ATTEMPT_LABEL, RUN_UID_LABEL, TRY_LABEL
from tests.simulation.apiserver import Object
from tests.simulation.jobs import INDEX
from tests.simulation.scenario import NAMESPACE

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


def creates_a_lookalike(sim: Simulation, seconds: float) -> bool:
    """Somebody creates a pod, or a Job, with the labels of a run."""
    runs = sim.server.all("benchmarkruns")
    if not runs:
        return False
    run = sim.world.random.choice(runs)
    labels = {RUN_UID_LABEL: run["metadata"]["uid"], ATTEMPT_LABEL: "1", TRY_LABEL: "0"}
    metadata = {"name": f"stranger-{sim.world.random.getrandbits(20)}", "labels": labels, "annotations": {INDEX: "0"}}
    state = {"terminated": {"exitCode": 3, "startedAt": sim.world.stamp(), "finishedAt": sim.world.stamp()}}
    status = {"phase": "Failed", "containerStatuses": [{"name": "trainer", "state": state}]}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "other", "uid": "other", "controller": True}
    match sim.world.random.randrange(3):
        case 0:
            sim.server.create("pods", NAMESPACE, {"metadata": metadata, "spec": {}, "status": status})
        case 1:
            metadata["ownerReferences"] = [owner]
            sim.server.create("pods", NAMESPACE, {"metadata": metadata, "spec": {}, "status": status})
        case 2:
            failed = {"type": "Failed", "status": "True", "reason": "Other", "message": "not ours"}
            body = {
                "metadata": metadata,
                "spec": {"completions": 1, "suspend": True},
                "status": {"conditions": [failed]},
            }
            sim.server.create("jobs", NAMESPACE, body)
    return True


def takes_labels_off(sim: Simulation, seconds: float) -> bool:
    """Somebody takes Podium's labels off a pod that runs, or off the Job of a try; perhaps they are put back."""
    random = sim.world.random
    running = [sim.server.find("pods", *c.place) for c in sim.cluster.running()]
    listed = (run.get("status", {}).get("attempts", ()) for run in sim.server.all("benchmarkruns"))
    known = {attempt.get("jobUid") for attempts in listed for attempt in attempts}
    jobs = [job for job in sim.server.all("jobs") if job["metadata"]["uid"] in known & sim.truth.tries.keys()]
    plural, bodies = ("jobs", jobs) if random.random() < 0.3 else ("pods", [pod for pod in running if pod])
    if not bodies:
        return False
    metadata = random.choice(bodies)["metadata"]
    place = (plural, metadata["namespace"], metadata["name"])
    labels = {key: value for key, value in metadata["labels"].items() if key.startswith("podium.dev/")}

    def take_off(body: Object) -> None:
        body["metadata"]["labels"] = {k: v for k, v in body["metadata"]["labels"].items() if k not in labels}

    def put_back(body: Object) -> None:
        body["metadata"]["labels"] |= labels

    sim.server.update(*place, take_off)
    if random.random() < 0.5:
        sim.world.after(seconds, lambda: sim.server.update(*place, put_back))
    return True
