"""Files without end, with 2 GiB of memory: every command ends soon, with a sentence."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from tests.unit.cli.logs import v06_log, write
from tests.unit.cli.test_package import SYSTEM

HEAD = "apiVersion: podium.dev/v1alpha1\nkind: BenchmarkRun\n"
TRACEBACK = "Traceback"


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))


def podium(*words):
    """Exit code and what it says."""
    command = [sys.executable, "-m", "podium", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, preexec_fn=limited)
    assert TRACEBACK not in done.stderr, done.stderr[-2000:]
    return done.returncode, done.stdout + done.stderr


def sparse(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


@pytest.fixture
def result(tmp_path):
    """A folder with a log and a result.json of Podium's, which no limit touches yet."""
    place = write(tmp_path / "results/transformer", [v06_log()])
    (place / "result.json").write_text(json.dumps({"round": "v0.6", "benchmark": "transformer", "run": {}}))
    (place / "run.yaml").write_text("spec: {}\n")
    return place


@pytest.mark.parametrize("command", ["review", "report"])
def test_8_gb_of_sums(result, tmp_path, command):
    sparse(result / "SHA256SUMS", 8 << 30)
    code, said = podium(command, tmp_path / "results", *(["--out", tmp_path / "x.html"] if command == "report" else []))
    assert code == 1
    assert "transformer/SHA256SUMS contains a line of more than 8192 bytes, the limit for a digest and a name" in said


@pytest.mark.parametrize("command", ["score", "review", "history"])
def test_10_gb_of_result(result, tmp_path, command):
    sparse(result / "result.json", 10 << 30)
    code, said = podium(command, tmp_path / "results")
    assert (code, "transformer/result.json is larger than 16 MiB, the limit for such a file" in said) == (1, True), said


def test_8_gb_of_run(result, tmp_path):
    sparse(result / "run.yaml", 8 << 30)
    code, said = podium("review", tmp_path / "results")
    assert (code, "transformer/run.yaml is larger than 16 MiB, the limit for such a file" in said) == (1, True), said


def test_a_line_of_1_gb(result, tmp_path):
    sparse(result / "result_1.txt", 1 << 30)
    code, said = podium("score", tmp_path / "results")
    assert (code, "result_1.txt" in said) == (1, True), said


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [("[" * 5000, "nested more than 64 levels deep"), ("a: " + "1" * 1_000_000, "a number with 1000000 digits"),
     ("&a [*a]", "contains &a inside itself")],
)  # fmt: skip
def test_validate(tmp_path, spec, sentence):
    (tmp_path / "run.yaml").write_text(f"{HEAD}spec: {spec}\n" if spec[0] != "a" else f"{HEAD}spec: {{{spec}}}\n")
    code, said = podium("validate", tmp_path / "run.yaml")
    assert (code, sentence in said.replace("\n", " ")) == (2, True), said


def test_validate_reads_no_more_than_1_mib(tmp_path):
    sparse(tmp_path / "run.yaml", 8 << 30)
    code, said = podium("validate", tmp_path / "run.yaml")
    assert (code, f"{tmp_path}/run.yaml is larger than 1 MiB, the limit for such a file" in said) == (2, True), said


def test_package(result, tmp_path):
    (tmp_path / "box.json").write_text(json.dumps(SYSTEM))
    sparse(tmp_path / "big.json", 8 << 30)
    words = ("package", tmp_path / "results", "--out", tmp_path / "package", "--system")
    code, said = podium(*words, tmp_path / "big.json")
    assert (code, "big.json is larger than 16 MiB" in said) == (2, True), said
    (tmp_path / "deep.json").write_text("[" * 5000)
    code, said = podium(*words, tmp_path / "deep.json")
    assert (code, "deep.json is nested 5000 levels deep; the limit is 64" in said) == (2, True), said


def test_a_folder_a_thousand_levels_deep(result, tmp_path):
    import os

    here = os.open(tmp_path / "results", os.O_RDONLY)
    try:
        for _ in range(1500):
            os.mkdir("d", dir_fd=here)
            inner = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        with os.fdopen(os.open("result_0.txt", os.O_CREAT | os.O_WRONLY, dir_fd=here), "w") as file:
            file.write("x")
    finally:
        os.close(here)
    code, said = podium("score", tmp_path / "results")
    assert code in (1, 2), said
    subprocess.run(["rm", "-rf", str(tmp_path / "results")], check=True)


@pytest.mark.parametrize("number", ["1" * 400, "1e999", "NaN", "-1" + "0" * 70])
def test_numbers_of_a_result_that_no_program_holds(result, tmp_path, number):
    document = (
        f'{{"round": "v0.6", "benchmark": "transformer", "run": {{}}, "score": {{"timeToTrainMinutes": {number}}}}}'
    )
    (result / "result.json").write_text(document)
    for command in ("score", "review", "history"):
        assert podium(command, tmp_path / "results")[0] == 1
