"""What is sent of a status, and when it cannot wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.api import AttemptState
from podium.controller.status_writer import merge_patch, significant
from podium.reconcile import decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex

leaves = st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
documents = st.dictionaries(st.sampled_from("abc"), leaves | st.dictionaries(st.sampled_from("xyz"), leaves))


def applied(old, patch):
    """RFC 7386, as the API server does it."""
    new = dict(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, dict):
            new[key] = applied(new[key] if isinstance(new.get(key), dict) else {}, value)
        else:
            new[key] = value
    return new


@given(documents, documents)
def test_a_patch_makes_the_new_of_the_old(old, new):
    assert applied(old, merge_patch(old, new)) == new
    assert merge_patch(new, new) == {}


def status(containers, log):
    run = ex.run(ex.status(ex.attempt()))
    return decide(run, ex.observed(ex.job(*containers), log), load_rounds(), ex.T0 + 70).status


PENDING = status([], ex.log())
STARTING = status([ex.running(0), ex.running(1)], ex.log((12, "init_start", None)))
TRAINING = status([ex.running(0), ex.running(1)], ex.log(ex.START))
EVALUATED = status([ex.running(0), ex.running(1)], ex.log(ex.START, ex.BAD))


@pytest.mark.parametrize(
    ("before", "after", "urgent"),
    [(PENDING, STARTING, False), (STARTING, TRAINING, True), (TRAINING, EVALUATED, False), (PENDING, TRAINING, True)],
)
def test_transitions_are_urgent_and_progress_is_not(before, after, urgent):
    assert before != after
    assert (significant(before) != significant(after)) is urgent


def test_the_states_are_what_they_seem():
    states = [s.attempts[0].state for s in (PENDING, STARTING, TRAINING, EVALUATED)]
    assert states == [AttemptState.PENDING, AttemptState.INITIALIZING, AttemptState.TRAINING, AttemptState.TRAINING]
