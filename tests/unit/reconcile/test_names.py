"""The names of a run's objects: valid, the same every time, and nobody else's."""

from __future__ import annotations

import itertools

import pytest

from podium.api import TryId
from podium.api.spec import MAX_ATTEMPTS, MAX_NAME_LENGTH, MAX_NODES
from podium.reconcile import job_name, object_name

LAST = TryId(attempt=MAX_ATTEMPTS, number=9999)
LONG = "a" * MAX_NAME_LENGTH


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("redis", "podium-redis"),
        ("a" * 42, "podium-" + "a" * 42),
        ("a" * 43, "podium-" + "a" * 34 + "-66d34fb"),
    ],
)
def test_names_have_a_prefix(run, name):
    assert object_name(run) == name
    assert job_name(run, TryId(attempt=2, number=1)) == f"{name}-2-1"


@pytest.mark.parametrize("length", range(1, MAX_NAME_LENGTH + 1))
def test_the_hostname_of_the_last_pod_fits_into_a_dns_label(length):
    hostname = f"{job_name(LONG[:length], LAST)}-{MAX_NODES - 1}"
    assert len(hostname) <= 63
    assert hostname[0].isalpha()


def test_long_names_that_differ_at_the_end_differ():
    names = [LONG[:-1] + letter for letter in "abc"] + [LONG[:42], LONG[:43]]
    assert len({object_name(name) for name in names}) == len(names)


def test_no_two_tries_of_two_runs_share_a_name():
    """A run called "x-1" must not own the Jobs of the second attempt of "x"."""
    runs = ["x", "x-1", "x-1-0"]
    tries = [TryId(attempt=a, number=n) for a, n in itertools.product((1, 2), (0, 1))]
    names = [job_name(run, id_) for run in runs for id_ in tries]
    assert len(set(names)) == len(names)
