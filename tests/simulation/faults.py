"""Makes faults happen: one function for each kind in `scenario.FAULTS`; `sweeps.py` has those of sweeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation import strangers, sweeps
from tests.simulation.apiserver import Object, Refused
from tests.simulation.nodes import Node
from tests.simulation.scenario import NAMESPACE, Fault
from tests.simulation.world import Process

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


def inject(sim: Simulation, fault: Fault) -> None:
    """Let `fault` begin; it ends by itself."""
    try:
        happened = _FAULTS[fault.kind](sim, fault.seconds)
    except Refused:
        return  # what a stranger creates is subject to the quota as well
    if happened is not False:
        sim.world.fault(fault.kind, f"for {fault.seconds:.0f} s")


def _later(sim: Simulation, seconds: float, action: Callable[[], object]) -> None:
    sim.world.after(seconds, action)


# ---- the operator's process ----


def _kill_at_step(sim: Simulation, seconds: float) -> None:
    process = sim.leader.process
    process.dies_at_step = process.steps + sim.world.random.randint(1, 400)


def _freeze(sim: Simulation, seconds: float) -> None:
    """The leader stands still for a while, and wakes without knowing it; with a Lease, another one leads by then."""
    _stand_still(sim, sim.leader.process, seconds)


def _freeze_at_step(sim: Simulation, seconds: float) -> None:
    """As `_freeze`, but in the middle of its work: it goes on where it stood."""
    process = sim.leader.process
    process.freeze = lambda: _stand_still(sim, process, seconds)
    process.freezes_at_step = process.steps + sim.world.random.randint(1, 400)


def _stand_still(sim: Simulation, process: Process, seconds: float) -> None:
    process.frozen, process.freezes_at_step = True, None
    _later(sim, max(seconds, 20.0), process.thaw)


def _operator_down(sim: Simulation, seconds: float) -> None:
    sim.restart_seconds = seconds
    sim.leader.process.die()


def _clock_step(sim: Simulation, seconds: float) -> None:
    process = sim.leader.process
    process.clock_offset += sim.world.random.choice((-90.0, -5.0, 5.0, 90.0))
    _later(sim, seconds, lambda: setattr(process, "clock_offset", 0.0))


# ---- the API server ----


def _api_down(sim: Simulation, seconds: float) -> None:
    sim.network.down = True
    sim.network.cut(silent=sim.world.random.random() < 0.5)
    _later(sim, min(seconds, 300.0), lambda: setattr(sim.network, "down", False))


def _for_a_while(name: str, value: float) -> Callable[[Simulation, float], None]:
    """Set an attribute of the network for a while."""

    def begin(sim: Simulation, seconds: float) -> None:
        setattr(sim.network, name, value)
        _later(sim, seconds, lambda: setattr(sim.network, name, 0.0))

    return begin


def _watch_lags(sim: Simulation, seconds: float) -> None:
    plural = sim.world.random.choice(("jobs", "pods", "benchmarkruns"))
    sim.network.watch_lag[plural] = sim.world.random.choice((1.0, 5.0, 40.0))
    _later(sim, seconds, lambda: sim.network.watch_lag.pop(plural, None))


def _watch_silent(sim: Simulation, seconds: float) -> None:
    sim.network.cut(sim.world.random.choice(("jobs", "pods", "benchmarkruns")), silent=True)


def _compaction(sim: Simulation, seconds: float) -> None:
    sim.server.compact()
    sim.network.cut(silent=False)


def _quota(sim: Simulation, seconds: float) -> None:
    """The namespace's quota refuses Jobs, or pods."""
    what = sim.world.random.choice(("jobs", "pods"))

    def admit(plural: str, body: Object, user: str) -> None:
        if plural == what:
            sim.world.fault(f"quota on {what}", body["metadata"]["name"])
            raise Refused(403, "Forbidden", f'{what} "{body["metadata"]["name"]}" is forbidden: exceeded quota: gpus')

    sim.server.admission.append(admit)
    _later(sim, min(seconds, 500.0), lambda: sim.server.admission.remove(admit))


# ---- nodes and pods ----


def _some_node(sim: Simulation) -> Node | None:
    """Return a node that answers, one with a running pod if there is one."""
    busy = {c.node.name: c.node for c in sim.cluster.running()}
    nodes = list(busy.values()) or [n for n in sim.cluster.nodes.values() if n.connected]
    return sim.world.random.choice(nodes) if nodes else None


