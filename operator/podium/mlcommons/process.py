"""Run MLCommons' tools in a separate process, which starts at the first request and answers any number of them.

`podium.mlcommons.worker` limits what the process can do. This side gives it a nearly empty environment and an empty
private folder, limits the time and size of each answer, and treats the answer as data.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-I", "-B", str(Path(__file__).with_name("worker.py")))
START_SECONDS = 120
MAX_ANSWER_BYTES = 16 << 20
_ENVIRONMENT = ("LANG", "LC_ALL", "TZ", "SYSTEMROOT")  # passed on; no credentials, proxies or Python settings


_MISSING = (
    "MLCommons' compliance checker is missing: pip install 'podium-operator[cli]' (v0.5 logs can be checked without it)"
)


class MissingCheckerError(Exception):
    """mlperf_logging is not installed, or its process does not start; the message says which."""


class ToolError(Exception):
    """MLCommons' code failed on its input, crashed, or took too long; the message says which."""


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What MLCommons' tools know about a round: the names that a log or a package may use."""

    name: str  # such as 0.6.0
    benchmarks: frozenset[str]
    files: frozenset[str]  # rule files, without folder and suffix


class Worker:
    """A running process, until `close`. It handles one request at a time; safe to call from several threads."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="podium-mlcommons-")
        self._lock = threading.Lock()
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment |= {"PATH": os.defpath, "HOME": self._folder.name, "TMPDIR": self._folder.name}
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # each thread reserves address space
        self._process = subprocess.Popen(
            COMMAND, cwd=self._folder.name, env=environment, bufsize=0, start_new_session=True, close_fds=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            hello = self._answer(START_SECONDS)
        except ToolError:
            self.close()
            raise
        if "missing" in hello:
            self.close()
            raise MissingCheckerError(_MISSING)
        self.has_network = bool(hello["network"])
        self.rulesets = {
            name: Ruleset(name, frozenset(known["benchmarks"]), frozenset(known["files"]))
            for name, known in hello["rulesets"].items()
        }

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, operation: str, *, seconds: float, **arguments: Any) -> Mapping[str, Any]:
        """Send a request and return the answer. Raises ToolError; a worker that does not answer is killed."""
        request = json.dumps({"operation": operation, "arguments": arguments}).encode() + b"\n"
        with self._lock:
            try:
                answer = self._answer(seconds, request)
            except ToolError:
                self.close()
                raise
        if "failed" in answer:
            raise ToolError(str(answer["failed"]))
        return answer

    @contextlib.contextmanager
    def folder_for(self, files: Mapping[str, bytes]) -> Iterator[str]:
        """A temporary folder with `files` (content by relative path) inside the worker's own; gives its name."""
        with tempfile.TemporaryDirectory(prefix="package-", dir=self._folder.name) as folder:
            for path, content in files.items():
                file = Path(folder, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            yield Path(folder).name

    def close(self) -> None:
        """End the process and remove its folder."""
        if self.alive:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._folder.cleanup()

    def _answer(self, seconds: float, request: bytes = b"") -> dict[str, Any]:
        """Write `request` and read one line within `seconds`, so that neither side waits for the other forever."""
        until = time.monotonic() + seconds
        rest, found = memoryview(request), bytearray()
        assert self._process.stdin
        assert self._process.stdout
        source, sink = self._process.stdout.fileno(), self._process.stdin.fileno()
        os.set_blocking(sink, False)
        with selectors.DefaultSelector() as selector:
            selector.register(source, selectors.EVENT_READ)
            if rest:
                selector.register(sink, selectors.EVENT_WRITE)
            while not found.endswith(b"\n"):
                ready = [key.fd for key, _ in selector.select(max(0.0, until - time.monotonic()))]
                if not ready:
                    raise ToolError(f"it did not answer within {seconds:g} s")
                if sink in ready:
                    rest = rest[self._write(sink, rest) :]
                    if not rest:
                        selector.unregister(sink)
                if source in ready:
                    found += self._read(source, len(found))
        return _document(bytes(found))

    def _write(self, sink: int, rest: memoryview) -> int:
        try:
            return os.write(sink, rest[: 1 << 16])
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ToolError(self._ended()) from error

    def _read(self, source: int, so_far: int) -> bytes:
        piece = os.read(source, 1 << 16)
        if not piece:
            raise ToolError(self._ended())
        if so_far + len(piece) > MAX_ANSWER_BYTES:
            raise ToolError(f"its answer is longer than {MAX_ANSWER_BYTES >> 20} MiB")
        return piece

    def _ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        return f"its process ended with code {self._process.returncode}; it may have run out of memory or CPU time"


def _document(answer: bytes) -> dict[str, Any]:
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise ToolError("its answer is not valid JSON") from error
    if not isinstance(document, dict):
        raise ToolError("its answer is not a JSON object")
    return document


_current: Worker | None = None


def worker() -> Worker:
    """The process that all callers share; starts it if needed. Raises MissingCheckerError."""
    global _current  # noqa: PLW0603 - one process per command, however many callers
    if _current is None or not _current.alive:
        stop()
        try:
            _current = Worker()
        except (OSError, ToolError) as error:
            raise MissingCheckerError(f"the process for MLCommons' tools does not start: {error}") from error
    return _current


@atexit.register
def stop() -> None:
    """End the process; the next request starts another."""
    global _current  # noqa: PLW0603
    if _current is not None:
        _current.close()
    _current = None
