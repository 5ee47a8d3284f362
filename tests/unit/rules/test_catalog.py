"""Rules are data: a finding names a member of the catalog, and the reference follows from it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tools.docs import rules as documentation

import podium
from podium.rules.catalog import RuleId

FILES = sorted(Path(podium.__path__[0]).rglob("*.py"))
ID_ARGUMENT = {"Finding": 0, "Breach": 0, "_once": 0, "_Fault": 1}


def literal_ids(source: str) -> list[str]:
    """Ids that are written out where a finding is made."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        position = ID_ARGUMENT.get(getattr(call.func, "id", None) or getattr(call.func, "attr", ""))
        if position is not None and len(call.args) > position:
            found += [call.args[position]] if isinstance(call.args[position], ast.Constant | ast.JoinedStr) else []
    return [ast.unparse(id_) for id_ in found]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(podium.__path__[0])))
def test_no_finding_has_a_literal_id(file):
    assert literal_ids(file.read_text()) == []


def test_a_literal_id_is_found():
    assert literal_ids('yield Finding("log.empty", where, "no line")') == ["'log.empty'"]
    assert literal_ids('Finding(f"log.{key}.missing", where, "no line")') == ["f'log.{key}.missing'"]


@pytest.mark.parametrize("rule", RuleId)
def test_the_reference_lists_every_rule(rule):
    assert rule.meaning[0].isupper() or rule.meaning.startswith(("scaling.json", "result.json")), rule.meaning
    assert rule.meaning.endswith("."), rule.meaning
    assert documentation.code(rule) in documentation.page()


def test_what_varies_is_filled_in():
    assert RuleId.ROUND_KEY_ONCE.of("v0.5", "run_start") == "v0.5.run_start.once"
    with pytest.raises(ValueError, match="takes 2 names, not 1"):
        RuleId.ROUND_KEY_ONCE.of("v0.5")


def test_a_rule_is_one_member(monkeypatch):
    """One made up for the test is in the reference, and a finding prints it, with nothing else changed."""
    from podium.rules.findings import Finding

    made_up = str.__new__(RuleId, "log.moon")
    made_up._name_, made_up._value_ = "LOG_MOON", "log.moon"
    made_up.group, made_up.meaning = RuleId.LOG_EMPTY.group, "The run was made at full moon."
    monkeypatch.setattr(documentation, "RuleId", [*RuleId, made_up])
    assert "The run was made at full moon." in documentation.page()
    assert Finding(made_up, "result_0.txt", "the moon is full").document()["rule"] == "log.moon"
