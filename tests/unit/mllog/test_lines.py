"""Lines of the three formats, of hostile programs, and in pieces."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.mllog import Event, Format, Parser, Problem, is_mlperf_line, parse, parse_line

MLLOG = ':::MLLOG {"time_ms": 1594790000500, "key": "eval_accuracy", "value": 0.5, "metadata": {"epoch_num": 4}}'
MLL = ':::MLL 1560888652.055 eval_accuracy: {"value": 0.762, "metadata": {"lineno": 980, "epoch_num": 60}}'
MLP = ':::MLPv0.5.0 resnet 1541728484.694621563 (/workspace/log_utils.py:49) eval_accuracy: {"epoch": 62, "value": 0.7522}'

GOOD = {
    "v0.7, milliseconds": (MLLOG, Format.MLLOG, 1594790000.5, "eval_accuracy", 0.5, {"epoch_num": 4}),
    "v0.6, seconds": (MLL, Format.MLL, 1560888652.055, "eval_accuracy", 0.762, {"lineno": 980, "epoch_num": 60}),
    "v0.5, value and epoch": (
        MLP, Format.MLP, 1541728484.694621563, "eval_accuracy", 0.7522,
        {"file": "/workspace/log_utils.py", "lineno": 49, "epoch_num": 62},
    ),
    "v0.5, no value": (
        ":::MLPv0.5.0 resnet 1541720383.5 (<string>:1) run_clear_caches", Format.MLP, 1541720383.5,
        "run_clear_caches", None, {"file": "<string>", "lineno": 1},
    ),
    "v0.5, run_stop reports success": (
        ':::MLPv0.5.0 gnmt 1541576397.25 (train.py:488) run_stop: {"success": false}', Format.MLP, 1541576397.25,
        "run_stop", {"success": False}, {"file": "train.py", "lineno": 488, "status": "aborted"},
    ),
    "v0.5, a value that is an object": (
        ':::MLPv0.5.0 resnet 1.5 (a.py:1) model_hp_batch_norm: {"momentum": 0.9}', Format.MLP, 1.5,
        "model_hp_batch_norm", {"momentum": 0.9}, {"file": "a.py", "lineno": 1},
    ),
    "v0.6, a value that is a string": (
        ':::MLL 1.5 eval_accuracy: {"value": "25.32", "metadata": {}}', Format.MLL, 1.5, "eval_accuracy", "25.32", {},
    ),
    "v0.6 MiniGo, a Python dict": (
        ":::MLL 1.5 eval_result: {'value': None, 'metadata': {'iteration': 19, 'timestamp': 1725.869}}",
        Format.MLL, 1.5, "eval_result", None, {"iteration": 19, "timestamp": 1725.869},
    ),
    "a Python dict inside JSON": (
        """:::MLL 1.5 eval_result: {"value": null, "metadata": {'ok': true, 'loss': -1}}""",
        Format.MLL, 1.5, "eval_result", None, {"ok": True, "loss": -1},
    ),
    "no event_type, no metadata": (
        ':::MLLOG {"time_ms": 1500, "key": "run_start", "value": null}', Format.MLLOG, 1.5, "run_start", None, {},
    ),
    "seconds in the format of v0.7": (
        ':::MLLOG {"metadata": {"epoch_num": 71}, "value": 0.759, "key": "eval_accuracy", "time_s": 1593422775.121}',
        Format.MLLOG, 1593422775.121, "eval_accuracy", 0.759, {"epoch_num": 71},
    ),
    "seconds and milliseconds": (
        ':::MLLOG {"time_s": 3, "time_ms": 1500, "key": "run_start"}', Format.MLLOG, 1.5, "run_start", None, {},
    ),
    "a rank before the token": (f"0: {MLL}", Format.MLL, 1560888652.055, "eval_accuracy", 0.762,
                                {"lineno": 980, "epoch_num": 60}),
    "colors": (f"\x1b[32m{MLLOG}\x1b[0m", Format.MLLOG, 1594790000.5, "eval_accuracy", 0.5, {"epoch_num": 4}),
    "a progress bar around it": (f" 50%|#####   \r{MLLOG}\r 51%|", Format.MLLOG, 1594790000.5, "eval_accuracy", 0.5,
                                 {"epoch_num": 4}),
    "Windows line end": (f"{MLLOG}\r\n", Format.MLLOG, 1594790000.5, "eval_accuracy", 0.5, {"epoch_num": 4}),
    "half a line of another process before it": (f":::MLLOG {{\"time_ms\": 15{MLLOG}", Format.MLLOG, 1594790000.5,
                                                 "eval_accuracy", 0.5, {"epoch_num": 4}),
    "the token within a string": (
        ':::MLLOG {"time_ms": 1500, "key": "note", "value": "see :::MLL 1"}', Format.MLLOG, 1.5, "note",
        "see :::MLL 1", {},
    ),
    "half a character": (':::MLLOG {"time_ms": 1500, "key": "note", "value": "\\ud800!"}', Format.MLLOG, 1.5, "note",
                         "?!", {}),
    "a whole one of two halves": (':::MLLOG {"time_ms": 1500, "key": "note", "value": "\\ud83d\\ude00"}', Format.MLLOG,
                                  1.5, "note", "\N{GRINNING FACE}", {}),
}  # fmt: skip


@pytest.mark.parametrize(("line", "format_", "time", "key", "value", "metadata"), GOOD.values(), ids=GOOD)
def test_a_line(line: str, format_: Format, time: float, key: str, value: object, metadata: object) -> None:
    event = parse_line(line, 7)
    assert isinstance(event, Event), event
    assert (event.format, event.time, event.key, event.value) == (format_, time, key, value)
    assert (event.metadata, event.line_number) == (metadata, 7)


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


BAD = {
    "cut off": (MLLOG[:-20], "broken JSON"),
    "no time": (':::MLLOG {"key": "run_start"}', '"time_ms" is not a number of milliseconds'),
    "time is a word": (':::MLLOG {"key": "run_start", "time_ms": "now"}', '"time_ms" is not a number of milliseconds'),
    "time is not a number": (':::MLLOG {"key": "run_start", "time_ms": NaN}', '"time_ms" is not a number of milliseconds'),
    "seconds are a word": (':::MLLOG {"key": "run_start", "time_s": "now"}', '"time_s" is not a number of seconds'),
    "time is endless": (':::MLLOG {"key": "run_start", "time_ms": 1e999}', '"time_ms" is not a number of milliseconds'),
    "time too large for a float": (
        f':::MLLOG {{"key": "run_start", "time_ms": 1{"0" * 400}}}', '"time_ms" is not a number of milliseconds'),
    "time of more digits than Python reads": (
        f':::MLLOG {{"key": "run_start", "time_ms": 1{"0" * 5000}}}', "broken JSON: Exceeds the limit"),
    "key is a number": (':::MLLOG {"key": 5, "time_ms": 1}', 'not a JSON object with a "key"'),
    "key is a novel": (f':::MLLOG {{"key": "{"k" * 201}", "time_ms": 1}}', '"key" is longer than 200 characters'),
    "a list": (":::MLLOG [1, 2]", 'not a JSON object with a "key"'),
    "nothing": (":::MLLOG", "broken JSON"),
    "two points in the time": (':::MLL 1.2.3 run_start: {"value": null}', "'1.2.3' is not a time in seconds"),
    "a year without a date": (f':::MLL 1{"0" * 400} run_start: {{"value": null}}', "is not a time in seconds"),
    "no key": (":::MLL 1.5", 'expected ":::MLL <seconds> <key>: {...}"'),
    "a number for an object": (":::MLL 1.5 run_start: 5", "the text after the key is not a JSON object"),
    "no source line": (":::MLPv0.5.0 resnet 1.5 run_start", 'expected ":::MLPv0.5.0 <benchmark> <seconds>'),
    "a source line of many digits": (f":::MLPv0.5.0 resnet 1.5 (a.py:{'9' * 5000}) run_start", "expected"),
    "nested": (f':::MLLOG {{"key": "k", "time_ms": 1, "value": {_nested(65)}}}', "nested deeper than 64 levels"),
    "a bomb": (f':::MLLOG {{"key": "k", "time_ms": 1, "value": {_nested(400_000)}}}', "nested deeper than 64 levels"),
    "a call": (""":::MLL 1.5 k: {'value': __import__('os').system('true')}""", "broken JSON"),
    "a long sum": (f":::MLL 1.5 k: {{'value': {'1+' * 30_000}1}}", "broken JSON"),
    "huge": (f':::MLLOG {{"key": "k", "time_ms": 1, "value": "{"x" * (1 << 20)}"}}', "longer than 1048576 characters"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "cause"), BAD.values(), ids=BAD)
def test_a_line_that_cannot_be_read(line: str, cause: str) -> None:
    problem = parse_line(f"rank 3: {line}", 7)
    assert isinstance(problem, Problem), problem
    assert cause in problem.cause
    assert problem.line_number == 7
    assert line.startswith(problem.text)
    assert len(problem.text) <= 200


@pytest.mark.parametrize("line", [
    "", "epoch 3 loss 0.4", "MLPerf: resnet [06/13/19 00:30:56], run_start", ":::ML", ":::MLFlow is not meant",
    "++ grep :::MLPerf result_0.txt",
])  # fmt: skip
def test_other_output_is_passed_over(line: str) -> None:
    assert parse_line(line) is None


def test_brackets_in_strings_are_not_nesting() -> None:
    text = json.dumps({"key": "submission_entry", "time_ms": 1, "value": '[{\\"' * 100})
    event = parse_line(f":::MLLOG {text}")
    assert isinstance(event, Event)


def test_is_mlperf_line() -> None:
    assert is_mlperf_line(f"0: {MLP}")
    assert not is_mlperf_line("loss 0.5")


def test_problems_are_counted_and_the_first_hundred_kept() -> None:
    parser = Parser()
    parser.feed(":::MLLOG {\n" * 250)
    assert (parser.problem_count, len(parser.problems), parser.line_count) == (250, 100, 250)
    assert parser.problems[99].line_number == 100


def test_broken_utf8_is_replaced() -> None:
    parser = Parser()
    events = parser.feed(b'\xff\xfe noise\n:::MLLOG {"time_ms": 1500, "key": "note", "value": "Zo\xc3')
    events += parser.feed(b'\xab \xff"}\n')
    assert [event.value for event in events] == ["Zoë �"]


def test_a_line_without_end_takes_bounded_memory() -> None:
    parser = Parser()
    for _ in range(100):
        parser.feed(":::MLLOG " + "x" * 100_000)
    assert sum(map(len, parser._rest)) < 3 << 20
    events = parser.feed(f"\n{MLLOG}\n")
    assert [event.line_number for event in events] == [2]
    assert [(problem.line_number, problem.cause) for problem in parser.problems] == [
        (1, "longer than 1048576 characters")
    ]


def test_a_progress_bar_without_newline_hides_nothing() -> None:
    parser = Parser()
    for step in range(30_000):
        parser.feed(f"\r{step:6d}/30000 |########################                  |")
    assert sum(map(len, parser._rest)) < 100
    assert [event.key for event in parser.feed(MLLOG + "\n")] == ["eval_accuracy"]


LOG = f"""starting

0: {MLP}
{MLL}\r
 10%|#\r 20%|##\r{MLLOG}\r 30%|
:::MLLOG {{"broken
\x1b[1m{MLLOG}\x1b[0m
{MLLOG}"""


@given(st.lists(st.integers(0, len(LOG.encode())), max_size=40), st.booleans())
def test_how_a_log_is_cut_makes_no_difference(cuts: list[int], as_text: bool) -> None:
    whole: str | bytes = LOG if as_text else LOG.encode()
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    parser = Parser()
    events = [event for a, b in itertools.pairwise(places) for event in parser.feed(whole[a:b])]
    events += parser.close()
    assert (events, parser.problems) == parse(LOG)
    assert [event.line_number for event in events] == [3, 4, 5, 7, 8]
    assert [problem.line_number for problem in parser.problems] == [6]


@given(st.text() | st.text(alphabet=":ML LOGPv0.5{}[]\"'key123,\n\r"))
def test_nothing_makes_it_fail(text: str) -> None:
    for start in ("", ":::MLLOG ", ":::MLLOG {", ":::MLL 1.5 key: ", ":::MLPv0.5.0 resnet 1.5 (a:1) key: "):
        parse(start + text)
        parse([start + text])
