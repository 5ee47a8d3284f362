"""What must hold of forecasts, and of runs that stop because they are hopeless. Each guarantee is a method with a
docstring.

The true forecast is the one that follows from what rank 0 printed.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from podium.scoring import HOPELESS, Forecast, forecast
from tests.simulation.apiserver import Change, Object
from tests.simulation.closed import BATCH_SIZE, BENCHMARK, ROUND
from tests.simulation.replicas import rounds
from tests.simulation.statuses import is_terminal
from tests.simulation.truth import Try

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

_EPOCH = re.compile(r'"epoch_num": (\d+)')
_JUDGED = ("Converged", "NotConverged", "Invalid")  # attempts that count in a forecast
_MOST_WRITES, _WRITES_SECONDS = 12, 60.0  # of the status of one run


class ForecastWatchdog:
    """Compares forecasts with the truth whenever a run changes, and counts how often its status is written."""

    def __init__(self, sim: Simulation) -> None:
        self.world, self.truth = sim.world, sim.truth
        self._runs: dict[str, Object] = {}  # by uid, as last written
        self._writes: defaultdict[str, deque[float]] = defaultdict(deque)
        sim.server.listeners["benchmarkruns"].append(self._run_changed)

    def _breaks(self, check: Callable[..., object], case: str) -> None:
        self.world.breaks(check.__name__, case)

    def _run_changed(self, change: Change) -> None:
        run, uid = change.object, change.object["metadata"]["uid"]
        before, now = (self._runs.get(uid) or {}).get("status") or {}, run.get("status") or {}
        self._runs[uid] = run
        if now == before:
            return
        self.a_status_is_written_seldom(run)
        self.forecasts_are_true(run)
        self.a_hopeless_run_makes_no_more_attempts(run, before)
        if is_terminal(now) and not is_terminal(before):
            self.no_hope_is_given_up_early(run)

    def a_status_is_written_seldom(self, run: Object) -> None:
        """The status of a run is written no more than 12 times a minute, whatever happens to it."""
        times = self._writes[run["metadata"]["uid"]]
        times.append(self.world.now)
        if len(times) > _MOST_WRITES and times.popleft() > self.world.now - _WRITES_SECONDS:
            case = f"that of {run['metadata']['name']}: more than {_MOST_WRITES} times in {_WRITES_SECONDS:.0f} s"
            self._breaks(self.a_status_is_written_seldom, case)

    def forecasts_are_true(self, run: Object) -> None:
        """The forecast in a status is the one that follows from the logs of the attempts that it lists, and is there
        from the first attempt on that converged."""
        true, found = self._true_forecast(run), run["status"].get("forecast")
        if true is None or self._unreadable(run):
            return
        said = None if found is None else (found["attempts"], found["message"])
        if said != (true.made, true.text):
            self._breaks(self.forecasts_are_true, f"{run['metadata']['name']}: {said}, not {true.made, true.text}")

    def no_hope_is_given_up_early(self, run: Object) -> None:
        """A run is ended as hopeless only if its spec says so, its forecast is below the limit, and attempts are left
        that it need not make: none of them is ended for it."""
        status, spec, name = run["status"], run["spec"], run["metadata"]["name"]
        if not any(c.get("reason") == "StoppedAsHopeless" and c["status"] == "True" for c in status["conditions"]):
            return
        self.world.fault("stopped as hopeless", name)
        true = self._true_forecast(run)
        made = {attempt["index"] for attempt in status["attempts"]}
        cut = _in_progress(run)
        if not spec.get("stopWhenHopeless") or true is None or true.probability >= HOPELESS:
            self._breaks(self.no_hope_is_given_up_early, f"{name}: the true forecast is {true}")
        elif cut or len(made) >= spec["attempts"]:
            self._breaks(self.no_hope_is_given_up_early, f"{name}: after {len(made)} attempts; {cut} had not ended")

    def a_hopeless_run_makes_no_more_attempts(self, run: Object, before: Object) -> None:
        """A run with spec.stopWhenHopeless begins no try once the attempts that have ended leave no hope. One that is in
        progress, beside others, may bring it back."""
        spec, known = run["spec"], {attempt["job"] for attempt in before.get("attempts", ())}
        begun = [job for job in _in_progress(run) if job not in known]
        if not begun or not spec.get("stopWhenHopeless") or spec.get("parallelAttempts", 1) > 1:
            return
        true = self._true_forecast(run)
        if true and true.probability < HOPELESS and not self._unreadable(run):
            self._breaks(self.a_hopeless_run_makes_no_more_attempts, f"{begun} although it is {true.text}")

    def _true_forecast(self, run: Object) -> Forecast | None:
        """Return the forecast from the logs of the attempts that count, according to the status of a run."""
        if run["spec"].get("division") != "closed":
            return None
        counts = [self._epochs(run, attempt) for attempt in _last_tries(run) if attempt["state"] in _JUDGED]
        rules, wanted = rounds()[ROUND].benchmarks[BENCHMARK], run["spec"]["attempts"]
        return forecast(ROUND, BENCHMARK, rules, BATCH_SIZE, counts, wanted=wanted) if any(counts) else None

    def _epochs(self, run: Object, attempt: Object) -> float | None:
        """Return the epochs of an attempt that converged."""
        if attempt["state"] != "Converged" or (one := self._try(run, attempt)) is None:
            return None
        printed = [c.printed for c in self.truth.containers(one) if c.index == 0]
        whole = next((lines for lines in printed if any(key == "run_stop" for _, key, _ in lines)), ())
        found = [_EPOCH.search(text) for _, key, text in whole if key == "eval_accuracy"]
        return float(found[-1][1]) if found and found[-1] else None

    def _unreadable(self, run: Object) -> bool:
        """Return whether the log of an attempt that counts may lack the lines that a forecast rests on."""
        tries = [self._try(run, attempt) for attempt in _last_tries(run)]
        return any(one is None or one.rotated for one in tries)

    def _try(self, run: Object, attempt: Object) -> Try | None:
        id_ = attempt["index"], attempt.get("try", 0)
        return next((one for one in self.truth.of_run(run["metadata"]["uid"]) if one.id == id_), None)


def _in_progress(run: Object) -> list[str]:
    """Return the Jobs of the tries in a status that have not ended."""
    return [a["job"] for a in run["status"].get("attempts", ()) if a["state"] not in (*_JUDGED, "Failed")]


def _last_tries(run: Object) -> list[Object]:
    """Return the last try of each attempt in a status."""
    last = {attempt["index"]: attempt for attempt in sorted(run["status"].get("attempts", ()), key=_number)}
    return list(last.values())


def _number(attempt: Object) -> int:
    number: int = attempt.get("try", 0)
    return number


FORECASTS = (
    ForecastWatchdog.forecasts_are_true,
    ForecastWatchdog.no_hope_is_given_up_early,
    ForecastWatchdog.a_hopeless_run_makes_no_more_attempts,
    ForecastWatchdog.a_status_is_written_seldom,
)
