"""What really happened, which the operator can only observe: the invariants compare the two."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from podium.api import duration_seconds
from tests.simulation.apiserver import Object
from tests.simulation.closed import compared
from tests.simulation.nodes import Cluster, Container
from tests.simulation.programs import Program, choose
from tests.simulation.scenario import Fault
from tests.simulation.world import World

_TIME = re.compile(r'"time_ms": (\d+)')
_SAMPLES = re.compile(r'"samples_count": (\d+)')
FREE = frozenset({"queue preempts", "preempted", "suspended"})  # disturbances that use up no retry
# Faults during which perhaps no log can be read, so that nobody knows anymore what was printed, or when
READING = frozenset({
    "kill", "kill at a step", "kill at a sweep's write", "freeze", "freeze at a step", "upgrade", "operator down", "api down", "api errors",
    "answers lost", "api slow", "kubelet unreachable", "log half-open", "log unreadable", "log cut", "log rotated",
    "node lost", "node without power", "node removed",
})  # fmt: skip
_SAVED_SECONDS = 75.0  # after its first lines, a log must be in the store: of undisturbed time,
_RECOVERY_SECONDS = 150.0  # which begins this long after a fault has ended: a dead watch is noticed by its silence


@dataclass
class Try:
    """One Job that was created, and everything that is true of it."""

    job_uid: str
    run_uid: str
    name: str
    attempt: int
    number: int
    created: float  # virtual seconds
    program: Program
    disturbed: set[str] = field(default_factory=set)  # faults that took something from it
    unseen: bool = False  # one of its pods went, and no operator that runs has seen it
    rotated: bool = False  # a part of its log is gone for new readers
    rotated_unsaved: bool = False  # before a checkpoint of its first lines was due
    measure: Object | None = None  # spec.measure of its run
    forgotten: bool = False  # somebody deleted its Job before any status named it

    @property
    def id(self) -> tuple[int, int]:
        return self.attempt, self.number


class Truth:
    """All tries of all runs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tries: dict[str, Try] = {}  # by uid of the Job
        self.cluster: Cluster | None = None
        self.deleted_runs: set[str] = set()
        self.unnoticed: set[str] = set()  # uids of runs that were suspended while the operator could not know

    def created(self, job: Object, spec: Object) -> Try:
        """Remember a Job that was just created for a run with this spec, and choose what its pods run."""
        metadata = job["metadata"]
        labels = metadata["labels"]
        env = job["spec"]["template"]["spec"]["containers"][0]["env"]
        seed = next(v.get("value", "") for v in env if v["name"] == "PODIUM_SEED")
        program = choose(self.world.random, seed)
        one = Try(
            metadata["uid"],
            labels["podium.dev/run-uid"],
            metadata["name"],
            int(labels["podium.dev/attempt"]),
            int(labels["podium.dev/try"]),
            self.world.now,
            compared(program, seed) if spec.get("division") == "closed" else program,
            measure=spec.get("measure"),
        )
        if one.run_uid in self.unnoticed:
            self.unnoticed.remove(one.run_uid)
            one.disturbed.add("suspended")
        self.tries[one.job_uid] = one
        return one

    def program_of(self, pod: Object) -> Program:
        return self.tries[pod["metadata"]["ownerReferences"][0]["uid"]].program

    def of_run(self, run_uid: str) -> Sequence[Try]:
        return [one for one in self.tries.values() if one.run_uid == run_uid and not one.forgotten]

    def disturb(self, job_uid: str, fault: str) -> None:
        if job_uid in self.tries:
            self.tries[job_uid].disturbed.add(fault)

    def went_unseen(self, job_uid: str) -> None:
        """A pod went while no operator watched."""
        if job_uid in self.tries:
            self.tries[job_uid].unseen = True

    def rotate(self, place: tuple[str, str], faults: Sequence[Fault]) -> None:
        """The log of a pod is rotated: a new reader does not get what was printed before."""
        assert self.cluster is not None
        for container in self.cluster.containers.values():
            if container.place == place and container.job_uid in self.tries:
                one = self.tries[container.job_uid]
                one.rotated = True
                began, now = container.began or self.world.now, self.world.now
                hindered = (
                    min(f.at + f.seconds + _RECOVERY_SECONDS, now) - max(f.at, began)
                    for f in faults
                    if f.kind in READING
                )
                one.rotated_unsaved |= now < began + _SAVED_SECONDS + sum(each for each in hindered if each > 0)

    def suspended(self, run_uid: str, *, noticed: bool) -> None:
        """A user suspends a run: all its tries may be ended, and, if the operator learns of it late, the next one."""
        for one in self.of_run(run_uid):
            one.disturbed.add("suspended")
        if not noticed:
            self.unnoticed.add(run_uid)

    def containers(self, one: Try) -> list[Container]:
        assert self.cluster is not None
        return [c for c in self.cluster.containers.values() if c.job_uid == one.job_uid]

    def printed(self, one: Try, key: str) -> float | None:
        """Return the time in the log's first line with this key that rank 0 of a try printed, in unix seconds."""
        stamps = (_stamp(container, key) for container in self.containers(one) if container.index == 0)
        return next((stamp for stamp in stamps if stamp is not None), None)

    def happened(self, one: Try, key: str) -> float | None:
        """Return when rank 0 of a try printed its first line with this key: in unix seconds, by no node's clock."""
        ranks = [container for container in self.containers(one) if container.index == 0]
        found = (at for container in ranks for at, name, _ in container.printed if name == key)
        at = next(found, None)
        return None if at is None else self.world.wall - self.world.now + at

    def steps(self, one: Try) -> list[float]:
        """Return by how many seconds the clock of rank 0's node was set, each time, while that of the attempt ran."""
        start, stop = self.happened(one, "run_start"), self.happened(one, "run_stop")
        if one.measure and stop is None:
            stop = self.world.wall
        if start is None or stop is None:
            return []
        epoch = self.world.wall - self.world.now
        return [seconds for at, seconds in self._rank0(one).node.steps if start < epoch + at < stop]

    def _rank0(self, one: Try) -> Container:
        """Return the container of rank 0 that has printed something. Raises StopIteration if there is none."""
        return next(c for c in self.containers(one) if c.index == 0 and c.printed)

    def steps_can_be_seen(self, one: Try) -> bool:
        """Return whether three lines, each a second after the one before, show the node's clock before its steps, and
        as many after them: else those that were received later may have been held up."""
        rank0 = self._rank0(one)
        lines = [at for at, key, _ in rank0.printed if key in ("run_start", "eval_accuracy", "run_stop")]
        steps = [at for at, _ in rank0.node.steps if lines[0] < at < lines[-1]]
        before = [at for at in lines if at < steps[0]]
        after = [at for at in lines if at > steps[-1]]
        return all(sum(b - a > 1 for a, b in pairwise(side)) >= 2 for side in (before, after))

    def undisturbed(self, one: Try) -> bool:
        """Return whether nothing but the program itself decided how a try ended."""
        cut_off = any(container.cut_off for container in self.containers(one))
        return not (one.disturbed or cut_off) and one.run_uid not in self.deleted_runs

    def hidden(self, one: Try) -> bool:
        """Return whether the log of a try cannot be read at the moment."""
        assert self.cluster is not None
        logs = self.cluster.logs
        return any(c.node.name in logs.unreachable | logs.unreadable for c in self.containers(one) if c.index == 0)

    def followed(self, container: Container) -> bool:
        """Return whether an operator that still runs followed the log of a container to its end."""
        assert self.cluster is not None
        log = self.cluster.logs.logs.get(container.place)
        return log is not None and any(process.alive for process in log.followers)

    def measured(self, one: Try) -> float | None:
        """Return the seconds to train of a try that converged, whatever happened afterwards."""
        for container in self.containers(one):  # two, if its queue gave it other machines unseen
            start, stop = _stamp(container, "run_start"), _stamp(container, "run_stop")
            if container.index == 0 and one.program.measures and start is not None and stop is not None:
                return stop - start
        return None

    def over(self, one: Try) -> bool:
        """Return whether a try has printed everything that is to be measured."""
        return self.printed(one, "run_stop") is not None or any(whole for _, whole in self.rates(one))

    def rates(self, one: Try) -> list[tuple[float, bool]]:
        """Return the rate that rank 0 has printed, and whether that is all of spec.measure; two if it ran twice."""
        ranks = [container for container in self.containers(one) if container.index == 0]
        return [rate for container in ranks if one.measure and (rate := _rate(container, one.measure))]


