"""``podium report`` on the result of a sweep: where it is found, what is printed, what is wrong with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.unit.cli.conftest import assert_harmless
from tests.unit.report.sweeps import fleet

CONTENT = fleet(12, {"gpu-003": 0.8})


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "lab/new-nodes-12345678"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_bytes(CONTENT)
    return folder


@pytest.mark.parametrize("place", ["{}", "{}/", "{}/sweep.json", "file://{}", "file://{}/", "file://{}/sweep.json"])
def test_a_file_a_folder_or_a_url(podium_text, tmp_path, folder, place):
    out = tmp_path / "page.html"
    code, said = podium_text("report", place.format(folder), "--out", out)
    assert (code, said.splitlines()[-1]) == (0, "1 of 12 nodes is slow"), said
    assert "<h1>1 of 12 nodes is slow</h1>" in out.read_text()


def test_as_json(podium_json, tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, found = podium_json("report", folder)
    assert (code, found["outcome"], found["findings"]) == (0, "1 of 12 nodes is slow", [])
    assert found["rows"] == json.loads(CONTENT)["rows"]
    assert not list(tmp_path.glob("*.html"))


def test_without_out_it_is_written_here(podium_text, tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert podium_text("report", folder)[0] == 0
    assert "1 of 12 nodes is slow" in (tmp_path / "report.html").read_text()


def test_a_result_that_was_changed_is_found_out(podium_text, tmp_path, folder):
    document = json.loads(CONTENT)
    row = next(row for row in document["rows"] if row["name"] == "gpu-003")
    row["verdict"] = "Ok"
    document["counts"] |= {"ok": 12, "slow": 0}
    (folder / "sweep.json").write_text(json.dumps(document))
    code, said = podium_text("report", folder, "--out", tmp_path / "page.html")
    assert code == 1
    said = " ".join(said.split())
    assert "report.sweep" in said
    assert "row gpu-003: it says Ok, but the rates of its runs give Slow" in said


def test_what_cannot_be_read_is_named(podium_text, tmp_path, folder):
    file = folder / "sweep.json"
    for content, words in {
        b"{": "sweep.json is not valid JSON",
        b"[]": "sweep.json is not the result of a sweep: document: Input should be a valid dictionary",
        b"{}": "sweep.json is not the result of a sweep: schema: Field required",
        b'{"a": 1e999}': "which is not valid JSON",
        b"[" * 10**5 + b"]" * 10**5: "levels deep; the limit is",
        b" " * (17 << 20): "sweep.json is larger than 16 MiB",
    }.items():
        file.write_bytes(content)
        for place in (file, folder):
            code, said = podium_text("report", place, "--out", tmp_path / "page.html")
            assert (code, words in said) == (2, True), said
    file.unlink()
    file.mkdir()
    assert podium_text("report", folder, "--out", tmp_path / "page.html")[0] == 2
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("place", ["none.json", "file:///none/sweep.json"])
def test_a_file_that_is_not_there(podium_text, place):
    code, said = podium_text("report", place)
    assert (code, said) == (2, f"{place}: no such file" + (" or folder" if place == "none.json" else ""))


def test_what_does_not_apply_is_refused(podium_text, folder):
    code, said = podium_text("report", folder, "--round", "v0.6")
    assert (code, "--round and --key do not apply to it" in said) == (2, True), said


def test_a_link_is_not_followed_out_of_a_folder_that_others_made(podium_text, tmp_path, folder):
    (tmp_path / "secret.json").write_bytes(CONTENT)
    (folder / "sweep.json").unlink()
    (folder / "sweep.json").symlink_to(tmp_path / "secret.json")
    code, said = podium_text("report", folder, "--out", tmp_path / "page.html")
    assert (code, (tmp_path / "page.html").exists()) == (2, False), said


def test_nothing_of_a_document_reaches_the_terminal(podium_text, tmp_path, folder):
    document = json.loads(CONTENT)
    for number, row in enumerate(document["rows"]):
        row["name"] = f"\x1b]0;title\x07\u202e{number}"
    (folder / "sweep.json").write_text(json.dumps(document))
    code, said = podium_text("report", folder, "--out", tmp_path / "page.html")
    assert code == 1
    assert_harmless(said)
    assert_harmless((tmp_path / "page.html").read_text())


def test_the_same_file_gives_the_same_bytes_in_any_process(tmp_path, folder):
    pages = []
    for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo")):
        out = tmp_path / f"{seed}.html"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone}
        command = [sys.executable, "-m", "podium", "report", str(folder / "sweep.json"), "--out", str(out)]
        subprocess.run(command, check=True, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
        pages.append(out.read_bytes())
    assert pages[0] == pages[1]
