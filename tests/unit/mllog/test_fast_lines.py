"""Lines of the usual form take a fast path through the parser, which produces the same events."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.mllog import Event, Problem, parse, parse_line

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.integers(0, 10**14), st.text(max_size=20), JSON, st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_the_order_of_the_keys_makes_no_difference(time, key, value, metadata):
    body = {
        "namespace": "",
        "time_ms": time,
        "event_type": "POINT_IN_TIME",
        "key": key,
        "value": value,
        "metadata": metadata,
    }
    usual = parse_line(":::MLLOG " + json.dumps(body))
    other = parse_line(":::MLLOG " + json.dumps(dict(reversed(body.items()))))
    assert isinstance(usual, Event)
    assert usual == other
    assert (usual.time, usual.key, usual.metadata) == (time / 1000, key, metadata)


@pytest.mark.parametrize(
    "rest",
    [
        '"key": "a", "value": 1, "time_ms": 7000, "metadata": {}}',
        '"key": "a", "value": {"time_ms": 7000}, "metadata": {}}',
        '"key": 5}', '"value": 1}', '"key": "a"', '"key": "a"} x', '"key": "' + "k" * 201 + '"}', '"',
        "\"key\": 'a'}", '"key": "\\ud800"}',
    ],
)  # fmt: skip
def test_odd_ends_are_read_as_json_reads_them(rest):
    """The short way cuts the line after its time; what a JSON reader makes of the whole has to come out."""
    start = '{"namespace": "", "time_ms": 5000, '
    short, whole = parse_line(f":::MLLOG {start}{rest}"), parse_line(f":::MLLOG  {start}{rest}")
    assert type(short) is type(whole)
    if isinstance(short, Event):
        assert short == whole
    else:
        assert isinstance(short, Problem)


@pytest.mark.parametrize("seconds", ["1e5", "1_0", "nan", "+5", "-5", "", "inf", "1.2.3", "9" * 30])
def test_seconds_are_digits_with_a_point(seconds):
    assert isinstance(parse_line(f":::MLL {seconds} run_start: {{}}"), Problem)


def test_lines_that_differ_in_their_time_only_have_each_their_own():
    lines = [f':::MLL {n}.5 epoch_start: {{"value": null, "metadata": {{"epoch_num": {n % 2}}}}}' for n in range(3000)]
    events, problems = parse("\n".join(lines))
    assert problems == []
    assert [(e.time, e.metadata["epoch_num"], e.line_number) for e in events] == [
        (n + 0.5, n % 2, n + 1) for n in range(3000)
    ]
