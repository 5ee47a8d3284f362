"""The chain over all runs against the results that are here: what each change of either is called."""

from __future__ import annotations

import hashlib

import pytest

from podium.results import ledger
from podium.submissions.left_out import chain_paths, verify_chain
from podium.submissions.verify import Verified
from tests.unit.submissions.test_ledgers import Files

WHERE = "ledger/lab"


def line(number, benchmark="resnet", round_="v0.6", sums="ab"):
    run = {"namespace": "lab", "name": f"run-{number}", "uid": f"uid-{number}"}
    result = f"lab/run-{number}"
    return {"kind": "run", "run": run, "round": round_, "benchmark": benchmark, "outcome": "Complete",
            "result": result, "sumsSha256": sums}  # fmt: skip


CHAIN = ledger.append(ledger.Head(), [line(1), line(2), line(3, "ncf"), line(4, round_="v0.5")], 0.0)[0]
LINES = CHAIN.splitlines(keepends=True)
HEADS = [hashlib.sha256(each).hexdigest() for each in LINES]


def verified(number, *, benchmark="resnet", sums="ab", namespace="lab", chain=(), round_="v0.6"):
    entries = [{"kind": "result", "chain": each} for each in chain] or [{"kind": "result"}]
    return Verified(
        f"{namespace}/run-{number}", entries=entries, namespace=namespace, uid=f"uid-{number}",
        benchmark=(round_, benchmark), sums=sums,
    )  # fmt: skip


ALL = [verified(1), verified(2), verified(3, benchmark="ncf"), verified(4, round_="v0.5")]


def found(results, text=CHAIN, *, all_runs=True):
    chain = verify_chain(Files({"000000001.jsonl": text, "notes.txt": b"?"}), WHERE, results, all_runs=all_runs)
    return [(finding.field, finding.line, finding.message) for finding in chain.findings]


def lacks(number, benchmark="resnet"):
    return (WHERE, None, f"a run was made whose result is not here: lab/run-{number} ({benchmark}, Complete)")


def ended_at(lines, sha256):
    return verified(1, chain=[{"lines": lines, "sha256": sha256}])


def gone(lines):
    return ("lab/run-1", None, f"when it ended, the chain had a line {lines} that it does not have now")


OTHERS = ALL[1:]
ROWS = {
    "all are here": (ALL, True, []),
    "one is not": ([ALL[0], *ALL[2:]], True, [lacks(2)]),
    "the only one of its benchmark is not": ([*ALL[:2], ALL[3]], True, [lacks(3, "ncf")]),
    # who submits some results has to show the others of the same benchmarks
    "those of one benchmark and round": (ALL[:2], False, []),
    "one of a benchmark": (ALL[:1], False, [lacks(2)]),
    "one of another round": (ALL[3:], False, []),
    "none": ([], False, []),
    # a result, and what the chain says of it
    "another SHA256SUMS": ([verified(1, sums="cd"), *OTHERS], True, [("lab/run-1", None, f"{WHERE} has another SHA256SUMS of it")]),
    "a run that the chain lacks": ([*ALL, verified(9)], True, [("lab/run-9", None, f"{WHERE} lacks this run")]),
    "a run of another namespace": ([*ALL, verified(9, namespace="night")], True, []),
    "a run of any namespace, if its chain was named": (
        [*ALL, verified(9, namespace="night")], False, [("night/run-9", None, f"{WHERE} lacks this run")]
    ),
    "a run that has not ended": ([*ALL, Verified("lab/run-9", entries=[{"kind": "admitted"}], namespace="lab", uid="uid-9")], True, []),
    # the head that a result has seen
    "a chain that was empty": ([ended_at(0, ""), *OTHERS], True, []),
    "the chain at its first line": ([ended_at(1, HEADS[0]), *OTHERS], True, []),
    "the chain at its last line": ([ended_at(4, HEADS[3]), *OTHERS], True, []),
    "a first line that is another one": ([ended_at(1, "ab"), *OTHERS], True, [gone(1)]),
    "a line that is gone": ([ended_at(5, "ab"), *OTHERS], True, [gone(5)]),
    "a line that is another one": ([ended_at(2, HEADS[0]), *OTHERS], True, [gone(2)]),
    "a head that is no head": ([verified(1, chain=["x", {"lines": "2"}, {"lines": 9}]), *OTHERS], True, [gone(9)]),
}  # fmt: skip


@pytest.mark.parametrize(("results", "all_runs", "expected"), ROWS.values(), ids=ROWS)
def test_what_contradicts_the_chain(results, all_runs, expected):
    assert found(results, all_runs=all_runs) == expected


def test_a_line_that_was_taken_out_is_a_gap():
    (gap,) = found([ALL[0], *ALL[2:]], LINES[0] + LINES[2].replace(b'"n":3', b'"n":2') + b"")[:1]
    assert gap[:2] == (WHERE, 2)
    assert gap[2].startswith("there is a gap: it does not follow the line before it")


def test_what_it_says_of_itself():
    complete = verify_chain(Files({"000000001.jsonl": CHAIN}), WHERE, ALL, all_runs=True)
    assert complete.sentence == "The chain over all runs has 4 lines and no gap; the results of 4 of them are here."
    some = verify_chain(Files({"000000001.jsonl": CHAIN}), WHERE, ALL[:1], all_runs=False)
    assert some.sentence == "Not verified: 1 finding; runs may have been left out."
    document = some.document()
    assert (document["path"], document["lines"], document["runs"]) == (WHERE, 4, 2)
    assert [finding["rule"] for finding in document["findings"]] == ["verify.chain"]


def test_chains_are_found_by_the_names_of_their_objects():
    names = ["ledger/lab/000000001.jsonl", "x/ledger/night/000000001.jsonl", "x/ledger/night/000000002.jsonl"]
    others = ["ledger/000000001.jsonl", "ledger/lab/1.jsonl", "lab/ledger.jsonl", "ledger/a/b/000000001.jsonl"]
    assert chain_paths(Files(dict.fromkeys([*names, *others], b""))) == ["ledger/lab", "x/ledger/night"]
