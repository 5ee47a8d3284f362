"""A log against when its lines were seen, and against the life of its containers: what contradicts, and what does not."""

from __future__ import annotations

import copy

import pytest

from podium.mllog import parse, summarize
from podium.submissions.seen import about_pods, about_seen, is_early
from tests.unit.cli.logs import START, mllog


def log(*lines):
    """The summary of (seconds, key, value) lines; evaluations are of one epoch after another."""
    texts = [mllog(key, value, at, epoch_num=number) for number, (at, key, value) in enumerate(lines)]
    return summarize(parse(texts)[0])


STARTS, STOPS = (0, "run_start", None), (61, "run_stop", None)
FIRST, SECOND = (30, "eval_accuracy", 0.5), (60, "eval_accuracy", 0.8)
LOG = log(STARTS, FIRST, SECOND, STOPS)


def sighting(at, **other):
    known = {"logged": START + at, "printed": START + at, "received": START + at + 0.1, "maxDelaySeconds": 0.2}
    return {**known, "observer": "a", **other}


HONEST = {
    "runStart": sighting(0), "runStop": sighting(61), "evaluations": [sighting(30), sighting(60)],
    "evaluationsLeftOut": 0, "nodeClockOffsetSeconds": -0.1,
}  # fmt: skip


def seen_with(*path, to):
    seen = copy.deepcopy(HONEST)
    place = seen
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return seen


def found(seen, summary=LOG, state="Converged", **options):
    return [f"{rule}: {message}" for rule, message in about_seen(seen, summary, state, "result.txt", **options)]


NOTHING = {
    "runStart": None, "runStop": None, "evaluations": [], "evaluationsLeftOut": 0, "nodeClockOffsetSeconds": None,
}  # fmt: skip
TIMELESS = {"printed": None, "received": None, "maxDelaySeconds": None}
WITHOUT_TIMES = {
    "runStart": sighting(0, **TIMELESS), "runStop": sighting(61, **TIMELESS), "evaluationsLeftOut": 0,
    "evaluations": [sighting(30, **TIMELESS), sighting(60, **TIMELESS)], "nodeClockOffsetSeconds": None,
}  # fmt: skip
MIXED = "review.contradiction: some lines were seen at a time, and others at none"
OFFSET = "review.contradiction: seen.nodeClockOffsetSeconds is"
COUNTED = "review.contradiction: {} evaluations were seen and {} left out; result.txt has 2"

SEEN = {
    "an honest record": (HONEST, []),
    "a record of a version that kept none": ({}, []),
    "a record without times": (WITHOUT_TIMES, []),
    "another run_start": (
        seen_with("runStart", "logged", to=START + 1),
        [f"review.contradiction: seen.runStart.logged is {START + 1!r} here, {START!r} in result.txt"],
    ),
    "another run_stop": (
        seen_with("runStop", "logged", to=START + 60),
        [f"review.contradiction: seen.runStop.logged is {START + 60!r} here, {START + 61!r} in result.txt"],
    ),
    "no run_start, although other lines were seen": (
        seen_with("runStart", to=None),
        [f"review.contradiction: seen.runStart.logged is nothing here, {START!r} in result.txt"],
    ),
    "a run_stop that came 30 s late": (
        seen_with("runStop", to=sighting(61, printed=START + 91, received=START + 91.1)),
        ["review.seen: Converged, although the log says 61.0 s, the operator saw 91.0 s"],
    ),
    "an evaluation received before run_start": (
        seen_with("evaluations", 0, "received", to=START - 100), ["review.seen: eval_accuracy was received 100.1 s before run_start"]
    ),
    "an evaluation without a time": (seen_with("evaluations", 1, "printed", to=None), [MIXED]),
    "an evaluation that was not received": (seen_with("evaluations", 1, "received", to=None), [MIXED]),
    "another offset within rounding": (seen_with("nodeClockOffsetSeconds", to=-0.1015), []),
    "another offset": (seen_with("nodeClockOffsetSeconds", to=-0.103), [f"{OFFSET} -0.103, and the lines show -0.1"]),
    "no offset": (seen_with("nodeClockOffsetSeconds", to=None), [f"{OFFSET} nothing, and the lines show -0.1"]),
    "an offset that is no number": (seen_with("nodeClockOffsetSeconds", to="0"), [f"{OFFSET} '0', and"]),
    "an offset that no line shows": (
        {**WITHOUT_TIMES, "nodeClockOffsetSeconds": 0.0}, [f"{OFFSET} 0.0, and the lines show nothing"]
    ),
    "a record that does not count what is left out": ({**HONEST, "evaluationsLeftOut": None}, []),
    "an evaluation left out": ({**HONEST, "evaluations": [sighting(30)], "evaluationsLeftOut": 1}, []),
    "an evaluation too few": ({**HONEST, "evaluations": [sighting(30)]}, [COUNTED.format(1, 0)]),
    "more evaluations left out than there were": ({**HONEST, "evaluationsLeftOut": 1}, [COUNTED.format(2, 1)]),
    "an evaluation that the log has not": (
        {**HONEST, "evaluations": [sighting(30), sighting(59)]}, [COUNTED.format(2, 0)]
    ),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "words"), SEEN.values(), ids=SEEN)
def test_what_was_seen_of_a_log(seen, words):
    messages = found(seen)
    assert len(messages) == len(words), messages
    assert all(message.startswith(start) for message, start in zip(messages, words, strict=True)), messages


