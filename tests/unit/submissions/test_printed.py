"""A stored log against the log of its pod: what was taken out of either, put in, moved, or printed at another time."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime

import pytest

from podium.mllog import Sighting, Sightings
from podium.rules.clock import STEP_SECONDS
from podium.submissions import printed as module
from podium.submissions.printed import Known, compare_logs
from tests.unit.cli.logs import START, mllog
from tests.unit.submissions.test_ledgers import Files

A, B, C, D = (
    mllog("seed", 7, -1), mllog("run_start", None, 0), mllog("eval_accuracy", 0.5, 30), mllog("run_stop", None, 61)
)  # fmt: skip
AT = {A: -1.0, B: 0.0, C: 30.0, D: 61.0}  # when each is printed, in seconds after START


def row(line, at=None):
    """A row as the kubelet gives it."""
    time = datetime.fromtimestamp(START + (AT[line] if at is None else at), UTC)
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}Z {line}"


def rows(*lines):
    return [row(line) for line in lines]


def compared(pod, stored, known=None, packed=None):
    text = "".join(f"{each}\n" for each in pod).encode()
    files = {"pod.gz": gzip.compress(text) if packed is None else packed, "result.txt": "\n".join(stored).encode()}
    return list(compare_logs(Files(files), "pod.gz", "result.txt", known or Known(START - 5)))


MISSING = "{} MLPerf lines that the pod printed are not in result.txt, such as"
ADDED = "{} lines of result.txt are not among what the pod printed, such as"
ORDER = "has the lines of result.txt in another order"
ROTATED, NOT_ROTATED, CUT = Known(START - 30.1), Known(START - 29.9), Known(START - 5, cut=True)
LEFT_OUT = "[podium: 5 lines were left out]"

ROWS = {
    "the same": (rows(A, B, C, D), [A, B, C, D], None, []),
    "the same, among other output": (["hello", row("x", 5), *rows(A, B), "  ", *rows(C, D)], [A, B, C, D], None, []),
    "a pod's log that its node no longer had": ([], [A, B, C, D], None, []),
    "a line taken out": (rows(A, B, C, D), [A, B, D], None, [MISSING.format(1)]),
    "a line put in": (rows(A, B, D), [A, B, C, D], None, [ADDED.format(1)]),
    "a line changed": (rows(A, B, C, D), [A, B, C.replace("0.5", "0.9"), D], None, [MISSING.format(1), ADDED.format(1)]),
    "a line twice": (rows(A, B, C, D), [A, B, C, C, D], None, [ADDED.format(1)]),
    "two lines changed places": (rows(A, B, C, D), [A, C, B, D], None, [ORDER]),
    "lines out of order where the clock was set back": (
        [row(A), row(C, 30), row(B, 28.9), row(D)], [A, B, C, D], None, []
    ),
    "lines out of order by less than a second": (
        [row(A), row(C, 30), row(B, 29.1), row(D)], [A, B, C, D], None, [ORDER]
    ),
    # the node rotates the beginning away
    "a beginning that was rotated away": (rows(B, C, D), [A, B, C, D], ROTATED, []),
    "another order behind a beginning that was rotated away": (
        [row(B), row(D), row(C, 62)], [A, B, C, D], ROTATED, [ORDER]
    ),
    "all lines rotated away": ([row("x", 70)], [A, B, C, D], ROTATED, []),
    "a beginning that was not": (rows(B, C, D), [A, B, C, D], NOT_ROTATED, [ADDED.format(1)]),
    "a beginning, if the start is not known": (rows(B, C, D), [A, B, C, D], Known(), []),
    "a beginning without times": ([B, C, D], [A, B, C, D], Known(), [ADDED.format(1)]),
    "a line behind the beginning": (rows(B, D), [A, B, C, D], ROTATED, [ADDED.format(1)]),
    # the operator leaves out the middle of a long one
    "a middle that was left out": ([row(A), LEFT_OUT, row(D)], [A, B, C, D], None, []),
    "a line taken out beside it": ([row(A), LEFT_OUT, row(D)], [A, B, C], None, [MISSING.format(1)]),
    # the operator may have read less than the pod printed
    "an end that was not read": (rows(A, B, C, D), [A, B], CUT, []),
    "a line before the last one that was read": (rows(A, B, C, D), [A, B, D], CUT, [MISSING.format(1)]),
    "lines of one that was cut, in another order": (rows(A, B, C, D), [B, A], CUT, []),
}  # fmt: skip


@pytest.mark.parametrize(("pod", "stored", "known", "messages"), ROWS.values(), ids=ROWS)
def test_what_a_pod_printed(pod, stored, known, messages):
    found = compared(pod, stored, known)
    assert len(found) == len(messages), found
    assert all(text.startswith(start) for text, start in zip(found, messages, strict=True)), found


def test_a_long_line_is_quoted_in_part():
    long = mllog("seed", "7" * 200, -1)
    (message,) = compared(rows(B), [long, B], NOT_ROTATED)
    assert message.endswith(f"such as {f'{long[:160]}...'!r}")


WHOLE = gzip.compress("".join(f"{each}\n" for each in rows(A, B, C, D)).encode())


@pytest.mark.parametrize(
    ("packed", "message"),
    [(b"hello", "cannot be read: "), (b"", "cannot be read: it ends in the middle"),
     (WHOLE[:-9], "cannot be read: it ends in the middle")],
)  # fmt: skip
def test_a_pods_log_that_is_none(packed, message):
    (found,) = compared([], [A], packed=packed)
    assert found.startswith(message)


def test_a_pods_log_is_unpacked_up_to_a_limit(monkeypatch):
    size = len(gzip.decompress(WHOLE))
    monkeypatch.setattr(module, "_LIMIT", size)
    assert compared([], [A, B, C, D], packed=WHOLE) == []
    monkeypatch.setattr(module, "_LIMIT", size - 1)
    assert compared([], [A, B, C, D], packed=WHOLE) == ["cannot be read: unpacked, it is larger than 0 MiB"]


# ---- when the lines were printed ----


def seen(key, at, printed, received):
    return Sighting(key, START + at, printed and START + printed, received and START + received, 0.2, "a")


def sightings(*, start=(0.0001, 0.1), stop=None, evaluation=(30, 30.1)):
    starts = (seen("run_start", 0, *start),) if start else ()
    return Sightings(starts, (seen("run_stop", 61, *stop),) if stop else (), (seen("eval_accuracy", 30, *evaluation),))


@pytest.mark.parametrize(
    ("evaluation", "messages"),
    [
        ((30.0, 30.1), []),
        ((30.0015, 30.1), []),
        ((30.003, 30.1), [f"eval_accuracy was printed at {START + 30:.3f} here, at {START + 30.003:.3f} by what attempt"]),
        ((None, None), []),
    ],
)  # fmt: skip
def test_the_time_of_a_row_is_the_one_that_was_seen(evaluation, messages):
    known = Known(START - 5, sightings(evaluation=evaluation))
    found = compared(rows(A, B, C, D), [A, B, C, D], known)
    assert len(found) == len(messages), found
    assert all(text.startswith(start) for text, start in zip(found, messages, strict=True)), found
    assert compared([*rows(A, B, C), row(C, 30.003), row(D)], [A, B, C, C, D], known) == []
    assert compared([row(A), row(B), LEFT_OUT, row(D)], [A, B, C, D], known) == [], "it may have been left out"


ON_TIME = 0.1 + STEP_SECONDS  # run_start was received after 0.1 s


@pytest.mark.parametrize(
    ("start", "stop", "evaluation", "messages"),
    [
        ((0.0001, 0.1), None, (30, 30 + ON_TIME - 0.01), []),
        ((0.0001, 0.1), None, (30, 30 + ON_TIME + 0.1), ["eval_accuracy was received"]),
        ((0.0001, 0.1), None, (30, 30 + 0.1 - STEP_SECONDS + 0.01), []),
        ((0.0001, 0.1), None, (30, 30 + 0.1 - STEP_SECONDS - 0.1), ["eval_accuracy was received"]),
        ((0.0001, 0.1), None, (30, None), []),
        # the clock was set once while it ran: lines before and after differ
        ((0.0001, 0.1), (61, 71.1), (30, 30.1), []),
        ((0.0001, 0.1), (61, 71.1), (30, 40.1), []),
        ((0.0001, 0.1), (61, 71.1), (30, 30 + 10.1 + STEP_SECONDS + 0.1), ["eval_accuracy was received"]),
        # there is nothing to compare it with
        (None, None, (30, 60), []),
        ((0.0001, None), None, (30, 60), []),
        ((None, 0.1), None, (30, 60), []),
    ],
)
def test_a_local_run_receives_lines_as_they_are_printed(start, stop, evaluation, messages):
    """Rows without times; with them, the kubelet may hold lines up."""
    known = Known(START - 5, sightings(start=start, stop=stop, evaluation=evaluation))
    found = compared([A, B, C, D], [A, B, C, D], known)
    assert len(found) == len(messages), found
    assert all(text.startswith(begins) for text, begins in zip(found, messages, strict=True)), found


def test_lines_that_are_not_there_were_not_received_late():
    """The node had rotated them away, or they are named as missing."""
    late = Known(START - 5, sightings(evaluation=(30, 60)))
    assert compared([row(A), row(B), LEFT_OUT, row(D)], [A, B, C, D], late) == []
    (message,) = compared(["hello"], [A], late)
    assert message.startswith(ADDED.format(1))
