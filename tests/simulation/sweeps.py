"""BenchmarkSweeps of a world, and what happens to them: faults of `faults.py`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from podium.api.sweep import SWEEP_KIND, SWEEP_PLURAL
from tests.simulation.apiserver import Change, Object
from tests.simulation.scenario import NAMESPACE, SweepPlan
from tests.simulation.statuses import is_terminal

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

_IN_THE_WAY = re.compile(r"BenchmarkRun (\S+) exists and is not of this sweep")
_READ_SECONDS = 120.0  # until a user acts on what a status says
_KINDS = ("benchmarkruns", SWEEP_PLURAL)


def prepare(sim: Simulation, plan: SweepPlan) -> None:
    """Label the nodes, and let the API server have BenchmarkSweeps when `plan` says so."""
    for node in sim.cluster.nodes.values():
        node.labels["pool"] = "gpu"
        sim.server.update("nodes", "", node.name, lambda body: body["metadata"]["labels"].update(pool="gpu"))
    sim.server.listeners[SWEEP_PLURAL].append(lambda change: _read_status(sim, change))
    if plan.served_at:
        sim.world.after(plan.served_at, lambda: sim.server.kinds.update(_KINDS))
    else:
        sim.server.kinds.update(_KINDS)


def create_sweep(sim: Simulation, name: str, spec: Object) -> None:
    """A user creates a BenchmarkSweep; again later if the old one of that name is still there."""
    if sim.server.find(SWEEP_PLURAL, NAMESPACE, name):
        sim.world.after(10.0, lambda: create_sweep(sim, name, spec))
        return
    sim.world.say("user", f"creates sweep {name}: {spec}")
    body: Object = {"apiVersion": "podium.dev/v1alpha1", "kind": SWEEP_KIND}
    sim.server.create(SWEEP_PLURAL, NAMESPACE, {**body, "metadata": {"name": name}, "spec": spec})


def active_sweeps(sim: Simulation) -> list[Object]:
    """Return the sweeps that exist and have not ended."""
    sweeps = sim.server.all(SWEEP_PLURAL)
    return [one for one in sweeps if not is_terminal(one.get("status") or {}) and not is_deleted(one)]


def is_deleted(body: Object) -> bool:
    return "deletionTimestamp" in body["metadata"]


def sweep_of(run: Object) -> str:
    """Return the uid of the sweep that owns a run; "" if none does."""
    owners = run["metadata"].get("ownerReferences", ())
    return next((owner["uid"] for owner in owners if owner["kind"] == SWEEP_KIND), "")


def row_of(run: Object) -> tuple[str, int]:
    """Return which run of which row a run of a sweep is."""
    annotations = run["metadata"]["annotations"]
    return annotations["podium.dev/sweep-row"], int(annotations["podium.dev/sweep-number"])


def is_complete(sweep: Object) -> bool:
    conditions = (sweep.get("status") or {}).get("conditions", ())
    return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)


def _read_status(sim: Simulation, change: Change) -> None:
    """A user who reads that somebody's run is in the way deletes it."""
    for condition in (change.object.get("status") or {}).get("conditions", ()):
        if found := _IN_THE_WAY.search(condition["message"]):
            sim.world.after(_READ_SECONDS, lambda name=found[1]: _clear(sim, name))


def _clear(sim: Simulation, name: str) -> None:
    run = sim.server.find("benchmarkruns", NAMESPACE, name)
    if run and not sweep_of(run):
        sim.server.delete("benchmarkruns", NAMESPACE, name)


# ---- faults ----


def _some_sweep(sim: Simulation) -> Object | None:
    sweeps = [one for one in sim.server.all(SWEEP_PLURAL) if not is_deleted(one)]
    return sim.world.random.choice(sweeps) if sweeps else None


def _some_run(sim: Simulation) -> Object | None:
    runs = [run for run in sim.server.all("benchmarkruns") if sweep_of(run) and not is_deleted(run)]
    return sim.world.random.choice(runs) if runs else None


def _kill_at_write(sim: Simulation, seconds: float) -> None:
    """The leader dies within a few steps of the next write that a sweep makes."""
    replica = sim.leader
    requests = replica.connection.on_request

    def at_a_write(process: str, verb: str, path: str) -> None:
        if (verb == "PATCH" and f"/{SWEEP_PLURAL}/" in path) or (verb == "POST" and path.endswith("/benchmarkruns")):
            requests.remove(at_a_write)
            replica.process.dies_at_step = replica.process.steps + sim.world.random.randint(1, 30)

    requests.append(at_a_write)


def _sweep_deleted(sim: Simulation, seconds: float) -> bool:
    sweep = _some_sweep(sim)
    if sweep:
        policy = sim.world.random.choice(("Background", "Foreground"))
        sim.server.delete(SWEEP_PLURAL, NAMESPACE, sweep["metadata"]["name"], policy=policy)
    return sweep is not None


def _sweep_made_again(sim: Simulation, seconds: float) -> bool:
    """A user deletes a sweep and creates another one of the same name."""
    sweep = _some_sweep(sim)
    if sweep:
        name = sweep["metadata"]["name"]
        _sweep_deleted(sim, seconds)
        sim.world.after(sim.world.random.choice((0.05, 2.0, 30.0)), lambda: create_sweep(sim, name, sweep["spec"]))
    return sweep is not None


def _sweep_watch_lags(sim: Simulation, seconds: float) -> None:
    sim.network.watch_lag[SWEEP_PLURAL] = sim.world.random.choice((1.0, 5.0, 40.0))
    sim.world.after(seconds, lambda: sim.network.watch_lag.pop(SWEEP_PLURAL, None))


def _run_deleted(sim: Simulation, seconds: float, *, replace: bool = False) -> bool:
    """A user deletes a run of a sweep; and perhaps creates one of that name, which the sweep does not own."""
    run = _some_run(sim)
    if run is None:
        return False
    name, spec = run["metadata"]["name"], {**run["spec"], "suspend": False}
    sim.server.delete("benchmarkruns", NAMESPACE, name)
    if replace:
        sim.create_run(name, spec)
    return True


def _template_edited(sim: Simulation, seconds: float) -> bool:
    """A user changes the template of a sweep, and puts it back after a while if runs may have been made of it."""
    sweep = _some_sweep(sim)
    if sweep is None:
        return False
    metadata = sweep["metadata"]

    def edit(limit: str) -> None:
        now = sim.server.find(SWEEP_PLURAL, NAMESPACE, metadata["name"])
        if now and now["metadata"]["uid"] == metadata["uid"]:
            change = {"init": limit}
            place = SWEEP_PLURAL, NAMESPACE, metadata["name"]
            sim.server.update(*place, lambda body: body["spec"]["template"]["deadlines"].update(change))

    edit("6m")
    if sweep.get("status"):  # else its runs are made from the new one
        sim.world.after(max(seconds, 600.0), lambda: edit("5m"))
    return True


FAULTS: dict[str, Callable[[Simulation, float], bool | None]] = {
    "kill at a sweep's write": _kill_at_write,
    "sweep deleted": _sweep_deleted,
    "sweep made again": _sweep_made_again,
    "sweep watch lags": _sweep_watch_lags,
    "sweep's run deleted": _run_deleted,
    "sweep's run replaced": lambda sim, seconds: _run_deleted(sim, seconds, replace=True),
    "sweep's template edited": _template_edited,
}