def test_a_log_of_which_nothing_was_seen_contradicts_nothing():
    assert found(NOTHING, log(STARTS)) == []
    assert len(found(NOTHING, LOG)) == 1, "but its evaluations were seen, or left out"
    assert len(found({**NOTHING, "runStart": {"logged": "1"}}, log(STARTS))) == 1, "but a stamp is a number"


@pytest.mark.parametrize(("state", "named"), [("Converged", 1), ("NotConverged", 1), ("Invalid", 0), ("Failed", 0)])
def test_a_fault_of_the_clock_is_named_only_where_it_was_not_judged(state, named):
    """And what follows from the fault is not named again."""
    late = seen_with("runStop", to=sighting(61, printed=START + 91, received=START + 91.1))
    late["evaluations"][0]["received"] = START - 100
    assert len(found(late, state=state)) == named


def test_what_a_restarted_program_logged_before_does_not_count():
    """Of lines that were left out, and of the offset, nobody knows to which of the runs they belong."""
    again = log(STARTS, FIRST, (40, "init_start", None), (50, "run_start", None), SECOND, STOPS)
    seen = {**copy.deepcopy(HONEST), "runStart": sighting(50), "nodeClockOffsetSeconds": 7.0}
    assert found(seen, again) == []
    assert found({**seen, "evaluationsLeftOut": 5}, again) == []
    other = {**seen, "evaluations": [sighting(30), sighting(55), sighting(60)]}
    assert found(other, again) == ["review.contradiction: 2 evaluations were seen and 0 left out; result.txt has 1"]
    assert found({**HONEST, "nodeClockOffsetSeconds": 7.0}, log(STARTS, FIRST, SECOND, STOPS, STOPS)) == []


@pytest.mark.parametrize(
    ("fewer", "state", "lacks"),
    [(True, "Invalid", []), (True, "Converged", ["run_stop"]), (False, "Invalid", ["run_stop", "an evaluation"])],
)
def test_who_saw_fewer_lines_than_were_stored_lacks_some(fewer, state, lacks):
    """But an attempt that was found to converge has at least the lines of the clock."""
    seen = {**HONEST, "runStop": None, "evaluations": [sighting(30)]}
    messages = {
        "run_stop": f"review.contradiction: seen.runStop.logged is nothing here, {START + 61!r} in result.txt",
        "an evaluation": COUNTED.format(1, 0),
    }
    assert found(seen, state=state, of_fewer_lines=fewer) == [messages[each] for each in lacks]


@pytest.mark.parametrize(
    ("first", "times"),
    [("NaN", [30, 60]), ({"BBOX": 0.4, "SEGM": 0.3}, [60]), ({"BBOX": 0.4, "SEGM": 0.3}, [30, 31, 60])],
)
def test_lines_that_are_not_one_number_each_are_not_counted(first, times):
    seen = {**HONEST, "evaluations": [sighting(at) for at in times]}
    assert found(seen, log(STARTS, (30, "eval_accuracy", first), SECOND, STOPS)) == []


# ---- containers ----


def pod(node=0, **other):
    return {"nodeIndex": node, "exitCode": 0, "stopped": "Completed", "started": 10.0, "finished": START + 99, **other}


PODS = {
    "two that ended well": ([pod(0), pod(1)], []),
    "one that failed": ([pod(exitCode=1, stopped="Error")], []),
    "one of which nothing is known": ([{"nodeIndex": 0}], []),
    "one that was deleted": ([pod(exitCode=None, stopped="Deleted")], []),
    "one that failed, and ended well": ([pod(1, exitCode=1)], ["node 1 ended with exit code 1, 'Completed'"]),
    "one that ended well, without a code": ([pod(exitCode=None)], ["node 0 ended with exit code nothing, 'Completed'"]),
    "one that ended well, and failed": ([pod(stopped="Error")], ["node 0 ended with exit code 0, 'Error'"]),
    "one that a signal ended": ([pod(exitCode=137, stopped="Error", signal=9)], []),
    "one that another signal ended": (
        [pod(exitCode=137, stopped="Error", signal=15)], ["node 0 ended with exit code 137, 'Error', and by signal 15"]
    ),
    "one that ended as it started": ([pod(1, started=12.0, finished=10.0)], []),
    "one that ended before it started": ([pod(1, started=12.1, finished=10.0)], ["node 1 ended before it started"]),
    "rank 0's ended as its last line was printed": ([pod(finished=START + 59.5), pod(1)], []),
    "rank 0's ended before its last line": (
        [pod(1), pod(finished=START + 58.9)], ["a line was printed after the end of rank 0's container"]
    ),
    "another one ended before": ([pod(), pod(1, finished=START + 1)], []),
    "none": ([], []),
}  # fmt: skip


@pytest.mark.parametrize(("pods", "words"), PODS.values(), ids=PODS)
def test_what_is_said_of_the_end_of_containers(pods, words):
    messages = list(about_pods(pods, HONEST))
    assert len(messages) == len(words), messages
    assert all(message.endswith(end) for message, end in zip(messages, words, strict=True)), messages


@pytest.mark.parametrize(
    ("one", "other", "early"), [(1.0, 3.0, False), (1.0, 3.1, True), (3.1, 1.0, False), (None, 9.0, False), (1.0, None, False)]
)  # fmt: skip
def test_what_comes_early_by_more_than_whole_seconds_explain(one, other, early):
    assert is_early(one, other) is early
