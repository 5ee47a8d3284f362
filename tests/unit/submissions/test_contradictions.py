"""The files of a result in a cluster against each other, in memory: what contradicts, and what does not.

tests/unit/cli/test_own_results.py has more changes, of a result that was made on one machine.
"""

from __future__ import annotations

import copy
import json

import pytest
import yaml

from podium.api import AttemptState
from podium.mllog import Sightings, parse, summarize
from podium.reconcile import StoreResult, measured, score_run
from podium.results.schema import attempt_document, result_document, run_document, system_document
from podium.rounds import load_rounds
from podium.rules import goal_for
from podium.submissions.contradictions import contradictions
from podium.submissions.entries import score_folder
from podium.submissions.package import ReviewedResult
from podium.submissions.tree import read_folders
from tests.unit.cli.logs import mllog
from tests.unit.reconcile import examples as ex
from tests.unit.submissions.test_ledgers import Files, sha256

RECORD, LOG = "attempts/001/attempt.json", "attempts/001/result.txt"
RUN = ex.run(attempts=1)
GOAL = goal_for(RUN.spec, load_rounds())


def log(*more):
    lines = [("run_start", None, 20), ("eval_accuracy", 0.5, 40), ("eval_accuracy", 0.95, 60), *more]
    made = [mllog(key, value, at, ex.T0, epoch_num=number) for number, (key, value, at) in enumerate(lines)]
    return "\n".join([*made, mllog("run_stop", None, 61, ex.T0, status="success"), ""])


def documents(text):
    """The documents of a run of one attempt, which converged, on the nodes a and b."""
    summary = summarize(parse(text)[0])
    status = ex.attempt(1, AttemptState.CONVERGED, reason="TargetReached", time_to_train_seconds="40.000")
    status = measured(status, summary, GOAL)
    score = score_run(RUN.spec, [status], GOAL, load_rounds())
    pods = [ex.ended(0, node="a", image_id="trainer@sha256:1"), ex.ended(1, node="b", image_id="trainer@sha256:1")]
    record = attempt_document(RUN, status, summary, pods, Sightings())
    return {
        "result.json": result_document(RUN, StoreResult(score, (status,), "Complete", ""), dict(GOAL.targets)),
        "run.yaml": run_document(RUN),
        "system.json": system_document(RUN, [{"name": "a"}, {"name": "b"}]),
        RECORD: {**record, "seen": {}, "files": {"result.txt": sha256(text.encode())}, "findings": []},
    }


HONEST = log()


def found(change=None, text=HONEST, **files):
    """What is named in a result after a change of its documents; the digests in SHA256SUMS are made again."""
    made = json.loads(json.dumps(documents(text)))
    (change or (lambda made: None))(made)
    contents = {name: (yaml.safe_dump if name.endswith("yaml") else json.dumps)(made[name]).encode() for name in made}
    contents |= {LOG: text.encode(), **files}
    rows = "".join(f"{sha256(content)}  {name}\n" for name, content in contents.items())
    store = Files({**contents, "SHA256SUMS": rows.encode()})
    (folder,) = read_folders(store)
    part = ReviewedResult(store, folder, score_folder(folder, load_rounds()), ())
    return [(finding.field, finding.message) for finding in contradictions(part)]


def put(name, *path, to):
    def change(made):
        *above, last = path
        place = made[name]
        for key in above:
            place = place[key]
        place[last] = copy.deepcopy(to)

    return change


def test_an_honest_result():
    assert found() == []


def pods(*nodes, **more):
    return [
        {**pod, "node": node, "nodeIndex": n, **more} for n, (pod, node) in enumerate(zip(POD * 9, nodes, strict=False))
    ]


