"""The state of one try as a table: its containers and its log, and the state, reason and message that follow.

Which logs are valid and converged is a table of its own: tests/unit/rules/test_judge.py.
"""

from __future__ import annotations

from dataclasses import replace

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
        "a secret is not in the kubelet's cache yet",
        [ex.waiting(0, "CreateContainerConfigError", "failed to sync secret cache", since=10)],
        log(),
        69,
        "Pending",
        "Pending",
        "CreateContainerConfigError: failed to sync secret cache",
    ),
    (
        "a secret is missing",
        [ex.waiting(0, "CreateContainerConfigError", 'secret "token" not found', since=10)],
        log(),
        71,
        "Failed",
        "PodCannotStart",
        'CreateContainerConfigError: secret "token" not found',
    ),
    (
        "the image is not there for as long as pods may be pending",
        [ex.waiting(0, "ImagePullBackOff", "not found"), ex.running(1)],
        log(),
        601,
        "Failed",
        "ImagePullFailed",
        "pod digits-1-0-0: ImagePullBackOff: not found; not all pods were running within 10m",
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
        "exceeds its own memory limit",
        [ended(0, 137, stopped="OOMKilled", memory_limited=True), ended(1, 1, finished=101)],
        log(START, whole=True, tail="Killed"),
        110,
        "NotConverged",
        "ProgramExited",
        "pod digits-1-0-0: exit code 137 (OOMKilled); last output: Killed",
    ),
    (
        "the node runs out of memory",
        [ended(0, 137, stopped="OOMKilled", node="node-7"), ended(1, 1, finished=101)],
        log(START, whole=True, tail="Killed"),
        110,
        "Failed",
        "NodeOutOfMemory",
        "pod digits-1-0-0 on node node-7: OOMKilled",
    ),
    (
        "the program ends before its clock starts",
        [ended(0, 3), ended(1, 1, finished=101)],
        log((12, "init_start", None), whole=True, tail="RuntimeError: CUDA"),
        110,
        "Failed",
        "ProgramFailed",
        "pod digits-1-0-0: exit code 3; last output: RuntimeError: CUDA",
    ),
    (
        "a rank fails, others still run",
        [ended(0, 1), ex.running(1)],
        log(START, whole=True),
        399,
        "Training",
        None,
        "",
    ),
    (
        "a rank fails, others hang",
        [ended(0, 1), ex.running(1)],
        log(START, whole=True),
        401,
        "NotConverged",
        "ProgramExited",
        "pod digits-1-0-0: exit code 1",
    ),
    (
        "a rank fails because a node died",
        [ended(0, 1), ended(1, None, finished=340, stopped="NodeLost", node="node-8", node_lost=True)],
        log(START, whole=True),
        350,
        "Failed",
        "NodeLost",
        "pod digits-1-0-1 on node node-8: its node is lost",
    ),
    (
        "a rank fails because a node died, whose pod is not evicted yet",
        [ended(0, 1), replace(ex.running(1), node="node-8", node_lost=True)],
        log(START, whole=True),
        401,
        "Failed",
        "NodeLost",
        "pod digits-1-0-1 on node node-8: its node is lost",
    ),
    (
        "a rank fails, and a node that does not report may come back",
        [ended(0, 1), replace(ex.running(1), node="node-8", node_lost=True)],
        log(START, whole=True),
        399,
        "Training",
        None,
        "",
    ),
    (
        "a node is lost, the other rank hangs",
        [ex.running(0), ended(1, None, finished=340, stopped="NodeLost", node="node-8", node_lost=True)],
        log(START, known=345),
        350,
        "Failed",
        "NodeLost",
        "pod digits-1-0-1 on node node-8: its node is lost",
    ),
    (
        "the node of rank 0 is lost, and its log with it",
        [ended(0, None, finished=340, stopped="NodeLost", node="node-8", node_lost=True), ex.running(1)],
        log(START, known=290, unreadable="dial tcp: i/o timeout"),
        350,
        "Failed",
        "NodeLost",
        "pod digits-1-0-0 on node node-8: its node is lost",
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
