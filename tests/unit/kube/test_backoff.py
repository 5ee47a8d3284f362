"""How long to wait before a request is repeated."""

from __future__ import annotations

import pytest

from podium.kube.backoff import WatchPace, backoff


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.0), (1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (6, 10.0), (2000, 10.0)]
)
def test_waits_double_up_to_a_limit(failures, seconds):
    assert backoff(failures, first=0.5, limit=10.0) == seconds


def test_a_watch_that_ends_at_once_is_reopened_later_and_later(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    pace, waits = WatchPace(first=1.0, limit=8.0), []
    for _ in range(6):
        pace.opened()
        waits.append(pace.ended())
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    pace.opened()
    pace.delivered()
    assert pace.ended() == 1.0  # it works, but somebody cuts it: not at once, but soon
    pace.opened()
    now += 240.0
    assert pace.ended() == 0.0  # the API server ends every watch after a while
    assert [pace.ended(failed=True), pace.ended(failed=True)] == [1.0, 2.0]
