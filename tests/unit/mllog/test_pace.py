"""The steady pace: the median over blocks, without the first one and evaluations."""

from __future__ import annotations

import pytest

from podium.mllog import Event, Format, Pace, steady_pace, summarize


def log(*lines):
    """`lines` are (seconds, key, metadata)."""
    return summarize(Event(Format.MLLOG, 1000.0 + at, key, None, metadata, 0) for at, key, metadata in lines)


def evaluation(start, stop, **position):
    return [(start, "eval_start", position), (stop, "eval_stop", position)]


def test_the_first_block_and_evaluations_do_not_count():
    lines = [(0, "run_start", {}), *evaluation(900, 905, samples_count=100)]
    for number in range(1, 4):
        lines += evaluation(905 + 55 * number - 5, 905 + 55 * number, samples_count=100 * (number + 1))
    assert steady_pace(log(*lines)) == Pace(0.5, "sample", 3)


def test_a_slow_block_does_not_move_the_median():
    stops = [10, 20, 30, 95, 105]
    lines = [(0, "run_start", {})]
    for number, stop in enumerate(stops, 1):
        lines += evaluation(stop, stop, epoch_num=number)
    assert steady_pace(log(*lines)) == Pace(10.0, "epoch", 4)


@pytest.mark.parametrize("count", [0, 1])
def test_it_takes_two_blocks(count):
    lines = [(0, "run_start", {}), *(evaluation(10, 11, samples_count=5) * count)]
    assert steady_pace(log(*lines)) is None


def test_an_epoch_may_begin_while_other_processes_evaluate():
    """RetinaNet of v5.1: the time from the end of an evaluation to the next one is not that of an epoch."""
    lines = [(0, "run_start", {}), (0, "epoch_start", {"epoch_num": 0})]
    for number in range(1, 4):
        at = 100 * number
        lines += [(at, "eval_start", {"epoch_num": number}), (at + 1, "epoch_start", {"epoch_num": number})]
        lines += [(at + 31, "eval_accuracy", {"epoch_num": number}), (at + 31, "eval_stop", {"epoch_num": number})]
    assert steady_pace(log(*lines)) == Pace(99.0, "epoch", 2)
