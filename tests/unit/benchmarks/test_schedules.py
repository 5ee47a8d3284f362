"""Learning rates as tables: step, rate."""

import pytest

from podium_benchmarks.core import schedules


@pytest.mark.parametrize(
    ("batch", "rate"),
    # The rules' warm-up: at batch b (from 1) of wb = 5, r0 - (wb - b) * r0 / wb, with r0 = 1
    [(1, 0.2), (2, 0.4), (4, 0.8), (5, 1.0), (6, 1.0), (100, 1.0)],
)
def test_warmup_is_the_rules_line(batch, rate):
    assert schedules.linear_warmup(batch - 1, 5) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.128), (4, 0.64), (5, 0.64), (29, 0.64), (30, 0.064), (60, 6.4e-3), (80, 6.4e-4)]
)
def test_resnet_sgd_of_the_reference(step, rate):
    """One step per epoch: x 0.1 at 30, 60 and 80."""
    assert schedules.step_decay(step, base=0.64, warmup_steps=5, boundaries=(30, 60, 80)) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 2.0), (4, 10.0), (5, 9.763325), (46, 2.500075), (87, 0.001517), (88, 1e-4), (200, 1e-4)]
)
def test_resnet_polynomial(step, rate):
    """Power 2 from 10 to 1e-4 in the 84 steps after 5 of warm-up; half-way a quarter of the way is left."""
    found = schedules.polynomial(step, base=10.0, end=1e-4, warmup_steps=5, decay_steps=84, power=2.0)
    assert found == pytest.approx(rate, abs=1e-6)


def test_no_warmup():
    assert schedules.linear_warmup(0, 0) == 1.0
