"""Training programs: what rank 0 prints and when, how the program ends, and what it does at SIGTERM."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

TARGET = 0.5
# A program's kind and its weight. All but `converges` have an outcome of their own.
KINDS = {
    "converges": 60,
    "aborts": 4,  # run_stop with status aborted
    "crashes early": 4,  # exit 1 before run_start
    "crashes late": 4,  # exit 1 after run_start
    "hangs early": 2,  # never prints run_start
    "hangs late": 2,  # never prints run_stop
    "prints nothing": 2,  # exit 0 without an MLPerf line
    "forgets run_stop": 2,  # exit 0 without run_stop
    "lingers": 5,  # stays for long after run_stop
    "has a sidecar": 3,  # another container of the pod never ends
    "prints huge numbers": 3,  # which no status can hold
}
MEASURES = ("converges", "lingers", "has a sidecar", "prints huge numbers")  # reach run_stop with success


@dataclass(frozen=True)
class Line:
    """One line of rank 0, `at` seconds after its container started. `key` is "" for a line that MLPerf ignores."""

    at: float
    key: str
    value: str = "null"
    metadata: str = "{}"

    def text(self, unix: float) -> str:
        if not self.key:
            return self.value
        return (
            f':::MLLOG {{"namespace": "", "time_ms": {round(unix * 1000)}, "event_type": "POINT_IN_TIME", '
            f'"key": "{self.key}", "value": {self.value}, "metadata": {self.metadata}}}'
        )


@dataclass(frozen=True)
class Program:
    """What the training program of one try does if nothing disturbs it."""

    kind: str
    lines: tuple[Line, ...]
    ends: float  # seconds after its start; inf: never
    exit_code: int
    leaves_after: float  # seconds from SIGTERM to the end; more than the grace period: it is killed
    leaves_with: int  # exit code at SIGTERM
    survives: float  # seconds that the other ranks go on after one was lost

    @property
    def measures(self) -> bool:
        return self.kind in MEASURES


def choose(random: Random, seed: str) -> Program:
    """Return a program; `seed` is the one that the operator chose, which the program logs."""
    kind = random.choices(list(KINDS), list(KINDS.values()))[0]
    init = random.uniform(2, 90)
    lines = [Line(0.5, "", "starting"), Line(1.0, "submission_benchmark", '"resnet"'), Line(1.0, "seed", seed)]
    match kind:
        case "hangs early":
            return _program(random, kind, lines, float("inf"), 0)
        case "crashes early":
            return _program(random, kind, [*lines, Line(init, "", "Traceback: no such file")], init + 1, 1)
        case "prints nothing":
            return _program(random, kind, [Line(1.0, "", "hello")], init, 0)
    return _trains(random, kind, lines, init)


def _trains(random: Random, kind: str, lines: list[Line], at: float) -> Program:
    """Return a program that prints run_start `at` seconds after its start."""
    lines += [Line(at, "init_stop"), Line(at + 0.1, "run_start"), Line(at + 0.1, "train_samples", "1000")]
    epochs, seconds = random.randint(2, 7), random.choice((20, 60, 120))
    for epoch in range(1, epochs + 1):
        at += seconds * random.uniform(0.8, 1.2)
        reached = kind in MEASURES and epoch == epochs
        quality = TARGET + 0.2 if reached else TARGET * epoch / (epochs + 1)
        samples = 10**19 if kind == "prints huge numbers" else 1000 * epoch
        lines.append(Line(at - 0.1, "tracked_stats", '{"throughput": 10.0}', f'{{"samples_count": {samples}}}'))
        lines.append(Line(at, "eval_accuracy", f"{quality:.4f}", f'{{"epoch_num": {epoch}}}'))
        if kind == "crashes late" and epoch == 2:
            return _program(random, kind, [*lines, Line(at + 1, "", "CUDA error")], at + 2, 1)
        if kind == "hangs late" and epoch == 2:
            return _program(random, kind, lines, float("inf"), 0)
    if kind == "forgets run_stop":
        return _program(random, kind, lines, at + 2, 0)
    status = "aborted" if kind == "aborts" else "success"
    lines.append(Line(at + 0.2, "run_stop", "null", f'{{"status": "{status}"}}'))
    return _program(random, kind, lines, at + (random.uniform(100, 2000) if kind == "lingers" else 2), 0)


def _program(random: Random, kind: str, lines: list[Line], ends: float, exit_code: int) -> Program:
    return Program(
        kind,
        tuple(lines),
        ends,
        exit_code,
        leaves_after=random.choice((0.2, 3.0, 60.0)),
        leaves_with=random.choice((0, 143, 143, 1)),
        survives=random.choice((2.0, 20.0, 100.0)),
    )
