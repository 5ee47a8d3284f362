"""A try on this machine: its nodes become processes that communicate over the loopback address."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from podium.api import rfc3339
from podium.kube import LineCutter, Receipts
from podium.launch import Launch, command, environment
from podium.reconcile import Container, ObservedJob

_LOG = logging.getLogger(__name__)
_CHUNK_BYTES = 1 << 16
_FULL_DISK_SECONDS = 1.0
_KILL_AFTER_SECONDS = 5.0
_MARK = "PODIUM_LOCAL_NODE"  # an environment variable that all processes of a node inherit


_T = TypeVar("_T")
_R = TypeVar("_R")


class LaunchError(Exception):
    """The try cannot be started on this machine; the message says what to do."""


class LocalJob:
    """The processes of one try; `observed` presents them as a Job with pods."""

    def __init__(self, launch: Launch, folder: Path, data_dir: str, on_line: Callable[[str, str], object]) -> None:
        """`folder` gets one log file per node; `on_line` gets every line that node 0 prints, and its timestamp and
        receipt, as LogBuffer.add takes them."""
        self._launch = launch
        self._folder = folder
        self._data_dir = data_dir
        self._on_line = on_line
        self._created = time.time()
        self._mark = secrets.token_hex(16)
        self._containers: list[Container] = []
        self._processes: list[asyncio.subprocess.Process] = []
        self._outputs: list[BinaryIO] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start every node's process. Raises LaunchError if the program is not found."""
        words = self._command()
        nodes = self._launch.spec.system.nodes
        port = _free_port()
        for node in range(nodes):
            process = await self._spawn(words, self._environment(node, port))
            self._processes.append(process)
            self._containers.append(Container(f"{self._launch.job}-{node}", node, started=time.time()))
        self._tasks = [asyncio.create_task(self._attend(node)) for node in range(nodes)]

    async def _spawn(self, words: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
        # a pipe of ours: with asyncio's, a process counts as running as long as one of its children holds the pipe
        output, its_end = os.pipe()
        file = os.fdopen(output, "rb", 0)
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=its_end,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # so that torchrun's workers can be ended with it
            )
        except BaseException:
            file.close()
            raise
        finally:
            os.close(its_end)
        self._outputs.append(file)
        return process

    def observed(self) -> ObservedJob:
        over = all(container.finished is not None for container in self._containers)
        failed = any(container.exit_code for container in self._containers)
        return ObservedJob(
            uid=self._launch.job,
            created=self._created,
            finished=("Failed" if failed else "Complete") if over else "",
            containers=tuple(self._containers),
            seed=self._launch.seed,
        )

    def log_files(self) -> list[Path]:
        return [self._log_file(node) for node in range(len(self._containers))]

    async def stop(self) -> None:
        """Stop all running processes: with SIGTERM first, then with SIGKILL."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for process in self._processes:
                if process.returncode is None:
                    _signal(process, sign)
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_KILL_AFTER_SECONDS)

    async def _attend(self, node: int) -> None:
        """Read the node's output until its process has exited, end what it left behind, and record how it ended."""
        process = self._processes[node]
        reading = asyncio.create_task(self._read(node))
        code = await process.wait()
        for sign in (signal.SIGTERM, signal.SIGKILL):  # as a container ends with its first process
            _signal(process, sign)
            await asyncio.wait({reading}, timeout=_KILL_AFTER_SECONDS)
        _kill_marked(f"{self._mark}-{node}")
        reading.cancel()  # somebody still holds the pipe
        await asyncio.gather(reading, return_exceptions=True)
        self._containers[node] = replace(
            self._containers[node],
            finished=time.time(),
            exit_code=128 - code if code < 0 else code,  # a signal, as shells and containers report it
            signal=-code if code < 0 else None,
            stopped="Completed" if code == 0 else "Error",
        )
        if code:  # the others would wait for it forever
            for other in self._processes:
                if other.returncode is None:
                    _signal(other, signal.SIGTERM)

    async def _read(self, node: int) -> None:
        """Copy the node's output into its file, and pass on the lines of node 0."""
        output, cutter, receipts = asyncio.StreamReader(), LineCutter(), Receipts()
        receipts.complete_until(receipts.now())  # the program has only just started
        loop = asyncio.get_running_loop()
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(output), self._outputs[node])
        with closing(pipe), self._log_file(node).open("wb", buffering=0) as log:
            while chunk := await output.read(_CHUNK_BYTES):
                stamp = _now() + receipts.arrived()
                left = memoryview(chunk)
                while left:
                    left = left[await _when_there_is_room(log.write, left) :]
                for line in cutter.feed(chunk) if node == 0 else ():
                    await _when_there_is_room(partial(self._on_line, _text(line)), stamp)
                receipts.wait()
        if cutter.rest:
            await _when_there_is_room(partial(self._on_line, _text(bytes(cutter.rest))), _now() + receipts.receipt())

    def _log_file(self, node: int) -> Path:
        return self._folder / f"{self._launch.job}-pod-{node}.log"

    def _command(self) -> list[str]:
        """The run's own command, else that of the contract.

        A trainer with one process per node needs no torchrun here: it would start, and import torch, only to start the
        process. It gets what torchrun would set (`_environment`).
        """
        template = self._launch.spec.template
        if self._starts_ranks:
            if importlib.util.find_spec("podium_benchmarks") is None:
                raise LaunchError(
                    "podium_benchmarks was not found; install podium-benchmarks into this environment (make install)"
                )
            return [sys.executable, "-u", *command(self._launch, self._data_dir)[1:], *template.args]
        words = [*(template.command or command(self._launch, self._data_dir)), *template.args]
        here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        program = shutil.which(words[0], path=here)
        if program is None:
            raise LaunchError(f"{words[0]!r} not found; install podium-benchmarks in this environment (make install)")
        return [program, *words[1:]]

    @property
    def _starts_ranks(self) -> bool:
        spec = self._launch.spec
        return not spec.template.command and spec.system.processes_per_node == 1

    def _environment(self, node: int, port: int) -> dict[str, str]:
        system = self._launch.spec.system
        place = {"RANK": node, "WORLD_SIZE": system.nodes, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
        ranks = {**place, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} if self._starts_ranks else {}
        threads = max(1, (os.cpu_count() or 1) // (system.nodes * system.processes_per_node))
        return {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            **{variable.name: variable.value for variable in self._launch.spec.template.env},
            **environment(self._launch, "127.0.0.1", port, self._data_dir),
            "PET_NODE_RANK": str(node),
            _MARK: f"{self._mark}-{node}",
            **{name: str(value) for name, value in ranks.items()},
        }


def _now() -> str:
    return rfc3339(time.time(), milliseconds=True)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")


async def _when_there_is_room(write: Callable[[_T], _R], what: _T) -> _R:
    """Call `write`, again and again while the disk is full; meanwhile the program waits, since nobody reads from it."""
    while True:
        try:
            return write(what)
        except OSError as error:
            _LOG.warning("cannot keep the output: %s; trying again", error)
            await asyncio.sleep(_FULL_DISK_SECONDS)


def _signal(process: asyncio.subprocess.Process, sign: signal.Signals) -> None:
    """Send a signal to the process and to all that it has started, if any of them is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, sign)


def _kill_marked(mark: str) -> None:
    """End the processes that have left their group, such as daemons. Linux alone says which they are."""
    wanted = f"{_MARK}={mark}".encode()
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended, or is another user's
            if wanted in file.read_bytes().split(b"\0"):
                os.kill(int(file.parent.name), signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
