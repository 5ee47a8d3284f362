"""What must hold whenever a sweep or one of its runs changes. Each guarantee is a method with a docstring."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from podium.api.sweep import SWEEP_PLURAL, BenchmarkSweepSpec
from podium.reconcile.sweep_verdicts import judge
from tests.simulation.apiserver import Change, Object
from tests.simulation.nodes import Container
from tests.simulation.statuses import is_terminal
from tests.simulation.sweeps import is_complete, is_deleted, row_of, sweep_of

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

_BUCKET = "s3://results/"


class SweepWatchdog:
    """Checks what can be checked when it happens."""

    def __init__(self, sim: Simulation) -> None:
        self.sim, self.world, self.server = sim, sim.world, sim.server
        self._sweep: dict[str, Object] = {}  # by uid, as last written; also those that are gone
        self._taken: Counter[tuple[str, str]] = Counter()  # by sweep and row: runs that somebody deleted
        self._run: dict[str, Object] = {}  # by uid
        self._limits: dict[str, str] = {}  # by sweep: what its first run has of the template, which users edit
        sim.server.listeners[SWEEP_PLURAL].append(self._sweep_changed)
        sim.server.listeners["benchmarkruns"].append(self._run_changed)
        sim.cluster.on_start.append(self.a_row_runs_on_its_nodes)
        sim.bucket.changed.append(self.a_stored_sweep_is_whole)

    def breaks(self, check: Callable[..., object], case: str) -> None:
        self.world.breaks(check.__name__, case)

    # ---- runs ----

    def _run_changed(self, change: Change) -> None:
        run, sweep = change.object, self._sweep.get(sweep_of(change.object))
        if sweep is None:
            return
        self._run[run["metadata"]["uid"]] = run
        if change.type == "DELETED":
            self._taken[sweep["metadata"]["uid"], row_of(run)[0]] += 1
        elif change.type == "ADDED":
            self.world.say("sweep", f"{run['metadata']['name']} is run {row_of(run)[1]} of {row_of(run)[0]}")
            self.no_run_of_a_sweep_is_doubled(sweep, run)
            self.no_more_runs_than_parallel(sweep, run)
            self.a_sweep_that_has_ended_makes_no_run(sweep, run)
            self.runs_are_made_of_one_template(sweep, run)

    def runs_of(self, sweep: Object) -> list[Object]:
        """Return the runs of a sweep that exist."""
        return [run for run in self.server.all("benchmarkruns") if sweep_of(run) == sweep["metadata"]["uid"]]

    def no_run_of_a_sweep_is_doubled(self, sweep: Object, run: Object) -> None:
        """A row has one run at a time, numbered in turn, and no more than `maxRuns`, but for those that somebody deletes."""
        (row, number), verdict = row_of(run), sweep["spec"]["verdict"]
        others = [one for one in self.runs_of(sweep) if one is not run and row_of(one)[0] == row]
        name = run["metadata"]["name"]
        if unfinished := [one["metadata"]["name"] for one in others if not _ended(one)]:
            self.breaks(self.no_run_of_a_sweep_is_doubled, f"{name} ({row}) is created while {unfinished} go on")
        if number in [row_of(one)[1] for one in others] or len(others) >= verdict["maxRuns"]:
            self.breaks(self.no_run_of_a_sweep_is_doubled, f"{name} ({row}) is created beside {len(others)} others")
        if number > len(others) + 1 + self._taken[sweep["metadata"]["uid"], row]:
            self.breaks(self.no_run_of_a_sweep_is_doubled, f"{name} is number {number} of {row}, after {len(others)}")

    def no_more_runs_than_parallel(self, sweep: Object, run: Object) -> None:
        """A sweep has no more runs at the same time than `spec.parallel`."""
        going_on = [one["metadata"]["name"] for one in self.runs_of(sweep) if not _ended(one)]
        if len(going_on) > sweep["spec"]["parallel"]:
            self.breaks(self.no_more_runs_than_parallel, f"{going_on} go on; parallel is {sweep['spec']['parallel']}")

    def a_sweep_that_has_ended_makes_no_run(self, sweep: Object, run: Object) -> None:
        """No run is created for a sweep that is complete."""
        if is_complete(sweep):
            self.breaks(self.a_sweep_that_has_ended_makes_no_run, f"{run['metadata']['name']} is created after the end")

    def runs_are_made_of_one_template(self, sweep: Object, run: Object) -> None:
        """All runs of a sweep are made of one template. While another one is in its spec, it makes none."""
        limit = run["spec"]["deadlines"]["init"]
        first = self._limits.setdefault(sweep["metadata"]["uid"], limit)
        if limit != first:
            self.breaks(self.runs_are_made_of_one_template, f"{run['metadata']['name']} has {limit}, others {first}")

    def a_row_runs_on_its_nodes(self, container: Container) -> None:
        """What measures a row of nodes runs on these nodes."""
        run = self._run.get(container.run_uid)
        sweep = self._sweep.get(sweep_of(run)) if run else None
        if run is None or sweep is None:
            return
        rows = {row["name"]: row for row in (sweep.get("status") or {}).get("rows", ())}
        # a run is created before the first status that has its row
        nodes = rows.get(row_of(run)[0], {}).get("nodes")
        if nodes and container.node.name not in nodes:
            self.breaks(
                self.a_row_runs_on_its_nodes, f"{container.place[1]} runs on {container.node.name}, not {nodes}"
            )

    # ---- status ----

    def _sweep_changed(self, change: Change) -> None:
        sweep = change.object
        before = self._sweep.get(sweep["metadata"]["uid"], {}).get("status") or {}
        now = sweep.get("status") or {}
        self._sweep[sweep["metadata"]["uid"]] = sweep
        if now == before:
            return
        self.world.say("sweep", f"{sweep['metadata']['name']}: {sweep_summary(now)}")
        self.a_row_of_a_sweep_stays(before, now)
        if is_complete({"status": before}):
            self.breaks(self.a_complete_sweep_stays, f"its status changes after its end: {sweep_summary(now)}")
        elif is_complete(sweep):
            self.a_complete_sweep_stays(sweep)

    def a_row_of_a_sweep_stays(self, before: Object, now: Object) -> None:
        """No row disappears from the status of a sweep, nor does the order of its rows change."""
        old, new = ([row["name"] for row in status.get("rows", ())] for status in (before, now))
        if new[: len(old)] != old:
            self.breaks(self.a_row_of_a_sweep_stays, f"{old} becomes {new}")

    def a_complete_sweep_stays(self, sweep: Object) -> None:
        """A sweep is called complete only when its result is in the store; the two agree, and neither changes afterwards."""
        if problem := unlike_its_result(self.sim, sweep):
            self.breaks(self.a_complete_sweep_stays, problem)

    # ---- store ----

    def a_stored_sweep_is_whole(self, key: str, before: bytes | None, after: bytes | None) -> None:
        """The result of a sweep is stored once, when all of its runs have ended, with each of them and its rates."""
        if not key.endswith("/sweep.json"):
            return
        if before is not None or after is None:
            self.breaks(self.a_stored_sweep_is_whole, f"{key} is put again, or removed")
            return
        document = json.loads(after)
        sweep = self._sweep[document["sweep"]["uid"]]
        stored = {run["uid"]: run for run in document["runs"]}
        for uid, run in stored.items():
            known = self._run.get(uid)
            if known is None or not _ended(known):
                self.breaks(self.a_stored_sweep_is_whole, f"{key} has {run['name']}, which has not ended")
            elif run["rates"] != (rates := _rates(known)):
                self.breaks(self.a_stored_sweep_is_whole, f"{run['name']} measured {rates}; {key} has {run['rates']}")
        if lost := [run["metadata"]["name"] for run in self.runs_of(sweep) if run["metadata"]["uid"] not in stored]:
            self.breaks(self.a_stored_sweep_is_whole, f"{key} lacks {lost}")
        self.verdicts_of_rows_follow(document)

    def verdicts_of_rows_follow(self, document: Object) -> None:
        """The verdict on each row of a sweep that ends is the one that follows from the rates of its runs, and the reason
        of one that failed is that of a run or of its nodes."""
        runs = {row["name"]: [run for run in document["runs"] if run["row"] == row["name"]] for row in document["rows"]}
        rates = {name: [rate for run in made for rate in run["rates"]] for name, made in runs.items()}
        spec = BenchmarkSweepSpec.model_validate(document["spec"])
        judged = judge(spec, rates, {name: len(made) for name, made in runs.items()}).rows
        for row in document["rows"]:
            made, found = runs[row["name"]], judged.get(row["name"])
            failed = not made or any(run["failure"] for run in made)
            expected = (
                "Failed" if failed else found and found.verdict,
                found and f"{found.rate:.6g}",
                f"{found.deviation:.4f}" if found and found.deviation is not None else None,
            )
            said = (row["verdict"], row.get("rate"), row.get("deviation"))
            if said != expected or (failed and not row.get("reason")):
                self.breaks(self.verdicts_of_rows_follow, f"{row['name']} is {said}; {expected} follows from {rates}")


def unlike_its_result(sim: Simulation, sweep: Object) -> str:
    """Return how the status of a sweep that has ended and its stored result differ; "" if they agree."""
    status, name = sweep["status"], sweep["metadata"]["name"]
    result = status.get("result")
    if result is None:
        return f"{name} has ended without a result: {sweep_summary(status)}"
    content = sim.bucket.objects.get(result["uri"].removeprefix(_BUCKET))
    if content is None or hashlib.sha256(content).hexdigest() != result["sha256"]:
        return f"{name}: {result['uri']} is not what the status says"
    document = json.loads(content)
    parts = ("rows", "counts", "worst")
    if differing := [part for part in parts if document.get(part) != status.get(part)]:
        return f"{name}: {differing} differ: {[(document.get(part), status.get(part)) for part in differing]}"
    return ""


def sweep_summary(status: Object) -> str:
    rows = " ".join(f"{row['name']}={row['verdict']}:{len(row.get('runs', ()))}" for row in status.get("rows", ()))
    said = next((c for c in status.get("conditions", ()) if c["type"] == "Complete"), {})
    return f"[{rows}] {said.get('status')} {said.get('reason')} {said.get('message')}"


def _ended(run: Object) -> bool:
    return is_deleted(run) or is_terminal(run.get("status") or {})


def _rates(run: Object) -> list[float]:
    """Return what a run has measured, in the order of its attempts: samples per second, or trainings per hour."""
    found = []
    for attempt in (run.get("status") or {}).get("attempts", ()):
        if attempt["state"] == "Measured":
            found.append(float(attempt["samplesPerSecond"]))
        elif attempt["state"] == "Converged":
            found.append(float(attempt.get("samplesPerSecond") or 3600 / float(attempt["timeToTrainSeconds"])))
    return found


SWEEP_GUARANTEES = (
    SweepWatchdog.no_run_of_a_sweep_is_doubled,
    SweepWatchdog.no_more_runs_than_parallel,
    SweepWatchdog.a_sweep_that_has_ended_makes_no_run,
    SweepWatchdog.runs_are_made_of_one_template,
    SweepWatchdog.a_row_runs_on_its_nodes,
    SweepWatchdog.a_row_of_a_sweep_stays,
    SweepWatchdog.a_complete_sweep_stays,
    SweepWatchdog.a_stored_sweep_is_whole,
    SweepWatchdog.verdicts_of_rows_follow,
)
