"""Programs that end with the one that started them, after Ctrl-C, SIGTERM and SIGKILL alike.

1. SIGTERM becomes a KeyboardInterrupt, so that every `finally` runs.
2. At the end all descendants are killed, those whose parent has ended included.
3. The kernel kills bound children when this process is killed.
4. Containers, mounts and links of a killed run are removed by the next one (`leftovers`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded here, because nothing must be loaded between fork and exec
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_KILL_SECONDS = 5.0


@contextmanager
def bounded() -> Iterator[None]:
    """Within it SIGTERM raises KeyboardInterrupt; at its end every process that was started in it is gone."""
    begin()
    try:
        yield
    finally:
        kill_descendants()


def begin() -> None:
    """Make SIGTERM a KeyboardInterrupt, and this process the parent of descendants that lose theirs."""
    handle_signals()
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def handle_signals() -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell's background job does not react to Ctrl-C
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupt once: `make` and `timeout` both pass a SIGTERM on, and the second must not break the teardown.

    A second Ctrl-C does, for a person who does not want to wait.
    """
    signal.signal(signal.SIGTERM, lambda *_: None)  # SIG_IGN would be inherited by programs that the teardown starts
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    raise KeyboardInterrupt


def die_with_parent() -> Callable[[], None]:
    """For `preexec_fn`: the kernel kills the child when the thread that starts it ends, whatever the cause."""
    parent = os.getpid()

    def bind() -> None:
        if hasattr(_LIBC, "prctl"):
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it died before the call
                os._exit(1)

    return bind


def kill_descendants() -> None:
    """Kill what this process started and what that started in turn."""
    end = time.monotonic() + _KILL_SECONDS
    while (living := [pid for pid in descendants(os.getpid()) if not _ends_by_itself(pid)]) and time.monotonic() < end:
        kill(living)
        time.sleep(0.02)


def _ends_by_itself(pid: int) -> bool:
    """Python's resource tracker removes shared memory when this process ends, and needs to see that end."""
    return "multiprocessing.resource_tracker" in command_line(pid)


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """All living processes below `pid`, parents first."""
    children: dict[int, list[int]] = {}
    for each in processes():
        with contextlib.suppress(OSError):  # it has just ended
            state, parent, *_ = (Path("/proc") / str(each) / "stat").read_text().rpartition(")")[2].split()
            if state != "Z":
                children.setdefault(int(parent), []).append(each)
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return found


def processes_naming(path: Path) -> list[int]:
    """Processes whose command line mentions something below `path`, but for this one."""
    needle = os.fsencode(path)
    found = []
    for pid in processes():
        with contextlib.suppress(OSError):
            if needle in (Path("/proc") / str(pid) / "cmdline").read_bytes() and pid != os.getpid():
                found.append(pid)
    return found


def command_line(pid: int) -> str:
    try:
        words = (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"process {pid}"
    return b" ".join(words).decode(errors="replace").strip()


def processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
