"""The state of one try as a table: its containers and its log, and the state, reason and message that follow.

Which logs are valid and converged is a table of its own: tests/unit/rules/test_judge.py.
"""

from __future__ import annotations

import pytest

from podium.reconcile import decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex
from tests.unit.reconcile.examples import ABORTED, BAD, GOOD, START, SUCCESS, T0, ended, log, observed

ROUNDS = load_rounds()

# (name, containers, the log, seconds) -> (state, reason, part of the message)
TRIES = [
    ("no pod yet", [], log(), 30, "Pending", "Pending", "0 of 2 pods are running"),
    (
        "image cannot be pulled",
        [ex.waiting(0, "ErrImagePull", "not found"), ex.waiting(1, "ErrImagePull", "not found")],
        log(),
        30,
        "Pending",
        "Pending",
        "pod digits-1-0-0: ErrImagePull: not found",
    ),
    (
        "image name is no image name",
        [ex.waiting(0, "InvalidImageName", "couldn't parse")],
        log(),
        30,
        "Failed",
        "PodCannotStart",
        "InvalidImageName: couldn't parse",
    ),
    (
        "volume claim is missing",
        [ex.waiting(0, "Unschedulable", 'persistentvolumeclaim "imagenet" not found')],
        log(),
        601,
        "Failed",
        "PendingDeadlineExceeded",
        'persistentvolumeclaim "imagenet" not found; not all pods were running within 10m (spec.deadlines.pending)',
    ),
    (
        "data are copied for longer than pods may be pending",
        [ex.copying(0, finished=700), ex.copying(1)],
        log(),
        1000,
        "Pending",
        "Staging",
        "1 of 2 pods have copied their data",
    ),
    (
        "data are copied for too long",
        [ex.copying(0, finished=700), ex.copying(1, started=20)],
        log(),
        1821,
        "Failed",
        "StageDeadlineExceeded",
        "1 of 2 pods have copied their data within 30m (spec.deadlines.stage); raise it",
    ),
    (
        "one pod copies, the other has no node",
        [ex.copying(0), ex.waiting(1, "Unschedulable", "0/3 nodes are available")],
        log(),
        601,
        "Failed",
        "PendingDeadlineExceeded",
        "pod digits-1-0-1: Unschedulable: 0/3 nodes are available; not all pods were running within 10m",
    ),
    (
        "data are copied, containers are made",
        [ex.copying(0, finished=900), ex.copying(1, finished=900)],
        log(),
        1499,
        "Pending",
        "Pending",
        "PodInitializing",
    ),
    (
        "data are copied, containers are not made",
        [ex.copying(0, finished=900), ex.copying(1, finished=900)],
        log(),
        1501,
        "Failed",
        "PendingDeadlineExceeded",
        "not all pods were running within 10m (spec.deadlines.pending)",
    ),
    ("containers run", [ex.running(0), ex.running(1)], log(), 30, "Initializing", None, ""),
    (
        "nothing is ever logged",
        [ex.running(0), ex.running(1)],
        log(tail="downloading"),
        400,
        "Failed",
        "NoMLPerfLog",
        "rank 0 printed no MLPerf lines to stdout within 5m of its start; the image must print lines such as",
    ),
    (
        "the clock never starts",
        [ex.running(0), ex.running(1)],
        log((12, "init_start", None), tail="NCCL WARN"),
        400,
        "Failed",
        "InitDeadlineExceeded",
        "no run_start within 5m of the containers' start (spec.deadlines.init); last output: NCCL WARN",
    ),
    ("the clock runs", [ex.running(0), ex.running(1)], log(START), 30, "Training", None, ""),
    ("evaluated, goes on", [ex.running(0), ex.running(1)], log(START, BAD), 70, "Training", None, ""),
    (
        "trains for ever",
        [ex.running(0), ex.running(1)],
        log(START, BAD),
        3700,
        "NotConverged",
        "RunDeadlineExceeded",
        "no run_stop within 1h of run_start; raise spec.deadlines.run",
    ),
    (
        "run_stop, containers still run",
        [ex.running(0), ex.running(1)],
        log(START, GOOD, SUCCESS),
        70,
        "Training",
        None,
        "",
    ),
    (
        "run_stop, containers hang",
        [ex.running(0), ex.running(1)],
        log(START, GOOD, SUCCESS),
        400,
        "Converged",
        "TargetReached",
        "quality 0.95, target 0.9",
    ),
    ("ended, log not yet whole", [ended(0), ended(1)], log(START, GOOD), 110, "Training", None, ""),
    ("converged", [ended(0), ended(1)], log(START, GOOD, SUCCESS, whole=True), 110, "Converged", "TargetReached", ""),
    (
        "exit code after success does not matter",
        [ended(0, 1), ended(1)],
        log(START, GOOD, SUCCESS, whole=True),
        110,
        "Converged",
        "TargetReached",
        "",
    ),
    (
        "given up",
        [ended(0), ended(1)],
        log(START, BAD, ABORTED, whole=True),
        110,
        "NotConverged",
        "QualityNotReached",
        "quality 0.55, target 0.9",
    ),
    (
        "claims success below the target",
        [ended(0), ended(1)],
        log(START, BAD, SUCCESS, whole=True),
        110,
        "NotConverged",
        "QualityNotReached",
        "quality 0.55, target 0.9, although run_stop says success",
    ),
    (
        "claims to be aborted above the target",
        [ended(0), ended(1)],
        log(START, GOOD, ABORTED, whole=True),
        110,
        "NotConverged",
        "RunAborted",
        "run_stop says 'aborted' although the target was reached",
    ),
    (
        "out of memory",
        [ended(0, 137, stopped="OOMKilled"), ended(1, 1, finished=101)],
        log(START, whole=True, tail="Killed"),
        110,
        "Failed",
        "PodFailed",
        "pod digits-1-0-0: exit code 137 (OOMKilled); last output: Killed",
    ),
    (
        "the data are not there",
        [
            ex.copying(
                0, finished=90, code=1, said="stage: 1 file\nstage: s3://b: there is no such bucket; create it\n"
            ),
            ended(1, None, finished=95, stopped="Deleted"),
        ],
        log(whole=True),
        110,
        "Failed",
        "StageFailed",
        "pod digits-1-0-0: copying its data: exit code 1: stage: 1 file | stage: s3://b: there is no such bucket; create it",
    ),
    (
        "the store of the data is out of reach",
        [
            ex.copying(0, finished=90, code=75, said="stage: gave up after 300 s"),
            ended(1, None, finished=95, stopped="Deleted"),
        ],
        log(whole=True),
        110,
        "Failed",
        "StageInterrupted",
        "exit code 75: stage: gave up after 300 s",
    ),
    (
        "the first to fail is named",
        [ended(0, 1, finished=105), ended(1, 3, finished=101)],
        log(START, whole=True),
        110,
        "Failed",
        "PodFailed",
        "pod digits-1-0-1: exit code 3",
    ),
    (
        "pod deleted",
        [ended(0, None, stopped="Deleted", message="the pod was deleted"), ended(1, 1, finished=104)],
        log(START, whole=True),
        110,
        "Failed",
        "PodLost",
        "pod digits-1-0-0: Deleted: the pod was deleted",
    ),
    (
        "exits without a word",
        [ended(0), ended(1)],
        log(whole=True, tail="hello"),
        110,
        "Failed",
        "NoMLPerfLog",
        "rank 0 printed no MLPerf lines to stdout before it ended",
    ),
    (
        "run_stop without run_start",
        [ended(0), ended(1)],
        log(GOOD, SUCCESS, whole=True),
        110,
        "Invalid",
        "RunStartMissing",
        "the log has no run_start line",
    ),
    (
        "no run_stop",
        [ended(0), ended(1)],
        log(START, GOOD, whole=True),
        110,
        "Invalid",
        "RunStopMissing",
        "the log ends without a run_stop line",
    ),
    (
        "broken JSON took the run_stop",
        [ended(0), ended(1)],
        log(START, GOOD, whole=True, problem="line 9 is not readable: broken JSON: ..."),
        110,
        "Invalid",
        "RunStopMissing",
        "line 9 is not readable: broken JSON",
    ),
    (
        "clock runs backwards",
        [ended(0), ended(1)],
        log((70, "run_start", None), GOOD, SUCCESS, whole=True),
        110,
        "Invalid",
        "ClockInvalid",
        "run_stop does not come after run_start",
    ),
    (
        "clock starts before the container",
        [ended(0), ended(1)],
        log((1, "run_start", None), GOOD, SUCCESS, whole=True),
        110,
        "Invalid",
        "ClockInvalid",
        "run_start is 9.0 s before the container started",
    ),
]


@pytest.mark.parametrize(
    ("containers", "seen", "now", "state", "reason", "message"), [t[1:] for t in TRIES], ids=[t[0] for t in TRIES]
)
def test_state_of_a_try(containers, seen, now, state, reason, message):
    run = ex.run(ex.status(ex.attempt()))
    result = decide(run, observed(ex.job(*containers), seen), ROUNDS, T0 + now).status.attempts[0]
    assert (str(result.state), result.reason) == (state, reason)
    assert message in (result.message or "")