def _node_lost(sim: Simulation, seconds: float, *, power: bool = False, remove: bool = False) -> bool:
    node = _some_node(sim)
    if node is None:
        return False
    sim.disturbed(node)
    sim.disruptions.lose(node, power=power)
    if remove:
        _later(sim, 60.0, lambda: None if node.connected else sim.disruptions.remove(node))
    _later(sim, max(seconds, 120.0) * (2 if remove else 1), lambda: sim.disruptions.restore(node))
    return True


def _disrupt(kind: str) -> Callable[[Simulation, float], bool]:
    def begin(sim: Simulation, seconds: float) -> bool:
        running = sim.cluster.running()
        if not running:
            return False
        container = sim.world.random.choice(running)
        sim.truth.disturb(container.job_uid, kind)
        sim.disruptions.disrupt(container, kind)
        return True

    return begin


def _cannot_start(sim: Simulation, seconds: float) -> None:
    """The kubelets cannot start containers for a while: the registry or the API server's secrets do not answer."""
    why = sim.world.random.choice(("ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError"))
    for node in sim.cluster.nodes.values():
        node.hindrance = why

    def heal() -> None:
        for node in sim.cluster.nodes.values():
            node.hindrance = ""

    # a configuration error that lasts for a minute counts as final
    _later(sim, min(seconds, 40.0 if why == "CreateContainerConfigError" else 500.0), heal)


def _node_clock_set(sim: Simulation, seconds: float) -> bool:
    """Somebody sets the clock of a node, and later sets it right."""
    node = _some_node(sim)
    if node is None:
        return False
    step = sim.world.random.choice((-3600.0, -40.0, -8.0, 8.0, 40.0, 3600.0))
    sim.set_clock(node, step)
    _later(sim, seconds, lambda: sim.set_clock(node, -step))
    return True


# ---- logs ----


def _in_set(name: str) -> Callable[[Simulation, float], bool]:
    """Put a node into one of the log server's sets for a while."""

    def begin(sim: Simulation, seconds: float) -> bool:
        node = _some_node(sim)
        if node is None:
            return False
        places: set[str] = getattr(sim.logs, name)
        places.add(node.name)
        if name == "unreachable":
            sim.logs.silence(node.name)
        _later(sim, seconds, lambda: places.discard(node.name) if node.connected else None)
        return True

    return begin


def _half_open(sim: Simulation, seconds: float) -> bool:
    node = _some_node(sim)
    if node:
        sim.logs.silence(node.name)
    return node is not None


def _log_cut(sim: Simulation, seconds: float) -> None:
    sim.logs.cuts_lines = 0.3
    _later(sim, seconds, lambda: setattr(sim.logs, "cuts_lines", 0.0))


def _log_rotated(sim: Simulation, seconds: float) -> None:
    for place, log in sim.logs.logs.items():
        if not log.closed:
            log.rotated = len(log.lines)
            sim.truth.rotate(place, sim.plan.faults)


# ---- Jobs, queue, store ----


def _job_controller_slow(sim: Simulation, seconds: float) -> None:
    sim.jobs.slow_seconds = sim.world.random.choice((5.0, 60.0))
    _later(sim, seconds, lambda: setattr(sim.jobs, "slow_seconds", 0.0))


def _job_deleted(sim: Simulation, seconds: float) -> bool:
    """Somebody deletes a Job, perhaps while no operator runs."""
    jobs = [job for job in sim.server.all("jobs") if job["metadata"]["uid"] in sim.truth.tries]
    if not jobs:
        return False
    if sim.world.random.random() < 0.5:
        sim.restart_seconds = 60.0
        sim.leader.process.die()
    metadata = sim.world.random.choice(jobs)["metadata"]
    sim.truth.disturb(metadata["uid"], "job deleted")
    sim.server.delete("jobs", metadata["namespace"], metadata["name"])
    return True


def _queue_closed(sim: Simulation, seconds: float) -> None:
    sim.queue.closed = True

    def open_again() -> None:
        sim.queue.closed = False
        sim.queue.admit()

    _later(sim, seconds * 3, open_again)


def _queue_preempts(sim: Simulation, seconds: float, wanted: str = "") -> bool:
    uid = sim.queue.preempt(wanted)
    if uid:
        sim.truth.disturb(uid, "queue preempts")
    return bool(uid)


def _queue_takes_back(sim: Simulation, seconds: float) -> None:
    """The next Job that the queue admits is preempted before or soon after its pods have started."""

    def admitted(uid: str) -> None:
        sim.queue.admits = lambda uid: None
        _later(sim, sim.world.random.uniform(1, 40), lambda: _queue_preempts(sim, seconds, uid))

    sim.queue.admits = admitted


