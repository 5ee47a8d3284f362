"""What must hold whenever something happens, whatever fails. Each guarantee is a method with a docstring."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from podium.api import duration_seconds
from tests.simulation.apiserver import Change, Object
from tests.simulation.nodes import Container
from tests.simulation.permissions import allowed, asked
from tests.simulation.replicas import LEASE
from tests.simulation.scenario import NAMESPACE
from tests.simulation.statuses import is_terminal, summary
from tests.simulation.stores import mlperf_lines
from tests.simulation.truth import FREE, Try
from tests.simulation.verdicts import OWN_EXIT, SLACK_SECONDS, Case, wrong

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

_UNFINISHED = ("Pending", "Initializing", "Training")
_NAMED_SECONDS = 40.0  # from the first pod that is refused until the status must say why
_MOST_REQUESTS, _STORM_SECONDS = 60, 20.0  # of one kind for one object


class Watchdog:
    """Checks what can be checked when it happens."""

    def __init__(self, sim: Simulation) -> None:
        self.sim, self.world, self.truth, self.server = sim, sim.world, sim.truth, sim.server
        self.ended: dict[str, float] = {}  # by run: when its status became terminal
        self._lines: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by run folder: lines in the objects of now
        self._status: dict[str, Object] = {}  # by run, as last written
        self._run: dict[str, Object] = {}
        self._refused: dict[str, float] = {}  # by Job: when a pod of it was last refused
        self._requests: defaultdict[tuple[str, str, str], deque[float]] = defaultdict(deque)
        sim.server.listeners["benchmarkruns"].append(self._run_changed)
        sim.server.listeners["jobs"].append(self._job_changed)
        sim.server.listeners["events"].append(self._event_posted)
        sim.cluster.on_start.append(self.terminal_means_terminal)
        sim.bucket.changed.append(self.no_stored_line_is_lost)
        sim.bucket.changed.append(self.no_ledger_changes)

    def breaks(self, check: Callable[..., object], case: str) -> None:
        self.world.breaks(check.__name__, case)

    def requested(self, process: str, verb: str, path: str) -> None:
        """Called for each request of an operator."""
        self.nothing_storms(process, verb, path)
        self.asks_for_what_it_may(process, verb, path)
        if verb != "GET" and "/leases" not in path:
            self.only_the_leader_writes(process, verb, path)

    def only_the_leader_writes(self, process: str, verb: str, path: str) -> None:
        """An operator that stood still, and whose Lease another one has taken meanwhile, sends no write anymore."""
        namespace, _, name = LEASE.partition("/")
        lease = self.server.find("leases", namespace, name)
        holder = lease and lease.get("spec", {}).get("holderIdentity")
        if holder and holder != process:
            self.breaks(self.only_the_leader_writes, f"{process} sends {verb} {path} while {holder} leads")

    def nothing_storms(self, process: str, verb: str, path: str) -> None:
        """An operator never sends more than a few requests a second for a handful of runs, whatever fails."""
        times = self._requests[process, verb, path.partition("?")[0]]
        times.append(self.world.now)
        if len(times) > _MOST_REQUESTS and times.popleft() > self.world.now - _STORM_SECONDS:
            what = f"{verb} {path[:100]} more than {_MOST_REQUESTS} times in {_STORM_SECONDS:.0f} s"
            self.breaks(self.nothing_storms, f"{process}: {what}")

    def asks_for_what_it_may(self, process: str, verb: str, path: str) -> None:
        """An operator sends no request that the chart's rules do not allow its account."""
        if (pair := asked(verb, path)) and pair not in allowed():
            self.breaks(self.asks_for_what_it_may, f"{process}: {verb} {path[:100]}: the chart allows no {pair[1]}")

    # ---- Jobs ----

    def operator_writes(self, verb: str, plural: str, request: Object) -> None:
        """Called before each write of an operator."""
        if verb == "DELETE" and plural == "jobs":
            job = self.server.find("jobs", request["namespace"], request["name"])
            uid = request["body"].get("preconditions", {}).get("uid")
            if job and uid in (None, job["metadata"]["uid"]) and job["metadata"]["uid"] in self.truth.tries:
                one = self.truth.tries[job["metadata"]["uid"]]
                self.no_healthy_attempt_is_ended(one, job)
                self.evidence_first(one)

    def _job_changed(self, change: Change) -> None:
        if change.type == "ADDED" and not change.object["metadata"]["name"].startswith("stranger"):
            run_uid = change.object["metadata"]["labels"]["podium.dev/run-uid"]
            one = self.truth.created(change.object, self._run.get(run_uid, {"spec": {}})["spec"])
            if self._run.get(one.run_uid, {"spec": {}})["spec"].get("suspend"):
                one.disturbed.add("suspended")  # the operator did not know it yet
            self.one_job_per_try(one)
            self.attempts_take_turns(one)
            self.nothing_is_repeated_silently(one)
            self.terminal_means_no_new_job(one)

    def no_healthy_attempt_is_ended(self, one: Try, job: Object) -> None:
        """The operator never deletes the Job of an attempt that would have reached run_stop, or the end of spec.measure,
        within its deadlines."""
        run = self._run.get(one.run_uid)
        if run is None or not (self.truth.undisturbed(one) and one.program.measures):
            return
        containers, nodes = self.truth.containers(one), run["spec"]["system"]["nodes"]
        if one.rotated_unsaved or self.truth.over(one):
            return
        admitted = (job.get("status") or {}).get("startTime")
        waited = self.world.wall - datetime.fromisoformat(admitted).timestamp() if admitted else 0.0
        left = duration_seconds(run["spec"]["deadlines"]["pending"]) - waited
        if left < SLACK_SECONDS and sum((c.started or math.inf) < self.world.now + left for c in containers) < nodes:
            return  # they were not all running when that was due
        self.breaks(self.no_healthy_attempt_is_ended, f"Job {one.name} ({one.program.kind}) is deleted")

    def evidence_first(self, one: Try) -> None:
        """A Job is deleted only after its try is finished and, unless it never ran, stored according to the status on the
        API server."""
        if one.run_uid in self.truth.deleted_runs:
            return
        recorded = self._recorded(one)
        ran = any(c.started is not None and not c.cut_off for c in self.truth.containers(one))  # and was seen to
        if recorded is None or recorded["state"] in _UNFINISHED or not (recorded.get("stored") or not ran):
            self.breaks(self.evidence_first, f"Job {one.name} is deleted; the status says {recorded}")

    def one_job_per_try(self, one: Try) -> None:
        """A try has exactly one Job, ever, except where somebody deletes it before any status has named it."""
        recorded = self._recorded(one)
        for other in self.truth.of_run(one.run_uid):
            if other.id == one.id and other is not one and recorded is None and "job deleted" in other.disturbed:
                other.forgotten = True
        if sum(other.id == one.id for other in self.truth.of_run(one.run_uid)) > 1:
            self.breaks(self.one_job_per_try, f"Job {one.name} is created a second time")

    def attempts_take_turns(self, one: Try) -> None:
        """No more attempts of a run hold machines than `spec.parallelAttempts` allows: the next Job is created once every
        pod of the one before has ended, or is being deleted."""
        holding = {other.name for other in self.truth.of_run(one.run_uid) if other is not one and self._holds(other)}
        allowed = self._run.get(one.run_uid, {"spec": {}})["spec"].get("parallelAttempts", 1)
        if len(holding) >= allowed:
            self.breaks(self.attempts_take_turns, f"{one.name} is created while {sorted(holding)} hold machines")

    def _holds(self, one: Try) -> bool:
        """Return whether a Job has pods that have not ended, which nobody is about to delete."""
        job = self.server.find("jobs", NAMESPACE, one.name)
        if job is None or job["metadata"]["uid"] != one.job_uid or "deletionTimestamp" in job["metadata"]:
            return False
        pods = self.server.owned_by("pods", one.job_uid)
        alive = (pod for pod in pods if pod["status"]["phase"] in ("Pending", "Running"))
        return any("deletionTimestamp" not in pod["metadata"] for pod in alive)

    def nothing_is_repeated_silently(self, one: Try) -> None:
        """An attempt that was measured, or whose program failed by itself, is never made again; retries are counted.

        Whether a log was lost for good, `verdicts_are_true` checks.
        """
        run = self._run.get(one.run_uid) or {"spec": {"maxRetries": 99}}
        listed = (run.get("status") or {}).get("attempts", ())
        lost = {(a["index"], a.get("try", 0)) for a in listed if a.get("reason") == "LogLost"}
        earlier = [t for t in self.truth.of_run(one.run_uid) if t.attempt == one.attempt and t.number < one.number]
        for other in earlier:
            decided = other.number == one.number - 1 and self.truth.undisturbed(other) and not other.rotated
            decided = decided and other.id not in lost
            if decided and self.truth.over(other):
                self.breaks(self.nothing_is_repeated_silently, f"{one.name} although {other.name} was measured")
        counted = [t for t in earlier if not t.disturbed & FREE]
        retries = run["spec"].get("maxRetries", 2)
        if len(counted) > retries:
            self.breaks(self.nothing_is_repeated_silently, f"{one.name} is one retry too many ({retries} allowed)")

    # ---- what a run waits for ----

    def _event_posted(self, change: Change) -> None:
        event, now = change.object, self.world.now
        job_uid = event["involvedObject"]["uid"]
        if event.get("reason") == "FailedCreate" and job_uid in self.truth.tries:
            self._refused[job_uid] = now
            leader, faults = self.sim.leader, self._disturbances()
            self.world.after(
                _NAMED_SECONDS,
                lambda: (
                    self.a_wait_names_its_cause(self.truth.tries[job_uid], event["message"])
                    if self.sim.leader is leader and faults is not None and faults == self._disturbances()
                    else None
                ),
            )

    def _disturbances(self) -> int | None:
        """Return a number that changes with every fault that may keep the operator from knowing; None during one."""
        if not self.sim.network.is_healthy() or self.sim.leader.process.frozen:
            return None
        return sum(count for kind, count in self.world.faults.items() if not kind.startswith("quota"))

    def a_wait_names_its_cause(self, one: Try, message: str) -> None:
        """A run whose pods are refused says so, in the words of the refusal."""
        run, job = self._run.get(one.run_uid), self.server.find("jobs", NAMESPACE, one.name)
        still = self.world.now - self._refused[one.job_uid] < 15.0
        pods = len(self.server.owned_by("pods", one.job_uid))
        if (
            run is None
            or job is None
            or "deletionTimestamp" in run["metadata"]
            or not still
            or self._recorded(one) is None
            or pods >= run["spec"]["system"]["nodes"]  # they have just been admitted
        ):
            return
        said = f"{summary(self._status[one.run_uid])} {(self._recorded(one) or {}).get('message', '')}"
        if message.rpartition(": ")[2] not in said:
            self.breaks(self.a_wait_names_its_cause, f"{one.name}: its pods are refused ({message}); it says {said}")

    # ---- the end of a run ----

    def terminal_means_no_new_job(self, one: Try) -> None:
        """No Job is created for a run that has ended or is being deleted, unless that happened while the operator stood
        still: it wakes in the middle of what it was doing."""
        run = self._run.get(one.run_uid)
        waking = self.world.now < self.sim.leader.process.thawed + 1
        deleting = run is not None and "deletionTimestamp" in run["metadata"] and not waking
        if one.run_uid in self.ended or deleting:
            self.breaks(self.terminal_means_no_new_job, f"Job {one.name} is created after the end of its run")

    def terminal_means_terminal(self, container: Container) -> None:
        """After the end of a run, no container of it starts."""
        ended = self.ended.get(container.run_uid)
        if ended is not None and self.world.now > ended + 40:  # a pod may be starting while its Job is being deleted
            self.breaks(self.terminal_means_terminal, f"pod {container.place[1]} starts after the end of its run")

    # ---- status ----

    def _run_changed(self, change: Change) -> None:
        run, uid = change.object, change.object["metadata"]["uid"]
        if change.type == "DELETED" or "deletionTimestamp" in run["metadata"]:
            self.truth.deleted_runs.add(uid)
        before, now = self._status.get(uid, {}), run.get("status") or {}
        self._run[uid] = run
        if now is not before and now != before:
            self._status[uid] = now
            self.world.say("status", f"{run['metadata']['name']}: {summary(now)}")
            self.recorded_stays_recorded(run, before, now)
            for attempt in now.get("attempts", ()):
                self._attempt(run, attempt, before)
            self._repeated(run, now)
            if is_terminal(now) and not is_terminal(before):
                self.ended[uid] = self.world.now
                self.no_verdict_without_evidence(run, now)

    def _recorded(self, one: Try) -> Object | None:
        attempts = self._status.get(one.run_uid, {}).get("attempts", ())
        return next((a for a in attempts if (a["index"], a.get("try", 0)) == one.id), None)

    def recorded_stays_recorded(self, run: Object, before: Object, now: Object) -> None:
        """No attempt disappears from a status, a finished try never changes, a try never moves back, and the status of
        an ended run is final."""
        name = run["metadata"]["name"]
        if is_terminal(before):
            self.breaks(self.recorded_stays_recorded, f"the status of {name} changes after its end")
        after = {(a["index"], a.get("try", 0)): a for a in now.get("attempts", ())}
        order = {"Pending": 0, "Initializing": 1, "Training": 2}
        for old in before.get("attempts", ()):
            id_ = (old["index"], old.get("try", 0))
            new = after.get(id_)
            if new is None:
                self.breaks(self.recorded_stays_recorded, f"{name} attempt {id_} disappears")
            elif old["state"] not in order and (old["state"], old.get("reason")) != (new["state"], new.get("reason")):
                self.breaks(self.recorded_stays_recorded, f"{name} {id_}: {old['state']} becomes {new['state']}")
            elif order.get(new["state"], 9) < order.get(old["state"], -1):
                suspended = self._queued_again(run, id_)
                if not suspended:
                    self.breaks(self.recorded_stays_recorded, f"{name} {id_}: {old['state']} becomes {new['state']}")

    def _queued_again(self, run: Object, id_: tuple[int, int]) -> bool:
        tries = [t for t in self.truth.of_run(run["metadata"]["uid"]) if t.id == id_]
        return any("queue preempts" in t.disturbed for t in tries)

    def _attempt(self, run: Object, attempt: Object, before: Object) -> None:
        uid, id_ = run["metadata"]["uid"], (attempt["index"], attempt.get("try", 0))
        one = next((t for t in self.truth.of_run(uid) if t.id == id_), None)
        if one is None:
            self.breaks(self.no_attempt_is_invented, f"{run['metadata']['name']} {id_} never had a Job")
            return
        old = next((a for a in before.get("attempts", ()) if (a["index"], a.get("try", 0)) == id_), None)
        if attempt["state"] not in _UNFINISHED and (old is None or old["state"] != attempt["state"]):
            self.verdicts_are_true(one, attempt, run)
        if attempt.get("stored") and not (old or {}).get("stored"):
            self.stored_means_stored(one, attempt, run)

    def _repeated(self, run: Object, status: Object) -> None:
        """No try follows one whose own program ended it."""
        by_id = {(a["index"], a.get("try", 0)): a for a in status.get("attempts", ())}
        for (index, number), attempt in by_id.items():
            if attempt.get("reason") in OWN_EXIT and (index, number + 1) in by_id:
                self.breaks(self.nothing_is_repeated_silently, f"{attempt['job']} after {attempt['reason']}")

    def no_verdict_without_evidence(self, run: Object, status: Object) -> None:
        """A run with attempts ends only when each of them, and the result, are in the store."""
        attempts = status.get("attempts", ())
        unstored = [a["job"] for a in attempts if not a.get("stored")]
        if unstored or (attempts and not status.get("result")):
            self.breaks(self.no_verdict_without_evidence, f"{run['metadata']['name']} ends; not stored: {unstored}")

    def no_attempt_is_invented(self) -> None:
        """Every listed try had a Job."""

    def verdicts_are_true(self, one: Try, attempt: Object, run: Object) -> None:
        """A verdict is what really happened: what rank 0 printed, how its program ended, what was taken from it."""
        if untrue := wrong(Case(self.sim, one, attempt, run)):
            said = f"{attempt['state']}/{attempt.get('reason')} ({attempt.get('message')})"
            self.breaks(self.verdicts_are_true, f"{one.name} ({one.program.kind}) is {said}: {untrue}")

    # ---- store ----

    def stored_means_stored(self, one: Try, attempt: Object, run: Object) -> None:
        """A status says that a try is stored only when its record and its log are in the store."""
        folder = f"{run['metadata']['namespace']}/{run['metadata']['name']}-{run['metadata']['uid'][:8]}"
        prefix = f"{folder}/attempts/{one.attempt:03}/"
        keys = {k.removeprefix(prefix) for k in self.sim.bucket.objects if k.startswith(prefix)}
        places = ("", f"tries/{one.number}/")
        if not any({f"{p}attempt.json", f"{p}result.txt"} <= keys for p in places):
            self.breaks(self.stored_means_stored, f"{one.name} is called stored; the store has {sorted(keys)}")

    def no_stored_line_is_lost(self, key: str, before: bytes | None, after: bytes | None) -> None:
        """An MLPerf line that was ever in the store stays in it."""
        if ".log" not in key and "result.txt" not in key:
            return
        lines = self._lines["/".join(key.split("/")[:2])]
        old, new = mlperf_lines(before), mlperf_lines(after)
        lines.update(new)
        lines.subtract(old)
        lost = [line for line in old if lines[line] <= 0]
        if lost:
            self.breaks(self.no_stored_line_is_lost, f"{key} drops {len(lost)} lines, the first: {lost[0][:120]}")

    def no_ledger_changes(self, key: str, before: bytes | None, after: bytes | None) -> None:
        """What was added to a ledger never changes; its parts go only when the closed ledger has them."""
        folder, _, name = key.partition("/ledger")
        of_all_runs = key.startswith("ledger/")
        if not (name or of_all_runs) or before is None:
            return
        if after is not None or of_all_runs:
            self.breaks(self.no_ledger_changes, f"{key} is put again, or removed")
        elif before not in self.sim.bucket.objects.get(f"{folder}/ledger.jsonl", b""):
            self.breaks(self.no_ledger_changes, f"{key} is gone, and the ledger lacks it")


GUARANTEES = (
    Watchdog.no_healthy_attempt_is_ended,
    Watchdog.evidence_first,
    Watchdog.stored_means_stored,
    Watchdog.no_stored_line_is_lost,
    Watchdog.no_ledger_changes,
    Watchdog.no_verdict_without_evidence,
    Watchdog.verdicts_are_true,
    Watchdog.nothing_is_repeated_silently,
    Watchdog.one_job_per_try,
    Watchdog.attempts_take_turns,
    Watchdog.no_attempt_is_invented,
    Watchdog.recorded_stays_recorded,
    Watchdog.terminal_means_no_new_job,
    Watchdog.terminal_means_terminal,
    Watchdog.a_wait_names_its_cause,
    Watchdog.only_the_leader_writes,
    Watchdog.nothing_storms,
    Watchdog.asks_for_what_it_may,
)
