"""How long to wait before a request is repeated."""

from __future__ import annotations

import pytest

from podium.kube import backoff


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.0), (1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (6, 10.0), (2000, 10.0)]
)
def test_waits_double_up_to_a_limit(failures, seconds):
    assert backoff(failures, first=0.5, limit=10.0) == seconds
