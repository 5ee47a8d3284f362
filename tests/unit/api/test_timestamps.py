"""Times in RFC 3339 and in unix seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.api import rfc3339, unix_seconds


def test_a_time_is_written_in_utc():
    assert rfc3339(1_700_000_000.987) == "2023-11-14T22:13:20Z"
    assert rfc3339(1_700_000_000.987, milliseconds=True) == "2023-11-14T22:13:20.987Z"


@pytest.mark.parametrize("text", ["2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00", "2023-11-14T22:13:20"])
def test_a_time_is_read_whatever_its_zone(text):
    assert unix_seconds(text) == 1_700_000_000


@given(st.integers(0, 4_000_000_000_000))
def test_milliseconds_survive(milliseconds):
    assert round(unix_seconds(rfc3339(milliseconds / 1000, milliseconds=True)) * 1000) in (
        milliseconds - 1,  # cut off, not rounded
        milliseconds,
    )


def test_other_texts_are_refused():
    with pytest.raises(ValueError, match="yesterday"):
        unix_seconds("yesterday")
