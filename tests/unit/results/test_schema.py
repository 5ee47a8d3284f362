"""The documents of a result, as values: what is always in them, and what only some runs have."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from podium.api import AttemptState, Score
from podium.mllog import Segment, Sighting, Sightings
from podium.reconcile import Container, Staging, StoreResult
from podium.results.evidence import Stored
from podium.results.schema import (
    attempt_document,
    json_bytes,
    logged,
    measure_document,
    result_document,
    result_folder,
    run_document,
    stored_files,
    stored_result,
    system_document,
)
from tests.unit.reconcile import examples as ex

SUMMARY = ex.log((ex.START[0], "number_of_ranks", 2), ex.START, ex.GOOD, ex.SUCCESS).summary
DONE = ex.attempt(1, AttemptState.CONVERGED, reason="TargetReached", time_to_train_seconds="41.000")
SCORE = Score(time_to_train_minutes="0.6833", valid=True, official=False)
RESULT = StoreResult(SCORE, (DONE,), outcome="Complete", message="done")


def test_a_folder_is_named_after_the_run_and_the_start_of_its_uid():
    assert result_folder(ex.run()) == "lab/digits-11111111"


def test_run_yaml_has_what_the_run_sets():
    document = run_document(ex.run())
    assert (document["kind"], document["metadata"]) == ("BenchmarkRun", {"name": "digits", "namespace": "lab"})
    assert document["spec"]["system"] == {"name": "test", "nodes": 2}  # not the defaults


def test_system_json_has_the_nodes_that_were_used():
    document = system_document(ex.run(), [{"name": "node-1"}])
    assert (document["acceleratorsPerNode"], document["nodesSeen"]) == (0, [{"name": "node-1"}])


POD = {
    "name": "digits-1-0-1", "uid": "u", "nodeIndex": 1, "node": "n", "imageID": "i@sha256:1", "started": ex.T0 + 10,
    "finished": ex.T0 + 100, "exitCode": 137, "signal": 9, "stopped": "OOMKilled",
}  # fmt: skip
STAGED = Staging(ex.T0, ex.T0 + 5, 0, report={"files": 3, "bytes": 9})


@pytest.mark.parametrize(
    ("more", "extra"),
    [
        ({}, {}),
        ({"disruption": "PreemptionByScheduler"}, {"disruption": "PreemptionByScheduler"}),
        (
            {"staging": STAGED},
            {"stage": {"started": ex.T0, "finished": ex.T0 + 5, "exitCode": 0, "files": 3, "bytes": 9}},
        ),
    ],
)
def test_a_pod_of_a_try(more, extra):
    values = {"uid": "u", "node": "n", "image_id": "i@sha256:1", "signal": 9, **more}
    container: Container = ex.ended(1, 137, stopped="OOMKilled", **values)
    document = attempt_document(ex.run(), DONE, SUMMARY, [container], Sightings())
    assert document["pods"] == [POD | extra]
    assert document["run"] == {"namespace": "lab", "name": "digits", "uid": ex.run().uid}


def seen(stamp):
    return Sighting("run_start", stamp=stamp, printed=stamp + 0.1, received=stamp + 0.2, delay=0.5, observer="node-1")


def shown(stamp):
    return {
        "logged": stamp, "printed": stamp + 0.1, "received": stamp + 0.2, "maxDelaySeconds": 0.5, "observer": "node-1",
    }  # fmt: skip


START, GOOD, STOP = ex.T0 + ex.START[0], ex.T0 + ex.GOOD[0], ex.T0 + ex.SUCCESS[0]


@pytest.mark.parametrize(
    ("sightings", "start", "evaluations", "stop"),
    [
        (Sightings(), None, [], None),
        (Sightings((seen(START),), (), (seen(GOOD),)), shown(START), [shown(GOOD)], None),
        (Sightings((seen(START - 5),), (seen(STOP),)), None, [], shown(STOP)),  # the start of an earlier program
    ],
)
def test_what_was_seen_of_a_log(sightings, start, evaluations, stop):
    document = attempt_document(ex.run(), DONE, SUMMARY, [], sightings)["seen"]
    assert (document["runStart"], document["evaluations"], document["runStop"]) == (start, evaluations, stop)
    assert document["evaluationsLeftOut"] == 0


def test_evaluations_are_in_seconds_from_the_start_to_the_millisecond():
    evaluation = (60.123456, *ex.GOOD[1:])
    (found,) = logged(ex.log(ex.START, evaluation).summary)["evaluations"]
    assert (found["epoch"], found["seconds"]) == (3, 40.123)
    (found,) = logged(ex.log(evaluation).summary)["evaluations"]
    assert found["seconds"] is None


def test_a_rate_is_only_that_of_a_log_with_blocks():
    assert logged(SUMMARY)["log"]["rate"] is None
    blocks = tuple(Segment(2.0, False, seconds, 1.0, None) for seconds in (30, 8, 9, 10))
    found = logged(replace(SUMMARY, segments=blocks))["log"]["rate"]
    assert found == {"seconds": 4.5, "per": "epoch", "blocks": 3}


def test_files_beside_an_attempt():
    stored = [Stored("result.txt", "ab"), Stored("pod.log", "cd", finding="it is cut off")]
    assert stored_files(stored, {"pod-1.log": "gone"}, ["first"]) == {
        "files": {"result.txt": "ab", "pod.log": "cd"},
        "unreadLogs": {"pod-1.log": "gone"},
        "findings": ["first", "it is cut off"],
    }


@pytest.mark.parametrize(
    ("measure", "expected"),
    [(None, None), ({"duration": "5m"}, {"warmup": "1m", "duration": "5m"}), ({"samples": 7}, {"warmup": "1m", "samples": 7})],
)  # fmt: skip
def test_only_a_run_that_measures_says_so(measure, expected):
    run = ex.run(measure=measure)
    assert measure_document(run.spec) == expected
    document = result_document(run, RESULT, {"top1": 0.9})
    assert document.get("measure", "none") == (expected or "none")
    assert "pinned" not in document


def test_a_result_is_read_back_as_it_was():
    uid, found = stored_result(json_bytes(result_document(ex.run(), RESULT, {"top1": 0.9})))
    assert (uid, found.score, found.outcome, found.message) == (ex.run().uid, SCORE, "Complete", "done")
    assert found.attempts == (DONE.model_copy(update={"stored": True}),)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"outcome": "Won"}, "its outcome is 'Won'"),
        ({"outcome": None}, "its outcome is None"),
        ({"attempts": 3}, "TypeError"),
        ({"attempts": [{}]}, "validation error"),
        ({"run": {}}, "KeyError: 'uid'"),
    ],
)
def test_what_is_no_result(change, words):
    document = result_document(ex.run(), RESULT, {"top1": 0.9}) | change
    with pytest.raises(ValueError, match=words):
        stored_result(json_bytes(document))


@pytest.mark.parametrize("value", [7, 2**80, "é"])
def test_a_document_is_stored_as_lines_whatever_numbers_it_has(value):
    stored = json_bytes({"a": {"b": value}})
    assert json.loads(stored) == {"a": {"b": value}}
    assert stored.decode() == f'{{\n  "a": {{\n    "b": {json.dumps(value, ensure_ascii=False)}\n  }}\n}}\n'
