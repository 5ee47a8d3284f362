"""Whether a verdict in a status is what really happened."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from podium.api import duration_seconds
from tests.simulation.apiserver import Object
from tests.simulation.truth import READING, Truth, Try

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

_BEFORE_OR_WITHOUT_A_LOG = ("LogLost", "PendingDeadlineExceeded", "ImagePullFailed")
OWN_EXIT = ("ProgramFailed", "ProgramExited")  # reasons: the program ended itself before, or after, run_start
NOTICED_SECONDS = 1200.0  # from the loss of a node until its try must have ended: the toleration, and patience
SLACK_SECONDS = 100.0  # a stepped clock judges this much too early


@dataclass
class Case:
    """A verdict on one try, and the truth."""

    sim: Simulation
    one: Try
    attempt: Object
    run: Object

    @property
    def truth(self) -> Truth:
        return self.sim.truth

    @property
    def latest(self) -> float:
        """The latest time that an operator can believe it to be, in unix seconds."""
        return self.sim.world.wall + SLACK_SECONDS

    def deadline(self, phase: str) -> int:
        return duration_seconds(self.run["spec"]["deadlines"][phase])

    def waiting(self, until: float = math.inf) -> bool:
        """Return whether not all pods of the try had run before `until` (unix seconds): the status may come later."""
        world = self.sim.world
        starts = [c.started for c in self.truth.containers(self.one) if c.started is not None]
        started = sum(world.wall - world.now + start < until for start in starts)
        return started < int(self.run["spec"]["system"]["nodes"])


def wrong(case: Case) -> str:
    """Return what is wrong with a verdict; "" if it is true."""
    check = _BY_REASON.get(case.attempt.get("reason")) or _BY_STATE.get(case.attempt["state"])
    return (check(case) if check else "") or _without_a_cause(case)


def _converged(case: Case) -> str:
    measured = case.truth.measured(case.one)
    if measured is None:
        return "it never reached the target"
    seconds = float(case.attempt.get("timeToTrainSeconds") or "nan")
    hidden = READING & {fault.kind for fault in case.sim.plan.faults}
    if sum(case.truth.steps(case.one)) and case.truth.steps_can_be_seen(case.one) and not hidden:
        return "the clock of its node was set meanwhile"
    return "" if abs(seconds - measured) < 0.002 else f"it took {measured:.3f} s, not {seconds} s"


def _measured(case: Case) -> str:
    rate = float(case.attempt.get("samplesPerSecond") or "nan")
    stopped = case.truth.printed(case.one, "run_stop") is not None
    found = [each for each, whole in case.truth.rates(case.one) if whole or stopped]
    if any(math.isclose(rate, each, rel_tol=1e-4) for each in found):
        return ""
    return f"its rate was {found}, not {rate}" if found else "it was not measured to the end"


def _rate_unknown(case: Case) -> str:
    known = any(whole for _, whole in case.truth.rates(case.one)) and not case.one.rotated
    return "its rate was measured" if known else ""


def _run_deadline(case: Case) -> str:
    start, stop = case.truth.happened(case.one, "run_start"), case.truth.happened(case.one, "run_stop")
    late = start is not None and case.latest >= start + case.deadline("run")
    if not late or (stop is not None and not case.one.rotated):
        return "its deadline has not passed"
    dead = [c for c in case.truth.containers(case.one) if c.cause == "node lost" and c.ended is not None]
    noticed = any(case.sim.world.now > (c.ended or 0.0) + NOTICED_SECONDS for c in dead)
    return "its node was lost long before" if noticed else ""


def _no_log(case: Case) -> str:
    nothing = case.one.program.kind == "prints nothing" or case.one.rotated_unsaved
    return "" if nothing else "it printed MLPerf lines"


def _job_lost(case: Case) -> str:
    return "" if "job deleted" in case.one.disturbed else "nobody deleted its Job"


def _pending_deadline(case: Case) -> str:
    job = case.sim.server.find("jobs", case.run["metadata"]["namespace"], case.one.name)
    admitted = ((job or {}).get("status") or {}).get("startTime")
    due = datetime.fromisoformat(admitted).timestamp() + case.deadline("pending") if admitted else 0.0
    if case.latest < due:
        return "its pods have not waited for so long"
    return "" if case.waiting(due) or case.waiting() or case.one.unseen else "its pods run"


def _pod_lost(case: Case) -> str:
    return "only its queue took its pods" if case.one.disturbed == {"queue preempts"} else ""


def _suspended(case: Case) -> str:
    return "" if "suspended" in case.one.disturbed else "nobody suspended it"


def _suspended_early(case: Case) -> str:
    start = case.truth.happened(case.one, "run_start")
    running = start is not None and case.latest > start + 2 * SLACK_SECONDS and not case.one.rotated
    return "its clock was running" if running else _suspended(case)


def _log_lost(case: Case) -> str:
    hidden = case.one.rotated or case.truth.hidden(case.one) or not case.truth.undisturbed(case.one)
    # nobody followed it, and the Job controller removed its pod before the next look at it
    missed = any(c.index == 0 and c.removed and not case.truth.followed(c) for c in case.truth.containers(case.one))
    return "" if hidden or missed else "its log could be read"


def _clock_stepped(case: Case) -> str:
    return "" if case.truth.steps(case.one) else "nobody set the clock of its node"


def _invalid(case: Case) -> str:
    fine = case.one.program.kind == "forgets run_stop" or case.one.rotated
    return "" if fine else "it broke no rule"


def _not_converged(case: Case) -> str:
    gave_up = case.one.program.kind in ("aborts", "crashes late", "hangs late") or case.one.rotated
    taken_unseen = case.one.unseen and case.one.disturbed and case.attempt.get("reason") in OWN_EXIT
    return "" if gave_up or taken_unseen else "its program did not give up"


def _without_a_cause(case: Case) -> str:
    """A try that nothing disturbed ends as its program does."""
    if case.attempt["state"] in ("Converged", "Measured") or case.one.rotated or not case.truth.undisturbed(case.one):
        return ""
    if case.one.program.kind.startswith("crashes"):
        return (
            "" if case.attempt.get("reason") in (*OWN_EXIT, *_BEFORE_OR_WITHOUT_A_LOG) else "its program ended itself"
        )
    explained = case.attempt.get("reason") in (*_BEFORE_OR_WITHOUT_A_LOG, "RateUnknown")
    return "nothing disturbed it" if case.one.program.measures and not explained else ""


_BY_REASON = {
    "RunDeadlineExceeded": _run_deadline,
    "NoMLPerfLog": _no_log,
    "NodeClockStepped": _clock_stepped,
    "JobLost": _job_lost,
    "PodLost": _pod_lost,
    "PendingDeadlineExceeded": _pending_deadline,
    "ImagePullFailed": _pending_deadline,  # the same deadline, while images could not be pulled
    "Suspended": _suspended_early,
    "SuspendedInTraining": _suspended,
    "LogLost": _log_lost,
    "RateUnknown": _rate_unknown,
}
_BY_STATE = {"Converged": _converged, "Measured": _measured, "Invalid": _invalid, "NotConverged": _not_converged}
