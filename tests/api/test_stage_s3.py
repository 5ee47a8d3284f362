"""``podium stage`` as a process of its own, against a real S3 server: versitygw on a folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

from podium.staging import open_source, stage
from tests.cluster.parts import REGION, S3, until

Stage = Callable[..., "subprocess.CompletedProcess[str]"]


class DataSet:
    """Objects below a prefix of their own."""

    def __init__(self, server: S3, prefix: str) -> None:
        self.url, self._prefix = f"{server.bucket('datasets')}/{prefix}", prefix
        self.folder = server.objects / "datasets" / prefix
        self._client = server.client()

    def put(self, key: str, data: bytes, *, part_mib: int | None = None, **more: str) -> None:
        if part_mib is None:
            self._client.put_object(Bucket="datasets", Key=f"{self._prefix}/{key}", Body=data, **more)
            return
        config = TransferConfig(multipart_threshold=part_mib << 20, multipart_chunksize=part_mib << 20)
        self._client.upload_fileobj(io.BytesIO(data), "datasets", f"{self._prefix}/{key}", Config=config)

    def spoil(self, key: str) -> None:
        """Change a byte on the server's disk, past S3."""
        with (self.folder / key).open("r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))


@pytest.fixture
def data_set(server: S3, request: pytest.FixtureRequest) -> Iterator[DataSet]:
    made = DataSet(server, re.sub(r"\W+", "-", request.node.name))
    yield made
    shutil.rmtree(made.folder, ignore_errors=True)  # the server's disk is small


@pytest.fixture
def command(server: S3, data_set: DataSet, tmp_path: Path) -> list[str]:
    words = [sys.executable, "-m", "podium", "stage", data_set.url, str(tmp_path / "data")]
    return [*words, "--endpoint", server.endpoint, "--region", REGION, "--report", str(tmp_path / "report.json")]


@pytest.fixture
def run(server: S3, command: list[str]) -> Stage:
    """Runs the command to its end."""

    def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **server.environment, **environment}
        return subprocess.run([*command, *options], env=env, capture_output=True, text=True, timeout=120, check=False)

    return run


def report(tmp_path: Path) -> dict[str, float]:
    return json.loads((tmp_path / "report.json").read_text())


def test_many_small_files_and_one_large(data_set, run, tmp_path):
    files = {f"train/{i % 10}/{i}.jpg": os.urandom(2000) for i in range(100)}
    for key, data in files.items():
        data_set.put(key, data)
    large = os.urandom(20 << 20)
    data_set.put("large.bin", large, part_mib=8)
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stage: 101 files, 21.2 MB; 0 of them, 0 B, are already here" in done.stdout
    assert "copied 101 files, 21,171,520 bytes" in done.stdout
    assert "checked 101 by ETag" in done.stdout
    assert all((tmp_path / "data" / key).read_bytes() == data for key, data in files.items())
    assert (tmp_path / "data/large.bin").read_bytes() == large
    assert report(tmp_path)["copiedBytes"] == report(tmp_path)["bytes"] == 21_171_520
    again = run()
    assert "101 of them, 21.2 MB, are already here" in again.stdout
    assert (again.returncode, report(tmp_path)["copiedFiles"]) == (0, 0)


@pytest.mark.parametrize("how", ["SHA256SUMS", "ETag", "ETag of parts", "checksum"])
def test_a_corrupt_object_is_found(data_set, run, how):
    data = os.urandom(20 << 20 if how == "ETag of parts" else 50_000)
    data_set.put("x", data, part_mib=8 if how == "ETag of parts" else None,
                 **({"ChecksumAlgorithm": "SHA256"} if how == "checksum" else {}))  # fmt: skip
    if how == "SHA256SUMS":
        data_set.put("SHA256SUMS", f"{hashlib.sha256(data).hexdigest()}  x\n".encode())
    data_set.spoil("x")
    done = run()
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(rf"stage: {data_set.url}/x is corrupt: expected .*, found .*; upload it again", done.stdout)


def test_a_killed_copying_goes_on_where_it_was(server, data_set, command, run, tmp_path):
    for number in range(120):
        data_set.put(f"{number}.bin", os.urandom(100_000))
    process = subprocess.Popen([*command, "--workers", "1"], env={**os.environ, **server.environment})
    until(lambda: len(list((tmp_path / "data").glob("*.bin"))) >= 10, 30, "some files are copied", every=0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path.name: path.stat().st_ino for path in (tmp_path / "data").glob("*.bin")}
    assert 10 <= len(before) < 120, "killed midway"
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert 120 - len(before) <= report(tmp_path)["copiedFiles"] <= 121 - len(before)
    after = {path.name: path.stat().st_ino for path in (tmp_path / "data").glob("*.bin")}
    assert len(after) == 120
    assert sum(after[name] == inode for name, inode in before.items()) >= len(before) - 1


def test_it_ends_at_once_when_asked_to(server, data_set, command, tmp_path):
    """The first process of a container gets SIGTERM when the run is suspended or deleted."""
    for number in range(200):
        data_set.put(f"{number}.bin", os.urandom(100_000))
    process = subprocess.Popen([*command, "--workers", "1"], env={**os.environ, **server.environment})
    until(lambda: list((tmp_path / "data").glob("*.bin")), 30, "some file is copied", every=0.01)
    process.terminate()
    assert process.wait(5) == 143


def test_an_outage_in_between(server, data_set, command, tmp_path):
    for number in range(300):
        data_set.put(f"{number}.bin", os.urandom(50_000))
    process = subprocess.Popen([*command, "--workers", "2"], env={**os.environ, **server.environment})
    until(lambda: len(list((tmp_path / "data").glob("*.bin"))) >= 10, 30, "some files are copied", every=0.01)
    server.stop()
    assert process.poll() is None
    time.sleep(2)
    server.start()
    assert process.wait(60) == 0
    assert report(tmp_path)["files"] == 300


def test_a_longer_outage_is_exit_code_75(server, data_set, run):
    server.stop()
    try:
        done = run("--patience", "1")
    finally:
        server.start()
    assert done.returncode == 75, done.stdout + done.stderr
    assert "Could not connect to the endpoint URL" in done.stdout


@pytest.mark.parametrize(("environment", "sentence"), [
    ({}, "has no files; check bucket, prefix and permissions"),
    ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "the secret key is wrong; check the credentials"),
])  # fmt: skip
def test_what_a_person_has_to_mend_is_exit_code_1(run, environment, sentence):
    done = run(**environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert sentence in done.stdout.splitlines()[-1]


def test_misuse_is_exit_code_2(run):
    done = run("--limit", "much")
    assert (done.returncode, "--limit 'much' is not a valid quantity: write a size such as 500Gi" in done.stderr) == (
        2,
        True,
    )


def test_a_large_object_is_fetched_in_parts_at_once(server, data_set, tmp_path, monkeypatch):
    """Into the very file that is compared afterwards."""
    monkeypatch.setattr("podium.staging.source.PARALLEL_BYTES", 1 << 20)
    parts = TransferConfig(multipart_threshold=1 << 20, multipart_chunksize=3 << 20, max_concurrency=4)
    monkeypatch.setattr("podium.stores.s3._LARGE_DOWNLOADS", parts)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    large = os.urandom(20 << 20)
    data_set.put("large.bin", large, part_mib=8)
    source = open_source(data_set.url, endpoint_url=server.endpoint, region=REGION, workers=2)
    copied = stage(source, tmp_path / "data", workers=2)
    assert (copied.copied_files, copied.checked) == (1, {"ETag": 1})
    assert (tmp_path / "data/large.bin").read_bytes() == large