def _rate(container: Container, measure: Object) -> tuple[float, bool] | None:
    """Return the samples per second from the first line after the warm-up that says how many were trained to the first
    one at which spec.measure is over, or to the last one."""
    start = _stamp(container, "run_start")
    said = [(_TIME.search(text), _SAMPLES.search(text)) for _, key, text in container.printed if key == "tracked_stats"]
    points = [(int(time[1]) / 1000, int(samples[1])) for time, samples in said if time and samples]
    begins = (start or 0.0) + duration_seconds(measure["warmup"])
    points = [(time, samples) for time, samples in points if start is not None and time >= begins]
    later = [(time, samples) for time, samples in points[1:] if samples > points[0][1]]
    if not later:
        return None
    ends = begins + duration_seconds(measure.get("duration", "999999h"))
    trained = points[0][1] + measure.get("samples", math.inf)
    end = next((point for point in later if point[0] >= ends or point[1] >= trained), None)
    time, samples = end or later[-1]
    return (samples - points[0][1]) / (time - points[0][0]), end is not None


def _stamp(container: Container, key: str) -> float | None:
    """Return the time in the first line with this key, in unix seconds."""
    matches = (_TIME.search(text) for _, name, text in container.printed if name == key)
    return next((int(match[1]) / 1000 for match in matches if match), None)
