"""Processes of a throw-away cluster: started in the background, identified by pid and start time, and ended."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import lifetime

_STOP_SECONDS = 20


class ClusterError(Exception):
    """A part of the cluster does not work; the text names it and shows the end of its log."""


class MissingPartError(ClusterError):
    """This machine lacks a part; the text says what to install. Tests are skipped for it, but not where ``CI=true``."""


class NotBuiltError(ClusterError):
    """A program or an image that make builds is missing; the text names the command. Tests fail with it everywhere."""


def sh(*command: object, **more: object) -> str:
    """The output of a command. Raises ClusterError with all it printed when it fails."""
    words = _words(command)
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    except FileNotFoundError:
        raise MissingPartError(f"{words[0]} is missing; install it (Debian: apt-get install {words[0]})") from None
    if done.returncode:
        raise ClusterError(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def works(*command: object) -> bool:
    """Whether a command succeeds; its output is dropped. One that is not installed does not succeed."""
    try:
        done = subprocess.run(_words(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def _words(command: tuple[object, ...]) -> list[str]:
    """Debian keeps nft, ip and conntrack in /usr/sbin, which a user's PATH may lack."""
    program, *rest = map(str, command)
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [shutil.which(program, path=path) or program, *rest]


@contextmanager
def locked(path: Path, waiting: str = "") -> Iterator[None]:
    """Hold the lock of a file alone on this machine; `waiting` is printed when another process holds it."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                print(waiting, file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Processes:
    """Background processes with their logs under `folder`. They end with this Python.

    With `detached` they outlive it; a later one finds them by their pid files.
    """

    def __init__(self, folder: Path, *, detached: bool = False) -> None:
        self.folder = folder
        self._bind = None if detached else lifetime.die_with_parent()
        self.logs = folder / "log"
        self._pids = folder / "run"

    def start(self, name: str, *command: object, env: Mapping[str, str] | None = None) -> None:
        """Start unless it runs already."""
        if self.pid(name):
            return
        self.logs.mkdir(parents=True, exist_ok=True)
        self._pids.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=self._bind,  # noqa: PLW1509 - it takes no lock
                env={**os.environ, **(env or {})},
            )
        (self._pids / f"{name}.pid").write_text(f"{process.pid} {start_time(process.pid)}\n")

    def pid(self, name: str) -> int | None:
        """The pid of a process that runs. Its start time distinguishes it from a later process with the same number."""
        try:
            pid, started = (self._pids / f"{name}.pid").read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if start_time(int(pid)) == started else None

    def stop(self, name: str, sign: signal.Signals = signal.SIGTERM) -> None:
        """End it with `sign`; kill it after 20 s."""
        pid = self.pid(name)
        if pid:
            os.kill(pid, sign)
            end = time.monotonic() + _STOP_SECONDS
            while self.pid(name):
                if time.monotonic() > end:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
                _reap(pid)
        (self._pids / f"{name}.pid").unlink(missing_ok=True)

    def wait(self, what: str, check: Callable[[], bool], seconds: float = 60, alive: Iterable[str] = ()) -> None:
        """Until `check` holds; fails early when one of the processes `alive` has died."""
        end = time.monotonic() + seconds
        while not check():
            for name in alive:
                if not self.pid(name):
                    raise ClusterError(f"{name} died:\n{self.log_tail(name)}")
            if time.monotonic() > end:
                raise ClusterError(f"gave up after {seconds:.0f} s: {what}; logs are in {self.logs}")
            time.sleep(0.1)

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The end of a process's log."""
        return "".join((self.logs / f"{name}.log").read_text(errors="replace").splitlines(keepends=True)[-lines:])


def mounts_below(folder: Path) -> list[str]:
    """Mount points below a folder, innermost first."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [point for point in reversed(points) if point.startswith(f"{folder}/")]


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Ports that nobody listens on now; all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((address, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def start_time(pid: int) -> str | None:
    """When a living process was started, in the kernel's ticks: with its pid it names a process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if stat[0] == "Z" else stat[19]


def _reap(pid: int) -> None:
    """A child stays a zombie until its parent collects it."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
