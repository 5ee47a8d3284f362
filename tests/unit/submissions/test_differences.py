"""Where two documents differ, and reading those that anybody may have changed."""

from __future__ import annotations

import pytest

from podium.mllog import Sightings
from podium.submissions.differences import (
    differences,
    mapping,
    number,
    read_sighting,
    read_sightings,
    read_status,
    shown,
)


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a", 1, 2)]),
        ({"a": None}, {}, []),
        ({}, {"a": None}, []),
        ({"a": 1}, {}, [("a", 1, None)]),
        ({}, {"a": 1}, [("a", None, 1)]),
        ({"b": 1, "a": 1}, {"b": 2, "a": 2}, [("a", 1, 2), ("b", 1, 2)]),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, [("a.b[1].c", 2, 3)]),
        ([1, 2], (1, 2), []),
        ([1, 2], [1], [("the length of ", 2, 1)]),
        ({"a": []}, {"a": [0]}, [("the length of a", 0, 1)]),
        ({"a": [1]}, {"a": 1}, [("a", [1], 1)]),
        ({"a": 1}, {"a": [1]}, [("a", 1, [1])]),
        ({"a": {}}, {"a": 1}, [("a", {}, 1)]),
        ({"a": 1}, {"a": {}}, [("a", 1, {})]),
        (dict.fromkeys("fedcba", 1), {}, [(key, 1, None) for key in "abcdef"]),
        ({"a": True}, {"a": 1}, [("a", True, 1)]),
        ({"a": 0}, {"a": False}, [("a", 0, False)]),
        ({"a": True}, {"a": True}, []),
        ({"a": 1}, {"a": 1.0}, []),
    ],
)
def test_where_two_values_differ(one, other, found):
    assert list(differences(one, other, "")) == found


def test_the_place_begins_where_it_is_asked_for():
    assert list(differences({"a": 1}, {"a": 2}, "score")) == [("score.a", 1, 2)]


@pytest.mark.parametrize(
    ("value", "found"), [(1, 1.0), (0.5, 0.5), (0, 0.0), (True, None), (False, None), ("1", None), (None, None)]
)
def test_a_number(value, found):
    assert number(value) == found
    assert number(value) is None or isinstance(number(value), float)


def test_what_is_no_object_is_an_empty_one():
    assert [mapping(value) for value in ({"a": 1}, [1], None, "a")] == [{"a": 1}, {}, {}, {}]


def test_a_line_of_which_no_stamp_was_kept_was_not_seen():
    full = {"logged": 1, "printed": 2, "received": 3, "maxDelaySeconds": 4, "observer": "a"}
    found = read_sighting("run_start", full)
    assert (found.key, found.stamp, found.printed, found.received, found.delay, found.observer) == (
        "run_start", 1.0, 2.0, 3.0, 4.0, "a",
    )  # fmt: skip
    assert read_sighting("run_start", {**full, "logged": "1"}) is None
    assert read_sighting("run_start", [1]) is None
    partial = read_sighting("run_start", {"logged": 0})
    assert (partial.stamp, partial.printed, partial.received) == (0.0, None, None)


def test_what_was_seen_of_a_log():
    one = {"logged": 1}
    seen = read_sightings({"runStart": one, "runStop": {"logged": 9}, "evaluations": [one, None, {"logged": 5}]})
    assert [(line.key, line.stamp) for line in seen] == [
        ("run_start", 1.0), ("eval_accuracy", 1.0), ("eval_accuracy", 5.0), ("run_stop", 9.0),
    ]  # fmt: skip
    assert read_sightings({"runStart": None, "evaluations": "none"}) == Sightings()


def test_a_try_in_another_form():
    document = {"index": 1, "try": 0, "state": "Converged", "seed": 5, "job": "mine-1"}
    assert read_status(document).seed == 5
    assert read_status({**document, "seed": "five"}) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "nothing"), (1.5, "1.5"), ("a", "'a'"), ("a" * 98, repr("a" * 98)), ("a" * 99, f"'{'a' * 99}...")],
)
def test_a_value_in_a_message(value, text):
    assert shown(value) == text
