"""Lines out of chunks of any size, and logs that are read again from any place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from podium.kube.log_lines import MAX_LINE, KnownLines, LineCutter, read_line

# a log: lines in order of their time, often several at the same time, some of them equal
LOGS = st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abc")), max_size=30).map(
    lambda lines: sorted((at * 400_000_000 + 10_000_000_000, text) for at, text in lines)
)


@given(LOGS, st.lists(st.integers(0, 30), max_size=6))
def test_connections_that_break_anywhere_deliver_every_line_once(log, breaks):
    known, taken = KnownLines(), []
    for end in [*sorted(breaks), len(log)]:
        since = int(known.since[-3:-1] or 0) * 1_000_000_000 if known.since else 0
        connection = known.connection()
        for number, (at, text) in enumerate(line for line in log[:end] if line[0] >= since):
            if key := connection.new(at, text, first=number == 0):
                known.take(key)
                taken.append((at, text))
    assert taken == log


@given(LOGS, st.randoms(use_true_random=False))
def test_two_connections_at_once_deliver_every_line_once(log, random):
    known, taken = KnownLines(), []
    readers = [(known.connection(), iter(log)) for _ in range(2)]
    while readers:
        reader = random.choice(readers)
        line = next(reader[1], None)
        if line is None:
            readers.remove(reader)
        elif key := reader[0].new(*line):
            known.take(key)
            taken.append(line)
    assert sorted(taken) == log


def test_a_million_lines_of_one_second_take_bounded_memory():
    known = KnownLines()
    connection = known.connection()
    for number in range(100_000):
        key = connection.new(10_000_000_000 + number, "text")
        known.take(key)
    assert known.count == 100_000
    assert len(known._taken) < 20_000
    assert len(connection._delivered) < 20_000


@given(st.binary(max_size=300), st.integers(1, 20))
def test_chunks_make_no_difference(text, size):
    cutter = LineCutter()
    lines = [line for at in range(0, len(text), size) for line in cutter.feed(text[at : at + size])]
    assert b"\n".join([*lines, bytes(cutter.rest)]) == text


def test_of_a_long_line_beginning_and_end_are_kept_in_bounded_memory():
    cutter = LineCutter()
    for _ in range(100):
        assert cutter.feed(b"x" * 100_000) == []
        assert len(cutter.rest) <= 2 * MAX_LINE + 100_000
    (line,) = cutter.feed(b" the end\n")
    assert len(line) < MAX_LINE + 100
    assert line.endswith(b"x the end")


def test_times_are_compared_across_zones():
    west, east = (
        read_line(b"2026-01-01T%b text" % rest) for rest in (b"02:00:00.1-01:00", b"11:00:00.100000000+08:00")
    )
    assert west.at == east.at
    assert read_line(b"no time") is None
