"""Downloads from a server of our own that breaks off, changes its files, or has none."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from podium_benchmarks.prepare.archives import Archive, PrepareError, verify
from podium_benchmarks.prepare.fetch import fetch_all

DATA = os.urandom(300_000)


@dataclass
class Behavior:
    """What the server does; it notes what it was asked."""

    data: bytes = DATA
    tag: str = '"one"'
    breaks_after: list[int] = field(default_factory=list)  # bytes of each answer to come, then it is whole
    ranges: bool = True
    answers: list[int] = field(default_factory=list)  # codes of the answers to come
    asked: list[str | None] = field(default_factory=list)  # the Range of each request


@pytest.fixture
def server() -> Iterator[tuple[str, Behavior]]:
    behavior = Behavior()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            behavior.asked.append(wanted)
            if behavior.answers:
                self.send_error(behavior.answers.pop(0))
                return
            start = 0
            if wanted and behavior.ranges and self.headers.get("If-Range", behavior.tag) == behavior.tag:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            body = behavior.data[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", behavior.tag)
            self.end_headers()
            self.wfile.write(body[: behavior.breaks_after.pop(0)] if behavior.breaks_after else body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", behavior
    http.shutdown()
    http.server_close()
    thread.join()


def archive(address: str, name: str = "data.tar", size: int | None = len(DATA)) -> Archive:
    return Archive(name, f"{address}/{name}", size, f"sha256:{hashlib.sha256(DATA).hexdigest()}", "its home")


def fetch(folder, *archives: Archive) -> None:
    fetch_all(archives, folder, workers=3, pause=0.01)


def test_several_files_at_a_time(server, tmp_path):
    address, behavior = server
    fetch(tmp_path, *(archive(address, f"{number}.tar") for number in range(5)))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{number}.tar" for number in range(5)]
    assert all(path.read_bytes() == DATA for path in tmp_path.iterdir())
    fetch(tmp_path, *(archive(address, f"{number}.tar") for number in range(5)))
    assert len(behavior.asked) == 5, "what is here is not asked for again"


def test_a_connection_that_breaks_is_resumed(server, tmp_path):
    address, behavior = server
    behavior.breaks_after = [100_000, 50_000]
    fetch(tmp_path, archive(address))
    assert (tmp_path / "data.tar").read_bytes() == DATA
    assert behavior.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_an_interrupted_command_goes_on_where_it_was(server, tmp_path):
    address, behavior = server
    (tmp_path / "data.tar.part").write_bytes(DATA[:200_000])
    fetch(tmp_path, archive(address))
    assert (tmp_path / "data.tar").read_bytes() == DATA
    assert behavior.asked == ["bytes=200000-"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, tmp_path):
    """Half of one version and half of another would be neither."""
    address, behavior = server
    (tmp_path / "data.tar.part").write_bytes(os.urandom(100_000))
    (tmp_path / "data.tar.tag").write_text('"\\"old\\""')
    fetch(tmp_path, archive(address))
    assert (tmp_path / "data.tar").read_bytes() == DATA
    assert behavior.asked == ["bytes=100000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["data.tar"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    address, behavior = server
    behavior.ranges, behavior.breaks_after = False, [100_000]
    fetch(tmp_path, archive(address))
    assert (tmp_path / "data.tar").read_bytes() == DATA


def test_a_server_that_is_busy_is_asked_again(server, tmp_path):
    address, behavior = server
    behavior.answers = [503, 429]
    fetch(tmp_path, archive(address))
    assert (tmp_path / "data.tar").read_bytes() == DATA


@pytest.mark.parametrize(("code", "times", "sentence"), [
    (404, 1, r"data\.tar: 404 Not Found: has the file moved\? Download data\.tar yourself and name its folder with --source"),
    (403, 1, "403 Forbidden"),
    (503, 6, "503 .*, 6 times in a row: run the command again later \\(it resumes here\\)"),
])  # fmt: skip
def test_what_can_not_be_had(server, tmp_path, code, times, sentence):
    address, behavior = server
    behavior.answers = [code] * 10
    with pytest.raises(PrepareError, match=sentence):
        fetch(tmp_path, archive(address))
    assert len(behavior.asked) == times


def test_nobody_answers(tmp_path):
    with pytest.raises(PrepareError, match="Connection refused, 6 times in a row"):
        fetch(tmp_path, archive("http://127.0.0.1:9"))


def test_no_room(server, tmp_path):
    address, behavior = server
    with pytest.raises(
        PrepareError, match=r"GB free, and 1000000000000\.0 GB are needed: free space, or choose another disk"
    ):
        fetch(tmp_path, archive(address, size=10**21))
    assert behavior.asked == []


def test_a_checksum_that_does_not_fit(server, tmp_path):
    address, behavior = server
    behavior.data = bytes(len(DATA))
    fetch(tmp_path, archive(address))
    with pytest.raises(PrepareError, match=r"data\.tar has the sha256 \w+ instead of \w+ \(its home\): delete it"):
        verify(archive(address), tmp_path / "data.tar")
    (tmp_path / "data.tar").write_bytes(b"short")
    with pytest.raises(PrepareError, match=r"has 5 bytes instead of 300,000: delete it and download it again"):
        verify(archive(address), tmp_path / "data.tar")


def test_without_a_known_checksum_the_first_download_is_trusted(tmp_path):
    (tmp_path / "x").write_bytes(b"one")
    unknown = Archive("x", "http://home/x")
    first = verify(unknown, tmp_path / "x")
    assert first.by == "nothing: first use"
    assert verify(unknown, tmp_path / "x", first.sha256).by == "the first download"
    (tmp_path / "x").write_bytes(b"two")
    with pytest.raises(PrepareError, match="which it had when it was first downloaded"):
        verify(unknown, tmp_path / "x", first.sha256)
