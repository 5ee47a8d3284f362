"""``podium run``."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from podium.api import BenchmarkRunSpec
from podium.cli.errors import UsageError
from podium.cli.files import read_run_file
from podium.cli.keys import signing_key_in
from podium.cli.output import console, print_line
from podium.cli.places import FOLDER_NAME, FOLDER_NAME_REMEDY
from podium.cli.validate import not_submitted
from podium.cli.watch.views import ScreenView
from podium.documents import DocumentError, read_json
from podium.local import LocalRun
from podium.reconcile import Run
from podium.results.writer import RESULT
from podium.rounds import load_rounds
from podium.rules import goal_for
from podium.stores import FileStore, NotFound, StoreError, document_bytes, open_store
from podium.text import one_line

_COMMAND = 400  # characters of a command that are shown
_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP (the terminal was closed)"}


def run(
    file: Annotated[
        Path, typer.Argument(metavar="RUN.yaml", help="A BenchmarkRun, such as examples/resnet-digits.yaml.")
    ],
    local: Annotated[bool, typer.Option("--local", help="Run on this machine instead of a cluster.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the result; must not already contain a result. Default: a new one in results/."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the data set, instead of the run's spec.data.")] = None,
    signing_key: Annotated[
        Path | None,
        typer.Option(
            envvar="PODIUM_SIGNING_KEY", help="Sign the result with this key, from podium keygen. Default: unsigned."
        ),
    ] = None,
) -> None:
    """Run a benchmark and score it.

    Ctrl-C stops the run and stores what was measured; the same command starts it again from the beginning.
    Exit code: 0 with a valid score, 1 without, 2 on a usage error, 130 when stopped.
    """
    if not local:
        raise UsageError(f"in a cluster: kubectl apply -f {file}\non this machine: podium run --local {file}")
    name, spec = read_run_file(file)
    _check_local(file, name, spec, data)
    signer = signing_key_in(signing_key, "--signing-key")
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file: choose a folder")
    folder = (out or Path("results") / f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}").resolve()
    screen = console()
    if aside := set_aside(folder, datetime.now(UTC)):
        print_line(screen, f"moved the interrupted result to {aside}")
    store = open_store(str(folder))
    store.check()
    rounds = load_rounds()
    print_line(screen, f"{name}: {goal_for(spec, rounds).attempts} attempts on this machine; Ctrl-C stops")
    print_line(screen, f"Result folder: {folder}")
    if spec.template.command:  # somebody else may have written the file
        print_line(
            screen, f"Each attempt runs: {_shortened(shlex.join([*spec.template.command, *spec.template.args]))}"
        )
    if note := not_submitted(spec):
        print_line(screen, note)
    benchmark = LocalRun(name, spec, store, rounds, str(data.resolve()) if data else "", signer=signer)
    view = ScreenView(screen)
    try:
        with _locked(folder), view:
            ended = asyncio.run(_execute(benchmark, view))
    except asyncio.CancelledError as stopped:
        print_line(screen, f"stopped by {stopped}; what was measured is in {folder}")
        raise typer.Exit(130) from None
    view.conclude(ended, str(folder))
    raise typer.Exit(0 if ended.status.score and ended.status.score.valid else 1)


def _shortened(command: str) -> str:
    """A command in one line, without the middle of a long one."""
    line = one_line(command)
    return line if len(line) <= _COMMAND else f"{line[: _COMMAND // 2]} ... {line[-_COMMAND // 2 :]}"


def _check_local(file: Path, name: str, spec: BenchmarkRunSpec, data: Path | None) -> None:
    """Raises UsageError if the run needs something that this machine lacks, or if its name is a path."""
    if not FOLDER_NAME.fullmatch(name):
        raise UsageError(f"{file}: metadata.name {name!r} cannot name the result's folder; {FOLDER_NAME_REMEDY}")
    if spec.data and data is None:
        place = spec.data.bucket_url or "a volume claim"
        raise UsageError(f"{file} reads its data from {place}: name a local folder with --data DIR")
    if spec.preset == "full" and data is None and not (spec.template.image or spec.template.command):
        tiny = ", or use preset: tiny, which needs none" if spec.division == "open" else ""
        raise UsageError(
            f"{file} trains the full preset, which reads a data set: name its folder with --data DIR{tiny}"
        )
    if data is not None and not data.is_dir():
        raise UsageError(f"--data {data}: no such folder")
    if spec.template.image and not spec.template.command:
        raise UsageError(
            f"{file} uses the image {spec.template.image}: set template.command to the program to run locally"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, where its file system can. Raises UsageError if one is at work in it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # there is none yet, or the store reports what is wrong with it
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another run is at work in {folder}: choose another folder with --out") from None
        except OSError:
            pass  # a network file system without locks
        yield
    finally:
        os.close(descriptor)


def set_aside(folder: Path, now: datetime) -> Path | None:
    """Rename a folder that holds the result of an interrupted run, or the ledger of one that was killed.

    Returns its new path, or None if there is no such result. Raises UsageError if the result is complete, or if another
    run is at work in the folder.
    """
    with _locked(folder):
        if not _is_interrupted(folder):
            return None
        aside = folder.with_name(f"{folder.name}.interrupted-{now:%Y%m%dT%H%M%SZ}")
        try:
            return folder.rename(aside)
        except OSError as error:
            raise UsageError(f"cannot move the interrupted result {folder} to {aside}: {error.strerror}") from error


def _is_interrupted(folder: Path) -> bool:
    """Return whether a folder holds what an interrupted run has left. Raises UsageError if it is a result."""
    result = folder / RESULT
    try:
        document = read_json(document_bytes(FileStore(folder), RESULT), str(result))
    except NotFound:
        # the run was killed before it could write a result
        return (folder / "attempts").exists() or any(folder.glob("ledger-*.jsonl"))
    except (StoreError, DocumentError) as error:
        raise UsageError(f"cannot read {result}: {error}; choose another folder with --out") from error
    else:
        if not isinstance(document, dict) or "outcome" not in document:
            raise UsageError(f"{result} is not the result of a run; choose another folder with --out")
        if document["outcome"] != "Aborted":
            raise UsageError(f"--out {folder} already contains a result: choose another folder, or move this one")
    return True


async def _execute(benchmark: LocalRun, view: ScreenView) -> Run:
    """Run to the end. Signals cancel the run: a trainer left behind would keep the machine busy."""
    task = asyncio.current_task()
    assert task is not None

    def stop(name: str) -> None:
        task.cancel(name)
        view.note(f"stopped by {name}: ending the processes and storing what was measured")
        view.tick()

    for number, name in _SIGNALS.items():
        asyncio.get_running_loop().add_signal_handler(number, stop, name)

    def show(run: Run) -> None:
        view.changed(run)
        view.tick()

    return await benchmark.execute(show)
