"""The end of one try as a table: its containers and its log, and the state, reason and message that follow.

Which logs are valid and converged is a table of its own: tests/unit/rules/test_judge.py.
"""

from __future__ import annotations

import pytest

from podium.reconcile import decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex
from tests.unit.reconcile.examples import BAD, GOOD, START, SUCCESS, T0, ended, log, observed

ROUNDS = load_rounds()

# (name, containers, the log, seconds) -> (state, reason, part of the message)
TRIES = [
    (
        "the scheduler preempts",
        [ended(0, None, stopped="Deleted", disruption="PreemptionByScheduler"), ended(1, 1, finished=101)],
        log(START, whole=True),
        110,
        "Failed",
        "Preempted",
        "PreemptionByScheduler",
    ),
    (
        "the node is drained and the program exits with 0",
        [ended(0, 0, disruption="EvictionByEvictionAPI"), ended(1)],
        log(START, whole=True),
        110,
        "Failed",
        "Drained",
        "EvictionByEvictionAPI",
    ),
    (
        "the kubelet evicts and the program exits with 0",
        [ended(0, 0, stopped="Evicted", message="low on memory"), ended(1)],
        log(START, whole=True),
        110,
        "Failed",
        "Evicted",
        "low on memory",
    ),
    (
        "the device plugin has nothing to give",
        [
            ended(0, None, stopped="UnexpectedAdmissionError", message="Allocate failed: nvidia.com/gpu"),
            ended(1, None, finished=101, stopped="Deleted"),
        ],
        log(whole=True),
        110,
        "Failed",
        "DeviceError",
        "Allocate failed: nvidia.com/gpu",
    ),
    (
        "the command is not in the image",
        [ended(0, 128, stopped="StartError", message='exec: "torchrun": not found', started=None), ended(1, None)],
        log(whole=True),
        110,
        "Failed",
        "PodCannotStart",
        'StartError: exec: "torchrun": not found',
    ),
    (
        "rank 0 ends without run_stop, the other hangs",
        [ended(0), ex.running(1)],
        log(START, BAD, whole=True),
        399,
        "Training",
        None,
        "",
    ),
    (
        "rank 0 has ended without run_stop, the other hangs for too long",
        [ended(0), ex.running(1)],
        log(START, BAD, whole=True),
        401,
        "Invalid",
        "RunStopMissing",
        "the log ends without a run_stop line",
    ),
    (
        "the end of the log is lost",
        [ended(0), ended(1)],
        log(START, BAD, whole=True, known=None, lost="its pod is gone"),
        110,
        "Failed",
        "LogLost",
        "its pod is gone",
    ),
    (
        "the end of the log is lost, and whether the clock ran",
        [ended(0, 1), ended(1, 1)],
        log(whole=True, known=None, lost="its pod is gone"),
        110,
        "Failed",
        "LogLost",
        "its pod is gone; pod digits-1-0-0: exit code 1",
    ),
    (
        "the end of the log is lost, but the program failed while its clock was running",
        [ended(0, 1), ended(1, 1)],
        log(START, whole=True, known=None, lost="its pod is gone"),
        110,
        "NotConverged",
        "ProgramExited",
        "pod digits-1-0-0: exit code 1",
    ),
    (
        "the end of the log is lost, but run_stop was read",
        [ended(0), ended(1)],
        log(START, GOOD, SUCCESS, whole=True, known=None, lost="its pod is gone"),
        110,
        "Converged",
        "TargetReached",
        "",
    ),
    (
        "more lines than anybody needs",
        [ex.running(0), ex.running(1)],
        log(START, BAD, overflow=True),
        110,
        "Invalid",
        "LogTooLong",
        "the MLPerf lines of rank 0 exceed the limit of 64 MiB",
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
        "NotConverged",
        "ProgramExited",
        "pod digits-1-0-1: exit code 3",
    ),
    (
        "pod deleted, and its Job does not say more within 5 minutes",
        [ended(0, None, stopped="Deleted", message="the pod was deleted"), ended(1, 1, finished=104)],
        log(START, whole=True),
        410,
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