def _bucket(name: str, value: float) -> Callable[[Simulation, float], None]:
    def begin(sim: Simulation, seconds: float) -> None:
        setattr(sim.bucket, name, value)
        _later(sim, seconds, lambda: setattr(sim.bucket, name, 0.0))

    return begin


# ---- users ----


def _some_run(sim: Simulation) -> Object | None:
    runs = sim.server.all("benchmarkruns")
    return sim.world.random.choice(runs) if runs else None


def _run_suspended(sim: Simulation, seconds: float) -> bool:
    run = _some_run(sim)
    if run is None:
        return False
    sim.truth.suspended(run["metadata"]["uid"], noticed=sim.network.is_healthy() and not sim.leader.process.frozen)
    _edit(sim, run, suspend=True)
    _later(sim, seconds, lambda: _edit(sim, run, suspend=False))
    return True


def _edit(sim: Simulation, run: Object, *, suspend: bool) -> None:
    metadata = run["metadata"]
    now = sim.server.find("benchmarkruns", metadata["namespace"], metadata["name"])
    if now and now["metadata"]["uid"] == metadata["uid"]:
        sim.server.update(
            "benchmarkruns", NAMESPACE, metadata["name"], lambda body: body["spec"].update(suspend=suspend)
        )


def _run_deleted(sim: Simulation, seconds: float) -> bool:
    run = _some_run(sim)
    if run is None:
        return False
    _delete_run(sim, run)
    return True


def _delete_run(sim: Simulation, run: Object) -> None:
    policy = sim.world.random.choice(("Background", "Foreground"))
    sim.server.delete("benchmarkruns", NAMESPACE, run["metadata"]["name"], policy=policy)


def _run_made_again(sim: Simulation, seconds: float) -> bool:
    """A user deletes a run and creates another one of the same name; perhaps while its next status is on its way."""
    run = _some_run(sim)
    if run is None:
        return False
    name, spec = run["metadata"]["name"], {**run["spec"], "suspend": False}
    requests = sim.leader.connection.on_request

    def at_a_write(process: str, verb: str, path: str) -> None:
        if verb == "PATCH" and f"/benchmarkruns/{name}/" in path:
            requests.remove(at_a_write)
            if sim.server.find("benchmarkruns", NAMESPACE, name):
                sim.server.delete("benchmarkruns", NAMESPACE, name)
                sim.create_run(name, spec)

    if sim.world.random.random() < 0.5:
        requests.append(at_a_write)
        return True
    _delete_run(sim, run)
    _later(sim, sim.world.random.choice((0.05, 2.0, 30.0)), lambda: sim.create_run(name, spec))
    return True


_FAULTS: dict[str, Callable[[Simulation, float], bool | None]] = {
    "kill": lambda sim, seconds: sim.leader.process.die(),
    "kill at a step": _kill_at_step,
    "freeze": _freeze,
    "freeze at a step": _freeze_at_step,
    "upgrade": lambda sim, seconds: sim.leader.stop(),
    "operator down": _operator_down,
    "api down": _api_down,
    "api errors": _for_a_while("refusing", 0.3),
    "answers lost": _for_a_while("losing", 0.5),
    "api slow": _for_a_while("slow_seconds", 5.0),
    "watch lags": _watch_lags,
    "watch cut": lambda sim, seconds: sim.network.cut(silent=False),
    "watch silent": _watch_silent,
    "compaction": _compaction,
    "clock step": _clock_step,
    "node clock set": _node_clock_set,
    "node lost": _node_lost,
    "node without power": lambda sim, seconds: _node_lost(sim, seconds, power=True),
    "node removed": lambda sim, seconds: _node_lost(sim, seconds, power=True, remove=True),
    "evicted": _disrupt("evicted"),
    "drained": _disrupt("drained"),
    "preempted": _disrupt("preempted"),
    "oom": _disrupt("oom"),
    "kubelet unreachable": _in_set("unreachable"),
    "log half-open": _half_open,
    "log unreadable": _in_set("unreadable"),
    "log cut": _log_cut,
    "log rotated": _log_rotated,
    "containers cannot start": _cannot_start,
    "quota": _quota,
    "job controller slow": _job_controller_slow,
    "job deleted": _job_deleted,
    "stranger": strangers.creates_a_lookalike,
    "labels taken off": strangers.takes_labels_off,
    "queue closed": _queue_closed,
    "queue preempts": _queue_preempts,
    "queue takes back": _queue_takes_back,
    "store down": _bucket("failing", 1.0),
    "store answers lost": _bucket("losing", 0.5),
    "store slow": _bucket("slow_seconds", 30.0),
    "run suspended": _run_suspended,
    "run deleted": _run_deleted,
    "run made again": _run_made_again,
    **sweeps.FAULTS,
}