POD = [
    {
        "imageID": "trainer@sha256:1",
        "started": ex.T0 + 10,
        "finished": ex.T0 + 100,
        "exitCode": 0,
        "stopped": "Completed",
    }
]
TWICE = "its 2 pods ran on 1 nodes; run.yaml wants 2"
CHANGES = {
    "other nodes": (put("system.json", "nodesSeen", to=[{"name": "c"}]),
        [("system.json", "nodesSeen has c; the pods ran on a, b")]),
    "a node more": (put("system.json", "nodesSeen", to=[{"name": "a"}, {"name": "b"}, {"name": "c"}]),
        [("system.json", "nodesSeen has a, b, c; the pods ran on a, b")]),
    "some of the nodes": (put("system.json", "nodesSeen", to=[{"name": "a"}]), []),  # those that a watch has shown
    "no nodes": (put("system.json", "nodesSeen", to=[]), []),
    "nodes in another form": (put("system.json", "nodesSeen", to="a"), []),
    "pods on nodes that are not known": (put(RECORD, "pods", to=pods("", "")), []),
    "a pod too few": (put(RECORD, "pods", to=pods("a")), [(RECORD, "has pods 0; run.yaml wants 2 nodes")]),
    "a pod too few, and a node more": (
        lambda made: (put(RECORD, "pods", to=pods("a"))(made), put("system.json", "nodesSeen", to=[{"name": "a"}, {"name": "c"}])(made)),
        [(RECORD, "has pods 0; run.yaml wants 2 nodes")]),
    "no pods": (put(RECORD, "pods", to=[]), [(RECORD, "has pods none; run.yaml wants 2 nodes")]),
    "two pods on one node": (put(RECORD, "pods", to=pods("a", "a")),
        [(RECORD, TWICE), ("system.json", "nodesSeen has a, b; the pods ran on a")]),
    "a container that started after run_start": (put(RECORD, "pods", 0, "started", to=ex.T0 + 22.5),
        [(RECORD, f"the container of rank 0 ran from {ex.T0 + 22.5} to {ex.T0 + 100}, the log says {ex.T0 + 20} to {ex.T0 + 61}")]),
    "a container that ended before run_stop": (put(RECORD, "pods", 0, "finished", to=ex.T0 + 58.5),
        [(RECORD, f"the container of rank 0 ran from {ex.T0 + 10} to {ex.T0 + 58.5}, the log says {ex.T0 + 20} to {ex.T0 + 61}")]),
    "a container that ended in the second of run_stop": (put(RECORD, "pods", 0, "finished", to=ex.T0 + 59), []),
    "the image that was pinned": (put("result.json", "pinned", to={"imageDigest": "sha256:1"}), []),
    "another image than was pinned": (put("result.json", "pinned", to={"imageDigest": "sha256:2"}),
        [(RECORD, "ran trainer@sha256:1; result.json has sha256:2")]),
    "images that are not known": (
        lambda made: (put(RECORD, "pods", to=pods("a", "b", imageID=""))(made),
                      put("result.json", "pinned", to={"imageDigest": "sha256:2"})(made)), []),
    "a file that is not the one of the record": (put(RECORD, "files", "result.txt", to="ab"),
        [(LOG, "is not the file whose digest attempt.json has")]),
    "a file that is missing": (put(RECORD, "files", "logs/pod-0.log.gz", to="ab"),
        [("attempts/001/logs/pod-0.log.gz", "attempt.json lists it, and it is missing")]),
    "a record of a version without digests": (put(RECORD, "files", to=None), []),
    "a record of another run": (put(RECORD, "run", "uid", to="another"),
        [(RECORD, f"run.uid is 'another' here, {RUN.uid!r} in result.json")]),
    "another schema": (put("result.json", "schema", to="podium.dev/result/v9"),
        [("result.json", "schema is 'podium.dev/result/v9' here, 'podium.dev/result/v1' in every result.json")]),
    "another kind": (put("run.yaml", "kind", to="Pod"),
        [("run.yaml", "kind is 'Pod' here, 'BenchmarkRun' in every result")]),
    "another namespace": (put("run.yaml", "metadata", "namespace", to="night"),
        [("run.yaml", "run.namespace is 'night' here, 'lab' in result.json")]),
    "a run.yaml that cannot be read": (put("run.yaml", "spec", to=None), []),  # `review` reports it
    "an outcome that is none": (put("result.json", "outcome", to="Perfect"),
        [("result.json", "the outcome is 'Perfect', and the message ''; the score is valid")]),
    "a message with a complete run": (put("result.json", "message", to="almost"),
        [("result.json", "the outcome is 'Complete', and the message 'almost'; the score is valid")]),
    "a run that failed after its last attempt": (put("result.json", "outcome", to="Failed"), []),
    "a measurement that is not the log's": (
        lambda made: [put(*place, "epochs", to="9")(made) for place in (("result.json", "attempts", 0), (RECORD,))],
        [(RECORD, "epochs is '9' here, '2' by result.txt")]),
    "a reason of another state": (
        lambda made: [put(*place, "reason", to="RunAborted")(made) for place in (("result.json", "attempts", 0), (RECORD,))],
        [(RECORD, "the state Converged does not belong to the reason 'RunAborted'")]),
}  # fmt: skip


@pytest.mark.parametrize(("change", "named"), CHANGES.values(), ids=CHANGES)
def test_what_a_change_contradicts(change, named):
    messages = [(where, message.removesuffix(" (and 1 more)")) for where, message in found(change)]
    assert messages == named


def test_a_record_that_the_result_does_not_list():
    assert (RECORD, "result.json does not list attempt 1") in found(
        lambda made: made["result.json"]["attempts"].clear()
    )


@pytest.mark.parametrize(
    ("quality", "named"),
    [("0.95", []), ("0.5", []), (None, []), ("0.7", ["the quality 0.7 is none of those in result.txt"])],
)
def test_the_quality_of_a_try_that_ended_otherwise_is_one_of_its_log(quality, named):
    def change(made):
        for status in (made["result.json"]["attempts"][0], made[RECORD]):
            status |= {"state": "NotConverged", "reason": "RunDeadlineExceeded", "quality": quality}

    assert [message for where, message in found(change) if where == RECORD and "quality" in message] == named


def test_ranks_that_the_system_has_not():
    assert found(text=log(("number_of_ranks", 2, 60.5))) == []
    assert found(text=log(("number_of_ranks", 4, 60.5))) == [
        ("system.json", "has 2 ranks, the log of attempt 1 says 4")
    ]


def test_a_document_that_cannot_be_read_says_nothing():
    for content in (b"{", b"[1]"):
        assert found(**{"system.json": content})[0] == ("system.json", "is missing or cannot be read")
