"""The commands that verify a result without Podium: they accept what is signed, and nothing else."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.docs.blocks import DOCS, blocks
from tests.unit.results.signed import KEY, made

PAGE = DOCS / "how-to/verify.md"
SCRIPTS = {block.title: block.text for block in blocks(PAGE, "sh")}
WHO, WHAT, FILES, GAPS = SCRIPTS


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed")
    made(folder / "result")
    (folder / "podium.pub").write_text(KEY.public_pem)
    return folder


@pytest.fixture
def result(signed, tmp_path):
    shutil.copytree(signed, tmp_path, dirs_exist_ok=True)
    return tmp_path / "result"


def failing(result):
    """The titles of the scripts that do not succeed."""
    ran = {
        title: subprocess.run(["sh", "-e"], input=script, cwd=result, capture_output=True, text=True, check=False)
        for title, script in SCRIPTS.items()
    }
    return [title for title, done in ran.items() if done.returncode != 0]


def change(file, old, new):
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))


def test_a_signed_result_passes(result):
    assert failing(result) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "titles"),
    [
        ("attempts/001/result.txt", b'"value": 19', b'"value": 18', [FILES]),
        ("result.json", b'"seed": 12', b'"seed": 13', [FILES]),
        ("SHA256SUMS", b"0", b"1", [WHAT, FILES]),
        ("ledger.jsonl", b'"seed":12', b'"seed":13', [WHAT, FILES, GAPS]),
        ("statement.dsse.json", b'"payload": "ey', b'"payload": "fy', [WHO]),
        ("statement.dsse.json", b'"sig": "', b'"sig": "AAAA', [WHO]),
    ],
)
def test_what_was_changed_does_not(result, file, old, new, titles):
    change(result / file, old, new)
    assert failing(result) == titles


def test_what_another_key_has_signed_does_not(result):
    key = result.parent / "other.key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    public = result.parent / "podium.pub"
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    assert failing(result) == [WHO]


def test_a_try_that_was_taken_out_of_the_ledger_is_a_gap(result):
    lines = (result / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (result / "ledger.jsonl").write_bytes(b"".join(line for line in lines if b'"kind":"try","attempt":1' not in line))
    assert failing(result) == [WHAT, FILES, GAPS]
