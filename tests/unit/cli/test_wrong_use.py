"""Wrong uses of the commands on a stored result: an exit code, and one sentence that says what to do instead."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.logs import v06_run, write
from tests.unit.results.signed import KEY, made


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a signed result, its keys, a scored one, and things that are neither."""
    place = tmp_path_factory.mktemp("uses")
    made(place / "result")
    (place / "podium.key").write_bytes(KEY.private_pem)
    (place / "podium.pub").write_text(KEY.public_pem)
    write(place / "v0.6/acme/one/resnet", [v06_run("resnet", 60, 0.99)] * 5)
    (place / "empty").mkdir()
    (place / "a file").write_text("{}")
    (place / "system.json").write_text(json.dumps({"submitter": "ACME"}))
    return place


PACKAGE = ("package", "result", "--system", "system.json", "--out", "package")
USES = [
    (("report", "result", "--out", "empty"), "--out empty: Is a directory; name a file in an existing folder with --out"),
    (("verify", "result", "--chain", ""), "'' is not a supported results URL"),
    (("verify", "result", "--key", "podium.key"), "podium.key is not a public key; pass the one that podium keygen wrote"),
    (("package", "result", "--init", "new.json", "--out", "package"), "leave out --system and --out"),
    (("package", "result", "--init", "new.json", "--system", "system.json"), "leave out --system and --out"),
    (("package", "result", "--init", "no/new.json"), "No such file or directory; name a new file in an existing folder"),
    (("package", "empty", "--init", "new.json"), "empty: no result_<number>.txt found; name the folder of a benchmark"),
    (("package", "empty", *PACKAGE[2:]), "empty: no result_<number>.txt found; name the folder of a benchmark"),
    ((*PACKAGE[:-1], "a file"), "--out a file is a file: choose a new folder"),
    ((*PACKAGE, "--code", "nowhere"), "No such file or directory; name the folder of the implementation"),
    (("compare", "v0.6", "v0.6", "--chips", "two=8"), "--chips two=8: no result is of this system; they are of one"),
    (("compare", "v0.6", "v0.6", "--chips", "one=8", "--chips", "one=9"), "it was 8 before; name each system once"),
    (("validate", "empty"), "empty: no file in it (*.yaml, *.yml, *.json) has a BenchmarkRun or a BenchmarkSweep"),
    (("run", "--local", "nowhere.yaml"), "nowhere.yaml: No such file or directory; name a file with a BenchmarkRun"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), USES, ids=[" ".join(words) for words, _ in USES])
def test_a_usage_error_is_one_sentence(place, monkeypatch, podium_text, words, sentence):
    monkeypatch.chdir(place)
    code, said = podium_text(*words)
    assert (code, sentence in said, said.count("\n")) == (2, True, 0), said
    assert not {"new.json", "package"} & {path.name for path in place.iterdir()}


def test_a_run_is_not_written_into_a_file(place, monkeypatch, podium_text, tmp_path):
    monkeypatch.chdir(place)
    run = {"round": "v0.6", "benchmark": "ncf", "division": "open", "preset": "tiny", "attempts": 1,
           "quality": {"target": "0.7"}, "system": {"name": "box", "nodes": 1}}  # fmt: skip
    document = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": "mine"}, "spec": run}
    (tmp_path / "run.yaml").write_text(json.dumps(document))
    words = ("run", "--local", tmp_path / "run.yaml")
    assert podium_text(*words, "--out", "a file") == (2, "--out a file is a file: choose a folder")
    _, said = podium_text(*words, "--signing-key", "podium.pub")
    assert said.endswith("podium.pub is not a private key without a passphrase; make one with podium keygen")
    assert podium_text(*words, "--signing-key", "nowhere")[1].endswith(
        "No such file or directory; make one with podium keygen"
    )


def test_nothing_to_compare_is_no_success(place, monkeypatch, podium_text):
    """And neither is a picture that was asked for and not made."""
    monkeypatch.chdir(place)
    code, said = podium_text("compare", "result", "result", "--out", "picture.svg")
    assert (code, "resnet: no valid score before" in said, (place / "picture.svg").exists()) == (1, True, False)


def test_a_folder_that_is_no_chain_is_named(place, monkeypatch, podium_text):
    monkeypatch.chdir(place)
    code, said = podium_text("verify", "result", "--chain", "empty")
    assert (
        code,
        "empty has no chain\n    name the chain of its namespace, <results.url>/ledger/<namespace>" in said,
    ) == (1, True)
    assert "empty: Not verified: 1 finding; runs may have been left out." in said.replace("\n", " ")


@pytest.mark.parametrize("name", ["result.txt", "result.json"])
def test_one_file_says_nothing_about_the_others_of_its_result(place, podium_json, name):
    """An attempt's log of Podium's is one whatever its name, and the division is that of the result."""
    file = place / "result" / ("attempts/002/result.txt" if name == "result.txt" else name)
    _, (log,) = podium_json("check", file)
    assert (log["round"], log["benchmark"]) == ("v0.6", "resnet")
    assert {finding["rule"].partition(".")[0] for finding in log["findings"]} == {"log"}


def test_a_log_without_lines_has_no_round(tmp_path, podium_text):
    (tmp_path / "box").mkdir()
    (tmp_path / "box/result_0.txt").write_text("hello\n")
    assert "1 log (1 of an unknown round box): 1 with findings" in podium_text("check", tmp_path / "box")[1]
    assert "box: an unknown round has no reference convergence points" in podium_text("review", tmp_path / "box")[1]


def test_half_a_pair_of_keys_is_not_left_behind(tmp_path, podium_text):
    (tmp_path / "podium.pub").write_text("mine")
    code, said = podium_text("keygen", "--out", tmp_path)
    assert (code, "podium.pub exists: choose another folder" in said) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["podium.pub"]
