"""What must hold at the end of a world, when everything is repaired and quiet. `FINAL` lists the guarantees."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any
from unittest import mock

from podium.api.sweep import SWEEP_PLURAL
from podium.results import ledger
from podium.results.chain import chain_text
from podium.submissions import verify
from tests.simulation.jobs import is_finished
from tests.simulation.scenario import NAMESPACE
from tests.simulation.statuses import is_terminal, summary
from tests.simulation.stores import SimulatedStore
from tests.simulation.sweep_watchdog import sweep_summary, unlike_its_result
from tests.simulation.sweeps import is_complete, sweep_of

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

_MOST_VOID_TIMERS = 8
_MOST_TASKS = 64 + 20  # the queue's workers, informers, timers


def every_run_ends(sim: Simulation) -> str:
    """Every run ends once what hindered it is repaired."""
    for run in sim.server.all("benchmarkruns"):
        if not is_terminal(run.get("status") or {}):
            return f"{run['metadata']['name']} has not ended: {summary(run.get('status') or {})}"
    return ""


def nothing_runs_after_the_end(sim: Simulation) -> str:
    """Nothing of an ended or deleted run runs, and no Job of it can start."""
    for container in sim.cluster.containers.values():
        if container.started is not None and not container.removed and container.run_uid not in sim.active_runs():
            return f"pod {container.place[1]} ({container.program.kind}) still runs"
    for job in sim.server.all("jobs"):
        if not is_finished(job) and job["metadata"]["ownerReferences"][0]["uid"] not in sim.active_runs():
            return f"Job {job['metadata']['name']} can still run"
    return ""


def every_run_is_tried(sim: Simulation) -> str:
    """A run that is not deleted gets a Job: nothing here is refused for good."""
    for run in sim.server.all("benchmarkruns"):
        if not sim.truth.of_run(run["metadata"]["uid"]):
            return f"{run['metadata']['name']} never got a Job: {summary(run.get('status') or {})}"
    return ""


def no_attempt_is_lost(sim: Simulation) -> str:
    """Every Job that was created is listed in the status of its run."""
    for run in sim.server.all("benchmarkruns"):
        listed = {(a["index"], a.get("try", 0)) for a in (run.get("status") or {}).get("attempts", ())}
        for one in sim.truth.of_run(run["metadata"]["uid"]):
            if one.id not in listed:
                return f"{one.name} is not in the status"
    return ""


def the_result_equals_the_status(sim: Simulation) -> str:
    """What is stored of an ended run is sealed, unchanged, and says what the status says."""
    for run in sim.server.all("benchmarkruns"):
        status, metadata = run.get("status") or {}, run["metadata"]
        if not status.get("result"):
            continue
        folder = status["result"]["uri"].removeprefix("s3://results/") + "/"
        files = {k.removeprefix(folder): v for k, v in sim.bucket.objects.items() if k.startswith(folder)}
        sums = files.get("SHA256SUMS", b"")
        if hashlib.sha256(sums).hexdigest() != status["result"]["sha256"]:
            return f"{metadata['name']}: SHA256SUMS is not the one in the status"
        for line in sums.decode().splitlines():
            digest, _, key = line.partition("  ")
            if hashlib.sha256(files.get(key, b"")).hexdigest() != digest:
                return f"{metadata['name']}: {key} is not the one that was sealed"
        stored: dict[str, Any] = json.loads(files["result.json"])
        states = [(a["index"], a.get("try", 0), a["state"]) for a in stored["attempts"]]
        if states != [(a["index"], a.get("try", 0), a["state"]) for a in status["attempts"]]:
            return f"{metadata['name']}: result.json lists {states}"
    return ""


def the_ledger_is_complete(sim: Simulation) -> str:
    """The ledger of an ended run is an unbroken chain, has every Job that was created and how it ended, and `podium verify`
    finds nothing."""
    for key, text in sim.bucket.objects.items():
        broken = [record for record in ledger.read(text) if record.problem] if key.endswith("/ledger.jsonl") else ()
        if broken:
            return f"{key}, line {broken[0].number}: {broken[0].problem}"
    for run in sim.server.all("benchmarkruns"):
        status, metadata = run.get("status") or {}, run["metadata"]
        if not status.get("result"):
            continue
        folder = status["result"]["uri"].removeprefix("s3://results/")
        entries = [record.entry for record in ledger.read(sim.bucket.objects[f"{folder}/ledger.jsonl"])]
        if (entries[0]["kind"], entries[-1]["kind"]) != (ledger.ADMITTED, ledger.RESULT):
            return f"{metadata['name']}: the ledger begins with {entries[0]['kind']}, ends with {entries[-1]['kind']}"
        for kind in (ledger.TRY, ledger.END):
            listed = [(e["attempt"], e["try"]) for e in entries if e["kind"] == kind]
            missing = {one.id for one in sim.truth.of_run(metadata["uid"])} - set(listed)
            if missing or (kind == ledger.TRY and len(listed) != len(set(listed))):
                return f"{metadata['name']}: the ledger has {kind} {listed}; {sorted(missing)} are missing"
        with mock.patch.object(sim.bucket, "failing", 0.0):
            findings = verify(SimulatedStore(sim.bucket), folder, None).findings
        if findings:
            return f"{metadata['name']}: {findings[0]}"
    return ""


def every_result_is_in_the_chain(sim: Simulation) -> str:
    """The chain over all runs of a namespace is unbroken, and has every run that has a result."""
    with mock.patch.object(sim.bucket, "failing", 0.0):
        records = list(ledger.read(chain_text(SimulatedStore(sim.bucket, f"ledger/{NAMESPACE}/"))))
    if broken := [record for record in records if record.problem]:
        return f"line {broken[0].number}: {broken[0].problem}"
    known = {(record.entry["run"]["uid"], record.entry["sumsSha256"]) for record in records}
    for run in sim.server.all("benchmarkruns"):
        result = (run.get("status") or {}).get("result")
        if result and (run["metadata"]["uid"], result["sha256"]) not in known:
            return f"{run['metadata']['name']} is missing among {len(known)} runs"
    return ""


def the_log_is_complete(sim: Simulation) -> str:
    """What is stored of a measured attempt is every MLPerf line that rank 0 printed, once and in order.

    If the clock of its node was set back while its log could not be read, some lines may be found later. The last lines
    may be lost, and the record says so, if the store took nothing until the process that had read them died.
    """
    for run in sim.server.all("benchmarkruns"):
        status, metadata = run.get("status") or {}, run["metadata"]
        for attempt in status.get("attempts", ()) if status.get("result") else ():
            id_ = (attempt["index"], attempt.get("try", 0))
            one = next((t for t in sim.truth.of_run(metadata["uid"]) if t.id == id_), None)
            if one is None or attempt["state"] not in ("Converged", "Measured") or one.rotated:
                continue
            # two pods, if the queue took the machines while the program ended, and gave others for what was done
            rank0 = [c.printed for c in sim.truth.containers(one) if c.index == 0]
            printed = [[text for _, key, text in lines if key] for lines in rank0]
            folder = status["result"]["uri"].removeprefix("s3://results/")
            stored = sim.bucket.objects[f"{folder}/attempts/{one.attempt:03}/result.txt"].decode().splitlines()
            clock_was_set = any(c.node.steps for c in sim.truth.containers(one) if c.index == 0)
            if attempt["state"] == "Measured":  # its program went on until its Job was deleted
                printed = [lines[: len(stored)] for lines in printed]
            if _may_be_cut(sim) and _says_cut(sim, f"{folder}/attempts/{one.attempt:03}/attempt.json"):
                printed = [lines[: len(stored)] for lines in printed]
            if stored not in printed and not (clock_was_set and sorted(stored) in map(sorted, printed)):
                return f"{one.name}: {len(stored)} lines are stored, {list(map(len, printed))} were printed"
    return ""


def _may_be_cut(sim: Simulation) -> bool:
    """Return whether a process died in a world whose store was in trouble."""
    return sim.deaths > 0 and any(fault.kind.startswith("store") for fault in sim.plan.faults)


def _says_cut(sim: Simulation, key: str) -> bool:
    return any("the end of rank 0's log is lost" in text for text in json.loads(sim.bucket.objects[key])["findings"])


def every_sweep_ends(sim: Simulation) -> str:
    """Every sweep is complete once what hindered it is repaired: it names somebody's run that is in its way. It fails only
    if its template is edited."""
    edited = sim.world.faults["sweep's template edited"]
    for sweep in sim.server.all(SWEEP_PLURAL):
        if not (is_complete(sweep) or (edited and is_terminal(sweep.get("status") or {}))):
            return f"{sweep['metadata']['name']} has not ended: {sweep_summary(sweep.get('status') or {})}"
    return ""


def the_sweep_equals_its_result(sim: Simulation) -> str:
    """What is stored of a complete sweep says what its status says."""
    problems = (unlike_its_result(sim, sweep) for sweep in sim.server.all(SWEEP_PLURAL) if is_complete(sweep))
    return next(filter(None, problems), "")


def no_run_outlives_its_sweep(sim: Simulation) -> str:
    """Nothing is left of a sweep that is deleted: its runs go, and what ran of them ends."""
    existing = {sweep["metadata"]["uid"] for sweep in sim.server.all(SWEEP_PLURAL)}
    runs = [run for run in sim.server.all("benchmarkruns") if sweep_of(run)]
    left = [run["metadata"]["name"] for run in runs if sweep_of(run) not in existing]
    return f"{left} of {len(runs)} runs are left" if left else ""


def nothing_grows(sim: Simulation) -> str:
    """A quiet operator holds only what exists: states, open logs, timers and tasks."""
    controller, process = sim.leader.controller, sim.leader.process
    if controller is None or not process.alive:
        return "no operator leads"
    existing = {run["metadata"]["uid"] for run in sim.server.all("benchmarkruns")}
    if extra := set(controller.states) - existing:
        return f"{len(extra)} states of runs that are gone"
    if logs := [id_ for state in controller.states.values() for id_ in state.logs.open]:
        return f"open logs: {logs}"
    if (tasks := sum(not task.done() for task in asyncio.all_tasks(process))) > _MOST_TASKS:
        return f"{tasks} tasks"
    if len(controller.queue) or len(controller.queue._timers) > 2 * len(existing) + _MOST_VOID_TIMERS:
        return f"{len(controller.queue)} queued, {len(controller.queue._timers)} timers for {len(existing)} runs"
    return _sweeps_grow(sim)


def _sweeps_grow(sim: Simulation) -> str:
    sweeps = sim.leader.process.sweeps
    if sweeps is None:
        return ""
    existing = {sweep["metadata"]["uid"] for sweep in sim.server.all(SWEEP_PLURAL)}
    if extra := (set(sweeps._places) | set(sweeps._generations)) - existing:
        return f"{len(extra)} sweeps are remembered that are gone"
    if len(sweeps.queue) or len(sweeps.queue._timers) > 2 * len(existing) + _MOST_VOID_TIMERS:
        return f"{len(sweeps.queue)} sweeps are queued, with {len(sweeps.queue._timers)} timers"
    return ""


FINAL = (
    every_run_ends,
    every_run_is_tried,
    nothing_runs_after_the_end,
    no_attempt_is_lost,
    the_result_equals_the_status,
    the_ledger_is_complete,
    every_result_is_in_the_chain,
    the_log_is_complete,
    every_sweep_ends,
    the_sweep_equals_its_result,
    no_run_outlives_its_sweep,
    nothing_grows,
)
