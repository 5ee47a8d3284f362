"""Rules are data: a finding names a member of the catalog, and the reference follows from it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tools.docs import rules as documentation

import podium
from podium.rules.catalog import RuleId

ROOT = Path(__file__).resolve().parents[3]
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
    with pytest.raises(ValueError, match="takes 0 names, not 1"):
        RuleId.LOG_EMPTY.of("v0.5")


def test_a_rule_is_one_member(tmp_path):
    """In a copy of the package: one member, and a check that yields it. The commands and the reference follow."""
    shutil.copytree(podium.__path__[0], tmp_path / "podium", ignore=shutil.ignore_patterns("__pycache__"))
    catalog, check = tmp_path / "podium/rules/catalog.py", tmp_path / "podium/rules/log.py"
    member = '    LOG_MOON = "log.moon", _LOG, "The attempt was made at full moon."\n    LOG_EMPTY ='
    catalog.write_text(catalog.read_text().replace("    LOG_EMPTY =", member, 1))
    check.write_text(
        check.read_text()
        + "\n_before = LogCheck.findings\n"
        + "LogCheck.findings = lambda self, *a, **k: (*_before(self, *a, **k), "
        + 'Finding(RuleId.LOG_MOON, self._where, "the moon is full", 1, "wait a week"))\n'
    )
    log = tmp_path / "v0.5/acme/box/ncf/result_0.txt"
    log.parent.mkdir(parents=True)
    log.write_text(":::MLPv0.5.0 ncf 1541006400.1 (train.py:42) run_start\n")

    def python(*words):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
        return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)

    checked = python("-m", "podium", "check", tmp_path / "v0.5")
    assert "log.moon" in checked.stdout, checked.stderr
    assert "wait a week" in checked.stdout
    page = python("-c", "from tools.docs.rules import page; print(page())")
    assert "| `log.moon` | The attempt was made at full moon. |" in page.stdout, page.stderr
