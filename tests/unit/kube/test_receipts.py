"""When lines were received, and how late at most."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from podium.kube import receipts


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(wall=1_795_000_000.0, steady=50.0)

    def passes(seconds, step=0.0):
        now.steady += seconds
        now.wall += seconds + step

    now.passes = passes
    monkeypatch.setattr(receipts, "time", SimpleNamespace(time=lambda: now.wall, monotonic=lambda: now.steady))
    return now


def of(receipt):
    """Seconds since the beginning, and the delay."""
    received, _, delay = receipt.partition(":")[2].partition("+")
    return round(float(received) - 1_795_000_000, 3), float(delay) if delay else None


def test_nobody_knows_the_age_of_what_is_there_at_the_start(clock):
    stream = receipts.Receipts()
    clock.passes(3)
    assert of(stream.arrived()) == (3, None)
    stream.wait()
    clock.passes(0.01)
    assert of(stream.arrived()) == (3.01, None)  # the rest of it


def test_a_line_is_no_older_than_the_time_at_which_the_pipe_was_empty(clock):
    stream = receipts.Receipts()
    stream.wait()
    clock.passes(60)
    assert of(stream.arrived()) == (60, 60)
    stream.wait()
    clock.passes(0.2)
    assert of(stream.arrived()) == (60.2, 0.2)
    stream.wait()
    clock.passes(0.01)
    assert of(stream.arrived()) == (60.21, 0.21)  # printed together with the one before


def test_a_read_to_the_present_says_as_much(clock):
    stream = receipts.Receipts()
    began = stream.now()
    clock.passes(1)
    assert of(stream.receipt()) == (1, None)
    stream.complete_until(began)
    clock.passes(1)
    assert of(stream.receipt()) == (2, 2)


def test_the_clock_of_the_operator_may_step(clock):
    stream = receipts.Receipts()
    stream.complete_until(stream.now())
    clock.passes(5, step=-3600)
    assert of(stream.receipt()) == (5, 5)
