"""A reason is one member: its text, its state and its conditions are there, and everything that shows reasons shows it."""

from __future__ import annotations

import ast
import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tools.docs import reasons as docs

import podium
from podium.api import AttemptState, AttemptStatus, Condition, ConditionType, Reason
from podium.cli.display import print_result
from podium.cli.watch.events import events
from podium.metrics.operator import Metrics
from podium.reconcile import Emit
from tests.unit.reconcile import examples as ex

ALL = pytest.mark.parametrize("reason", Reason)


def made_up(word: str, like: Reason) -> Reason:
    """A reason that is not there, said of what `like` is said of."""
    member = str.__new__(Reason, word)
    member.__dict__.update(like.__dict__ | {"_value_": word, "means": f"{word} means this.", "do": f"Do {word}."})
    return member


@ALL
def test_every_reason_says_what_it_means_and_what_to_do(reason):
    assert re.fullmatch(r"([A-Z]+[a-z]+)+[A-Za-z]*", reason)
    for sentence in (reason.means, reason.do):
        assert re.match(r"[A-Za-z].*[.\"]$", sentence), (reason, sentence)
    assert reason.state or reason.true or reason.false or reason.event
    assert reason.state is None or len(reason) <= AttemptStatus.model_fields["reason"].metadata[0].max_length


def test_every_state_has_its_reasons():
    assert {reason.state for reason in Reason if reason.state} == set(AttemptState) - {
        AttemptState.INITIALIZING,  # nothing is wrong or waited for
        AttemptState.TRAINING,
    }
    for state in AttemptState:
        kinds = Reason[state.name].true + Reason[state.name].false
        assert ConditionType.RUNNING in kinds
        if state.finished:
            assert Reason[f"ATTEMPT_{state.name}"].event == ("Normal" if state.succeeded else "Warning")


def test_every_condition_has_reasons_for_both_of_its_values():
    for kind in ConditionType:
        assert any(kind in reason.true for reason in Reason)
        assert any(kind in reason.false for reason in Reason)


@pytest.mark.parametrize("reason", [*Reason, made_up("MoonIsFull", Reason.POD_LOST), made_up("Eclipse", Reason.STORED)])
def test_the_page_explains_every_reason_wherever_it_is_said(reason):
    rows = [
        line for line in docs.page([reason]).splitlines() if f"| `{reason}` |" in line and docs.plain(reason.do) in line
    ]
    places = [reason.state, *reason.true, *reason.false, reason.event]
    assert len(rows) == sum(place is not None for place in places)
    assert all(docs.plain(reason.means) in row for row in rows)


@pytest.mark.parametrize("reason", [reason for reason in Reason if ConditionType.FAILED in reason.true])
def test_the_metrics_count_runs_by_each_reason_of_failure(reason, monkeypatch):
    monkeypatch.setattr("podium.metrics.operator._PAGE_SECONDS", 0.0)  # every scrape gets a new page
    run = ex.run()
    metrics = Metrics(lambda: (), lambda: 0)
    metrics.occupied(run, [], 0)
    labels = f'podium_runs_finished_total{{benchmark="resnet",namespace="lab",result="{reason}"}}'
    assert f"{labels} 0.0" in asyncio.run(metrics.page()).decode()
    metrics.moved(run.status, replace(run, status=failed(reason)), ex.observed(), 0)
    assert f"{labels} 1.0" in asyncio.run(metrics.page()).decode()


def failed(reason, *attempts):
    end = Condition(
        type="Failed", status="True", reason=reason, message="why", last_transition_time="2026-01-01T00:00:00Z"
    )
    return ex.status(*attempts).model_copy(update={"conditions": (end,)})


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.state and reason.state.finished])
def test_the_result_on_screen_ends_with_what_to_do(reason):
    attempt = ex.attempt(1, reason.state, reason=reason.value, message="why")
    console = Console(record=True, width=400)
    print_result(console, replace(ex.run(), status=failed(Reason.ATTEMPT_FAILED, attempt)), "")
    text = console.export_text()
    if reason.state.succeeded:
        assert f"What to do: {Reason.ATTEMPT_FAILED.do}" in text
    else:
        assert reason in text
        assert f"What to do: {reason.do}" in text


@ALL
def test_watching_shows_every_reason_that_is_not_routine(reason):
    for kind, value in [*((kind, "True") for kind in reason.true), *((kind, "False") for kind in reason.false)]:
        condition = Condition(type=kind, status=value, reason=reason, message="why", last_transition_time="")
        lines = events(ex.status(), ex.status().model_copy(update={"conditions": (condition,)}))
        if kind is ConditionType.COMPLETE:  # its line has the score
            assert lines == (["Complete"] if value == "True" else [])
            continue
        is_shown = value == "True" if kind is ConditionType.FAILED else not reason.routine
        if kind is ConditionType.RUNNING:  # what it repeats of the attempt has a line already
            is_shown = value == "False" and not reason.routine and reason.state is None
        assert lines == ([f"{kind}: {reason}: why"] if is_shown else []), (kind, value)


def test_only_reasons_of_events_become_events():
    assert Emit(Reason.RESULT_INVALID, "why").type == "Warning"
    with pytest.raises(AssertionError, match="Storing is not an Event reason"):
        _ = Emit(Reason.STORING, "why").type


def test_reasons_are_written_in_one_module_only():
    """Everywhere else they are members of Reason: neither `reason=` nor a comparison holds a text."""
    words = {reason.value for reason in Reason if len(re.findall("[A-Z]", reason)) > 1}
    folder = Path(podium.__path__[0])
    packages = ("reconcile", "controller", "local", "metrics", "cli", "rules", "submissions", "report")
    for file in (file for name in packages for file in sorted((folder / name).rglob("*.py"))):
        for node in ast.walk(ast.parse(file.read_text())):
            place = f"{file.relative_to(folder)}:{getattr(node, 'lineno', 0)}"
            assert not (isinstance(node, ast.Constant) and node.value in words), f"{place}: {node.value}"
            if isinstance(node, ast.Call):
                texts = [k.value for k in node.keywords if k.arg == "reason"]
                assert not any(isinstance(text, ast.Constant | ast.JoinedStr) for text in texts), place
