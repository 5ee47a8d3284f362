"""What MLCommons' checker says, as findings."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from podium.mlcommons import checker
from podium.mlcommons.process import Ruleset


@pytest.mark.parametrize("keys", ["'block_stop' or 'epoch_stop'", "'epoch_stop' or 'block_stop'"])
def test_alternatives_are_named_in_one_order(monkeypatch, keys):
    """The checker keeps them in a set, so it names them in another order in every second process."""
    said = {"refused": [], "messages": [f"Required AT_LEAST_ONE occurrence of {keys}"]}
    monkeypatch.setattr(checker, "worker", lambda: SimpleNamespace(ask=lambda *_, **__: said))
    (finding,) = checker.Official(Ruleset("5.1.0", frozenset(), frozenset())).check([], "result_0.txt", "rgat")
    assert (finding.rule, finding.message) == ("mlperf.epoch_stop.required", "epoch_stop or block_stop is missing")


def test_a_requirement_that_comes_in_both_orders_is_one_finding(monkeypatch):
    orders = ("'block_stop' or 'epoch_stop'", "'epoch_stop' or 'block_stop'")
    said = {"refused": [], "messages": [f"Required AT_LEAST_ONE occurrence of {keys}" for keys in orders]}
    monkeypatch.setattr(checker, "worker", lambda: SimpleNamespace(ask=lambda *_, **__: said))
    found = checker.Official(Ruleset("5.1.0", frozenset(), frozenset())).check([], "result_0.txt", "rgat")
    assert [finding.rule for finding in found] == ["mlperf.epoch_stop.required"]
