"""The chain of a ledger: what is changed in it, and where that shows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from podium.api import Pinned, TryId
from podium.results.ledger import Head, admitted, append, head_of, rank0_of, read, records_of, subject, try_
from tests.unit.reconcile import examples as ex

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


def test_names_in_any_script_stay_legible():
    """What cannot be written is replaced: no name of a pod keeps an entry out of the ledger."""
    line, _ = append(Head(), [{"kind": "admitted", "run": "J\u00fcrgen \ud800"}], NOW)
    assert "J\u00fcrgen ?" in line.decode()
    assert [record.problem for record in read(line)] == [""]


@pytest.mark.parametrize(
    ("text", "records", "entries"),
    [
        (b"", 0, []),
        (LINES[2], 3, [{"kind": "end"}]),
        (LINES[2] + LINES[3], 4, [{"kind": "end"}, {"kind": "result"}]),
        (b'{"n": "3", "kind": "end"}\n', 0, [{"kind": "end"}]),
    ],
)
def test_lines_of_a_longer_ledger(text, records, entries):
    """The head says how many lines there are up to the last one, as far as it says so itself."""
    assert records_of(text) == (Head(records, head_of(text).sha256), entries)


def test_what_is_said_again_in_another_order_of_its_keys_is_the_same():
    """Entries that are read back may have another one."""
    one = {"kind": "end", "attempt": 1, "try": 0, "state": "Failed", "files": {"a": "1", "b": "2"}}
    assert subject(one) == subject(dict(reversed([*one.items(), ("time", "later"), ("n", 7)])))
    assert subject(one) != subject({**one, "state": "Converged"})


def test_the_first_line_has_what_the_run_is_pinned_to():
    """In the words of its status, without the texts and without what is not known."""
    pinned = Pinned(image="trainer:1", round_digest="ab", rules="a long text")
    run = ex.run(ex.status().model_copy(update={"pinned": pinned}))
    entry = admitted(run, b"spec: {}")
    assert entry["pinned"].items() >= {"image": "trainer:1", "roundDigest": "ab"}.items()
    assert not {"imageDigest", "rules", "podDefaults"} & entry["pinned"].keys()
    assert entry["runSha256"] == hashlib.sha256(b"spec: {}").hexdigest()


# ---- whose log a checkpoint is of ----


def pods_of(attempt, *nodes, time="2026-01-01T00:00:00.000Z"):
    containers = [replace(ex.running(node), uid=f"uid-{node}-{time[17:19]}", node=f"node-{node}") for node in nodes]
    return {**try_(attempt, containers), "time": time}


FIRST, AGAIN = ex.attempt(1), ex.attempt(1, try_=1)
ENTRIES = [
    {"kind": "admitted"},
    pods_of(FIRST, 1, 0),
    {"kind": "checkpoint", "attempt": 2, "try": 0},
    pods_of(AGAIN, 1),
    pods_of(AGAIN, 0, time="2026-01-01T00:00:09.000Z"),
    pods_of(FIRST, 0, time="2026-01-01T00:00:09.000Z"),
]


def test_rank_0_of_a_try_is_the_pod_of_node_0_in_its_first_entry():
    """The pod is gone, so that its log is not taken for that of another one with its name."""
    found = rank0_of(ENTRIES, TryId(attempt=1, number=0))
    assert (found.uid, found.node, found.node_index) == ("uid-0-00", "node-0", 0)
    assert (found.started, found.finished, found.stopped) == (NOW, NOW, "Deleted")


@pytest.mark.parametrize(("attempt", "number"), [(1, 1), (2, 0), (3, 0)])
def test_a_try_whose_first_entry_names_no_such_pod_has_none(attempt, number):
    assert rank0_of(ENTRIES, TryId(attempt=attempt, number=number)) is None
