"""The table of forgeries: its rules are those of the catalog, and its tests exist."""

from __future__ import annotations

import re

import pytest

from podium.rules.catalog import RuleId
from tests.cluster.fixtures import ROOT
from tests.docs.blocks import DOCS

PAGE = (DOCS / "reference/forgeries.md").read_text()
ROWS = [row for row in re.findall(r"^\| (.+) \|$", PAGE, re.MULTILINE) if ".py`: " in row]
KINDS = {id_.partition(".")[0] for id_ in RuleId}
REVIEWED = sorted(RuleId.REVIEW_KEY.of(key) for key in ("division", "org", "status", "platform", "chips"))
# Faults of honest logs and documents, or what follows from another finding
NO_FORGERIES = {
    RuleId.LOG_EMPTY, RuleId.LOG_UNREADABLE, RuleId.LOG_LONG, RuleId.LOG_QUALITY, RuleId.LOG_RUN_START_MISSING,
    RuleId.LOG_RUN_STOP_MISSING, RuleId.LOG_RUN_STOP_STATUS, RuleId.LOG_EVAL_RESULT_MISSING, RuleId.SCORE_INVALID,
    RuleId.SCORE_NOT_CONVERGED, RuleId.SCORE_BENCHMARK_UNKNOWN, RuleId.SCORE_DOCUMENT, RuleId.REVIEW_KEY,
    RuleId.LOG_SUBMITTER,
}  # fmt: skip


def rules(row: str) -> list[str]:
    return [code for code in re.findall(r"`([a-z_.]+)`", row.split(" | ")[1]) if code.partition(".")[0] in KINDS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split(" | ")[0][:60])
def test_a_row_names_rules_and_a_test_that_there_are(row):
    assert set(rules(row)) <= {*RuleId, *REVIEWED}
    assert rules(row) or "a note" in row
    file, case = re.findall(r"`([^`]+)`", row.split(" | ")[-1])
    text = (ROOT / "tests/unit" / file).read_text()
    assert f'"{case}"' in text or f"def {case}(" in text


def test_every_rule_about_logs_and_results_is_in_the_table():
    asked = {id_ for id_ in RuleId if id_.startswith(("log.", "score.", "review.", "verify."))} - NO_FORGERIES
    assert {*asked, *REVIEWED} <= {id_ for row in ROWS for id_ in rules(row)}
