"""The three formats, their quirks, and logs that mean no good."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.mllog import Event, Parser, Problem, parse, parse_line

MLP = ":::MLPv0.5.0 resnet 1541720383.838108063 (<string>:1) run_clear_caches"
MLP_EVAL = ':::MLPv0.5.0 resnet 1541728484.5 (/w/log.py:49) eval_accuracy: {"epoch": 62, "value": 0.7522}'
MLP_STOP = ':::MLPv0.5.0 gnmt 1541576397.25 (train.py:488) run_stop: {"success": true}'
MLL = ':::MLL 1560888652.055 eval_accuracy: {"value": 0.762, "metadata": {"lineno": 980, "epoch_num": 60}}'
MLLOG = (
    ':::MLLOG {"namespace": "", "time_ms": 1594793600250, "event_type": "INTERVAL_END", "key": "run_stop", '
    '"value": null, "metadata": {"file": "fit.py", "lineno": 1130, "status": "aborted"}}'
)


@pytest.mark.parametrize(
    ("line", "time", "key", "value", "metadata"),
    [
        (MLP, 1541720383.838108063, "run_clear_caches", None, {}),
        (MLP_EVAL, 1541728484.5, "eval_accuracy", 0.7522, {"epoch_num": 62}),
        (MLP_STOP, 1541576397.25, "run_stop", {"success": True}, {"status": "success"}),
        (MLL, 1560888652.055, "eval_accuracy", 0.762, {"epoch_num": 60}),
        (MLLOG, 1594793600.25, "run_stop", None, {"status": "aborted"}),
        ("0: " + MLL, 1560888652.055, "eval_accuracy", 0.762, {"epoch_num": 60}),
        ('\x1b[32m[rank0]:\x1b[0m :::MLLOG {"time_ms": 1000, "key": "seed", "value": 3}', 1.0, "seed", 3, {}),
        (":::MLL 5.5 eval_result: {'value': None, 'metadata': {'timestamp': 1725.869}}", 5.5, "eval_result", None,
         {"timestamp": 1725.869}),
        (':::MLL 5.5 eval_accuracy: {"value": "25.32", "metadata": {}}', 5.5, "eval_accuracy", "25.32", {}),
    ],
)  # fmt: skip
def test_a_line_of_a_published_log(line, time, key, value, metadata):
    event = parse_line(line, 7)
    assert isinstance(event, Event)
    assert (event.time, event.key, event.value, event.line_number) == (time, key, value, 7)
    assert {name: event.metadata[name] for name in metadata} == metadata


@pytest.mark.parametrize("line", ["", "epoch 3 loss 0.5", "MLPerf: resnet [06/13/19 00:30:56], run_start", "::: MLL"])
def test_other_output_is_passed_over(line):
    assert parse_line(line) is None


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (':::MLLOG {"key": "run_stop", "time_ms": ', "broken JSON"),
        (':::MLLOG {"key": "run_stop", "time_ms": "soon"}', '"time_ms" is not a number'),
        (':::MLLOG {"key": "run_stop", "time_ms": NaN}', '"time_ms" is not a number'),
        (":::MLLOG [1, 2]", 'not a JSON object with a "key"'),
        (":::MLLOG " + "[" * 100_000, ""),
        (":::MLL 12.5.6 seed: {}", "not a time in seconds"),
        (":::MLL seed", 'expected ":::MLL <seconds> <key>: {...}"'),
        (":::MLPv0.5.0 nonsense", 'expected ":::MLPv0.5.0'),
        (":::MLLOG {'key': __import__('os').system('true')}", "broken JSON"),
        (":::MLLOG " + "x" * 2_000_000, "longer than"),
    ],
)
def test_what_cannot_be_read_is_a_problem_with_a_cause(line, cause):
    problem = parse_line(line, 3)
    assert isinstance(problem, Problem)
    assert cause in problem.cause
    assert len(problem.text) <= 200


LOG = "\n".join(["hello", MLP, MLL, "noise \N{SNOWMAN}", ":::MLLOG {", MLLOG, MLP_EVAL])


@given(st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=60))
def test_chunks_of_any_size_give_the_same(sizes):
    parser, data, at, events = Parser(), LOG.encode(), 0, []
    for size in sizes:
        events += parser.feed(data[at : at + size])
        at += size
    events += parser.feed(data[at:])
    events += parser.close()
    whole, problems = parse(LOG)
    assert events == whole
    assert parser.problems == problems
    assert parser.line_count == 7


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(data):
    parser = Parser()
    parser.feed(b":::MLLOG " + data + b"\n:::MLL 1 " + data)
    parser.close()
    assert parser.line_count >= 2, "each line is read, whatever its bytes are"


def test_a_line_that_never_ends_does_not_fill_the_memory():
    parser = Parser()
    for _ in range(50):
        assert parser.feed("x" * 100_000) == []
    assert sum(map(len, parser._rest)) < 10
    assert parser.feed("\n" + MLL + "\n")[0].key == "eval_accuracy"
    assert parser.problem_count == 0, "other output is nobody's problem, however long"
