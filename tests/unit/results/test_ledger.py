"""The chain of a ledger: what is changed in it, and where that shows."""

from __future__ import annotations

import hashlib
import json

import pytest

from podium.results.ledger import Head, append, head_of, read

NOW = 1_767_225_600.0  # 2026-01-01


def made(*kinds):
    return append(Head(), [{"kind": kind} for kind in kinds], NOW)[0]


LINES = made("admitted", "try", "end", "result").splitlines(keepends=True)


def test_each_line_has_the_digest_of_the_one_before():
    first, second = LINES[:2]
    assert json.loads(first) == {"n": 1, "time": "2026-01-01T00:00:00.000Z", "previous": "", "kind": "admitted"}
    assert json.loads(second)["previous"] == hashlib.sha256(first).hexdigest()
    assert head_of(b"".join(LINES)) == Head(4, hashlib.sha256(LINES[3]).hexdigest())


def test_a_ledger_that_grows_in_parts_is_the_same():
    part, head = append(Head(), [{"kind": "admitted"}, {"kind": "try"}], NOW)
    rest, head = append(head, [{"kind": "end"}, {"kind": "result"}], NOW)
    assert part + rest == b"".join(LINES)
    assert head == head_of(part + rest)
    assert [record.number for record in read(rest, head_of(part))] == [3, 4]


@pytest.mark.parametrize(
    ("lines", "broken"),
    [
        (LINES, {}),
        ([LINES[0], LINES[1].replace(b"try", b"tri"), *LINES[2:]], {3: "it does not follow the line before it"}),
        ([*LINES[:3], LINES[3].replace(b"2026", b"2025")], {}),  # only who has the head sees this
        ([LINES[0], LINES[2], LINES[3]], {2: "it is line 2, and says that it is number 3",
                                          3: "it is line 3, and says that it is number 4"}),
        ([LINES[0], LINES[2], LINES[1], LINES[3]], {2: "it is line 2, and says that it is number 3",
                                                    3: "it is line 3, and says that it is number 2",
                                                    4: "it does not follow the line before it"}),
        ([LINES[0], b"[]\n", *LINES[2:]], {2: "it is not a JSON object", 3: "it does not follow the line before it"}),
        ([LINES[0], b"{\n", *LINES[2:]], {2: "ledger.jsonl is not valid JSON", 3: "it does not follow"}),
        ([*LINES[:3], LINES[3].rstrip(b"\n")], {4: "it has no newline at its end"}),
    ],
)  # fmt: skip
def test_what_is_changed_breaks_the_chain(lines, broken):
    found = {record.number: record.problem for record in read(b"".join(lines)) if record.problem}
    assert found.keys() == broken.keys()
    for number, problem in broken.items():
        assert found[number].startswith(problem)
