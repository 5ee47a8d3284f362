"""Long commands with a line of progress: what is done, and for how many seconds."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import lifetime

_HEARTBEAT_SECONDS = 20.0
_STOP_SECONDS = 10.0


def run(what: str, *command: object, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> int:
    """Run a command and return its exit status; its output goes to `log`. It ends with this process."""
    started = time.monotonic()
    report(f"{what}: 0 s")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=lifetime.die_with_parent(),  # noqa: PLW1509 - it takes no lock
        )
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=1 if sys.stderr.isatty() else _HEARTBEAT_SECONDS)
                break
            report(f"{what}: {time.monotonic() - started:.0f} s")
    except BaseException:
        _stop_group(process)
        raise
    report(f"{what}: {time.monotonic() - started:.0f} s", end=True)
    return code


def report(text: str, *, end: bool = False) -> None:
    """On a terminal one line that is rewritten until its `end`, else a line each time."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="\n" if end else "", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def _stop_group(process: subprocess.Popen[bytes]) -> None:
    """A command and all that it started in its session."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
