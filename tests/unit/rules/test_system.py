"""System descriptions of a package, against what MLCommons' tools require of each round."""

from __future__ import annotations

import pytest

from podium.rules import check_system
from podium.rules.system import ENTRY_FIELDS, FIELDS, OPEN, STATUSES, open_fields

WHERE = "systems/dgx.json"
COMPLETE = dict.fromkeys(FIELDS, "text") | {"division": "closed", "status": STATUSES[0]}
ENTRY = dict.fromkeys(ENTRY_FIELDS, "text")


@pytest.mark.parametrize(
    ("round_", "status", "allowed"),
    [
        ("v3.1", "onprem", True),
        ("v4.0", "onprem", False),
        ("v10.0", "onprem", False),
        ("v4.0", "Available cloud", True),
    ],
)
def test_from_v4_on_the_status_is_one_of_four(round_, status, allowed):
    found = [str(finding.rule) for finding in check_system({"status": status}, WHERE, round_)]
    assert ("package.system.status" not in found) is allowed


def without(field, system):
    return {key: value for key, value in system.items() if key != field}


MISSING, TYPE = "package.system.missing", "package.system.type"


@pytest.mark.parametrize(
    ("round_", "system", "findings"),
    [
        ("v0.6", COMPLETE, []),
        ("v5.1", COMPLETE, []),
        ("v0.6", without("cooling", COMPLETE), [(MISSING, WHERE, "cooling is missing")]),
        ("v5.1", without("status", COMPLETE), [(MISSING, WHERE, "status is missing")]),
        ("v5.1", without("division", COMPLETE), [(MISSING, WHERE, "division is missing")]),
        ("v5.1", without("framework", COMPLETE), [(MISSING, WHERE, "framework is missing")]),
        ("v5.1", COMPLETE | {"cooling": f"{OPEN}air or liquid"}, [(MISSING, WHERE, "cooling is not filled in")]),
        # what is joined as text
        ("v5.1", COMPLETE | {"accelerators_per_node": 8}, [(TYPE, f"{WHERE}: accelerators_per_node", "8 is not text")]),
        ("v5.1", COMPLETE | {"framework": None}, [(TYPE, f"{WHERE}: framework", "None is not text")]),
        ("v5.1", COMPLETE | {"number_of_nodes": 8}, []),
        ("v5.1", COMPLETE | {"division": "open"}, []),
        ("v5.1", COMPLETE | {"division": "outOfTheBox"},
         [("package.system.division", f"{WHERE}: division", "'outOfTheBox' is neither closed nor open")]),
        ("v5.1", COMPLETE | {"status": "onprem"},
         [("package.system.status", f"{WHERE}: status", "'onprem' is not allowed")]),
        # v0.5 has an entry.json, of other fields, and its tools ask for no more
        ("v0.5", ENTRY, []),
        ("v0.5", ENTRY | {"division": "?", "framework": 1}, []),
        ("v0.5", without("nodes", ENTRY), [(MISSING, WHERE, "nodes is missing")]),
        ("v0.5", ENTRY | {"os": f"{OPEN}text"}, [(MISSING, WHERE, "os is not filled in")]),
    ],
)  # fmt: skip
def test_findings_on_a_description(round_, system, findings):
    found = check_system(system, WHERE, round_)
    assert [(str(finding.rule), finding.field, finding.message) for finding in found] == findings


def test_remedies_say_what_may_be_written():
    left = {"status", "division", "accelerators_per_node", "framework"}
    kept = {key: value for key, value in COMPLETE.items() if key not in left}
    remedies = {finding.message: finding.remedy for finding in check_system(kept, WHERE, "v5.1")}
    assert remedies == {f"{field} is missing": FIELDS[field] for field in left}
    (typed,) = check_system(COMPLETE | {"accelerators_per_node": 8}, WHERE, "v5.1")
    assert typed.remedy == 'write "8"; MLCommons\' tools expect text'
    (nodes,) = check_system(without("nodes", ENTRY), WHERE, "v0.5")
    assert nodes.remedy == 'text, or "" where there is nothing to say'
    (cooling,) = check_system(COMPLETE | {"cooling": f"{OPEN}air or liquid"}, WHERE, "v5.1")
    assert cooling.remedy == "air or liquid"


@pytest.mark.parametrize(
    ("described", "fields"),
    [
        ({"os": f"{OPEN}text"}, [("os", "text")]),
        ({"os": "text", "nodes": 8, "cooling": None}, []),
        ({"os": f"to {OPEN}text"}, []),
        ({"a": {"b": f"{OPEN}x", "c": ["?", f"{OPEN}y"]}, "d": [{"e": f"{OPEN}z"}]},
         [("a.b", "x"), ("a.c[1]", "y"), ("d[0].e", "z")]),
    ],
)  # fmt: skip
def test_fields_that_nobody_has_filled_in(described, fields):
    assert list(open_fields(described)) == fields
