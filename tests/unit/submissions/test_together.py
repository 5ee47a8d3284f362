"""Logs of one result against each other: copies, and attempts that train faster than the others, from both sides of
each bound."""

from __future__ import annotations

import pytest

from podium.mllog import Evaluation, LogSummary, Segment
from podium.rounds import Published
from podium.submissions.together import copies, copies_elsewhere, uneven_pace
from podium.submissions.tree import Log

ROW = (0.31, 0.42, 0.53, 0.64)


def log(values, *, name="one", epochs=None, benchmark="resnet"):
    """A log with these evaluations, one an epoch."""
    epochs = range(1, len(values) + 1) if epochs is None else epochs
    evaluations = (Evaluation(0.0, epoch, {"top1": value}, None) for epoch, value in zip(epochs, values, strict=True))
    return Log(name, 0, LogSummary(benchmark=benchmark, evaluations=tuple(evaluations)))


def moved(values, by):
    """The last value is another one."""
    return (*values[:-1], values[-1] + by)


UNKNOWN = [None] * 4
LARGE = tuple(100 * value for value in ROW)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        # noise that hides a copy
        (log(ROW), log(ROW), True),
        (log(ROW), log(moved(ROW, 4.9e-5)), True),
        (log(ROW), log(moved(ROW, -4.9e-5)), True),
        (log(ROW), log(moved(ROW, 5.1e-5)), False),
        (log(LARGE), log(moved(LARGE, 0.0031)), True),  # relative to large values
        (log(LARGE), log(moved(LARGE, 0.0033)), False),
        # a few come close by chance, so that they have to be equal
        (log(ROW[:3]), log(ROW[:3]), True),
        (log(ROW[:3]), log(moved(ROW[:3], 1e-6)), False),
        (log(ROW[:3]), log((ROW[0] + 1e-6, *ROW[1:3])), False),
        (log(ROW[:2]), log(ROW[:2]), False),
        # at other points, or at some of them only
        (log(ROW), log(ROW, epochs=[2, 3, 4, 5]), True),
        (log(ROW), log(ROW[:3]), True),
        (log(ROW[:3]), log(ROW), True),
        (log(ROW), log((ROW[0], 0.8, 0.9), epochs=[1, 8, 9]), False),
        (log(ROW), log(ROW[1:], epochs=[2, 3, 4]), True),
        (log((*ROW, 0.7)), log(ROW[:3], epochs=[2, 3, 4]), False),
        (log((*ROW, 0.7)), log((*ROW[:3], 0.9, 0.7), epochs=[1, 2, 3, 4, 6]), False),
        # where no points are logged, in their order
        (log(ROW, epochs=UNKNOWN), log(ROW, epochs=UNKNOWN), True),
        (log(ROW, epochs=UNKNOWN), log(ROW[::-1], epochs=UNKNOWN), False),
        (log(ROW, epochs=[1, 1, 2, 2]), log(ROW, epochs=[1, 1, 2, 2]), True),  # two results of one point
        (log(ROW, epochs=[1, 1, 2, 2]), log((0.5, *ROW[1:]), epochs=[1, 1, 2, 2]), False),
    ],
)
def test_copies_within_a_result(one, other, same):
    found = list(copies([one, Log("other", 1, other.summary)]))
    assert [finding.field for finding in found] == ["other"] * same
    assert all("are the same as in one" in finding.message for finding in found)


def test_a_copy_is_named_once_and_so_is_each_copy_of_it():
    logs = [log(ROW, name="a"), log((0.1, *ROW[1:]), name="b"), log(ROW, name="c"), log(ROW, name="d")]
    found = [(finding.field, finding.message.rpartition(" ")[2]) for finding in copies(logs)]
    assert found == [("c", "a"), ("d", "a")]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (log(ROW), True),
        (log(moved(ROW, 1.9e-5)), True),
        (log(moved(ROW, 2.1e-5)), False),  # there are more results than attempts, so more come close by chance
        (log(ROW[:3]), False),
        (log((*ROW, 0.7)), False),
        (log(ROW, benchmark="ssd"), False),
    ],
)
def test_copies_from_another_result(other, same):
    found = list(copies_elsewhere([[log(ROW)], [Log("other", 0, other.summary)]]))
    assert [finding.field for finding in found] == ["other"] * same
    assert all("the same as in one, of another result" in finding.message for finding in found)


def test_copies_within_a_result_are_not_named_as_those_of_another():
    assert list(copies_elsewhere([[log(ROW), log(ROW)]])) == []


def paced(*seconds):
    return [
        Log(f"{n}", n, LogSummary(segments=(Segment(2.0, False, each, 1.0, None),))) for n, each in enumerate(seconds)
    ]


@pytest.mark.parametrize(
    ("logs", "bound", "named"),
    [
        (paced(10, 10, 9), 0.9, []),
        (paced(10, 10, 8.9), 0.9, ["2"]),
        (paced(8.9, 10, 8.9, 10, 10), 0.9, ["0", "2"]),
        (paced(10, 10, 30), 0.9, []),  # a slow one wins nothing
        (paced(10, 5), 0.9, []),  # of two, nobody knows which is right
        ([*paced(10, 5), log(ROW)], 0.9, []),
        (paced(10, 10, 5), None, []),
    ],
)
def test_an_attempt_that_trains_faster_than_the_others(logs, bound, named):
    assert [finding.field for finding in uneven_pace(logs, Published(run=bound))] == named
    assert list(uneven_pace(logs, None)) == []
