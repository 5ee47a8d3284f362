"""``podium verify`` with the chain over all runs: runs that were made, and whose result is not here."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from podium.api import Score
from podium.reconcile import StoreResult
from podium.results import Chain, ResultWriter, ledger, result_folder
from podium.results.chain import ended
from podium.stores import FileStore
from tests.unit.cli.test_verify import run
from tests.unit.reconcile import examples as ex
from tests.unit.results.signed import KEY


@pytest.fixture
def namespace(tmp_path):
    """Three runs of two benchmarks, as an operator stores them."""
    root = FileStore(tmp_path / "podium")
    chain = Chain(root.child("ledger/lab"))
    for number, benchmark in enumerate(["resnet", "resnet", "ncf"], start=1):
        run = replace(ex.run(benchmark=benchmark), name=f"run-{number}", uid=f"{number:08}-uid")
        action = StoreResult(Score(valid=True, official=False), (), "Complete", "")
        stored = ResultWriter(root.child(result_folder(run)), run, signer=KEY, chain=chain)
        sums = stored.put_result(action, target={}, nodes=[]).result.sha256
        chain.append([ended(run, action, result_folder(run), sums)])
    return tmp_path / "podium"


def chain_findings(capsys, path, **options):
    code, out = run(capsys, str(path), as_json=True, **options)
    (chain,) = json.loads(out)["chains"]
    assert code == bool(chain["findings"])
    return chain["sentence"], [(f["where"], f["line"], f["message"]) for f in chain["findings"]]


def test_a_store_with_all_its_runs(namespace, capsys):
    sentence = "The chain over all runs has 3 lines and no gap; the results of 3 of them are here."
    assert chain_findings(capsys, namespace) == (sentence, [])


def test_a_run_that_was_left_out_shows(namespace, capsys):
    shutil.rmtree(namespace / "lab/run-2-00000002")
    message = "a run was made whose result is not here: lab/run-2-00000002 (resnet, Complete)"
    assert chain_findings(capsys, namespace)[1] == [("ledger/lab", None, message)]
    chain = str(namespace / "ledger/lab")
    assert chain_findings(capsys, namespace / "lab", chain=chain)[1] == [(chain, None, message)]
    assert chain_findings(capsys, namespace / "lab/run-3-00000003", chain=chain)[1] == []  # of another benchmark


def test_a_run_that_was_taken_out_of_the_chain_shows(namespace, capsys):
    """Even if all that is left is made to fit: a later result names the chain as it was."""
    chain = namespace / "ledger/lab"
    (chain / "000000002.jsonl").unlink()
    shutil.rmtree(namespace / "lab/run-2-00000002")
    assert [line for _, line, _ in chain_findings(capsys, namespace)[1]] == [2, None]
    entries = ledger.records_of((chain / "000000003.jsonl").read_bytes())[1]
    first = (chain / "000000001.jsonl").read_bytes()
    (chain / "000000002.jsonl").write_bytes(ledger.append(ledger.head_of(first), entries, 0.0)[0])
    (chain / "000000003.jsonl").unlink()
    message = "when it ended, the chain had a line 2 that it does not have now"
    assert chain_findings(capsys, namespace)[1] == [("lab/run-3-00000003", None, message)]


def test_a_result_that_another_one_replaced_shows(namespace, capsys):
    shutil.copytree(namespace / "lab/run-1-00000001", namespace / "lab/again")
    sums = namespace / "lab/again/SHA256SUMS"
    sums.write_text(sums.read_text() + "\n")
    code, out = run(capsys, str(namespace), as_json=True)
    (found,) = json.loads(out)["chains"][0]["findings"]
    assert (code, found["where"], found["message"]) == (1, "lab/again", "ledger/lab has another SHA256SUMS of it")


def test_a_result_that_the_chain_lacks_shows(namespace, capsys):
    """Of its own namespace; another one has its own chain."""
    for name in ("night", "lab"):
        run_ = replace(ex.run(), namespace=name)
        store = FileStore(namespace / result_folder(run_))
        ResultWriter(store, run_).put_result(
            StoreResult(Score(valid=True, official=False), (), "Complete", ""), target={}, nodes=[]
        )
    assert chain_findings(capsys, namespace)[1] == [("lab/digits-11111111", None, "ledger/lab lacks this run")]
