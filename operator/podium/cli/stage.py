"""``podium stage``: the command that the init container of a run with ``data.stage`` executes."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from podium.cli.errors import UsageError
from podium.staging import CopySummary, StageError, StageInterrupted, open_source
from podium.staging import stage as copy
from podium.text import one_line

INTERRUPTED = 75  # EX_TEMPFAIL in sysexits.h: another try can resume from here
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
          "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}  # fmt: skip


def stage(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="s3://bucket/prefix, or a folder.")],
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="Folder for the copy; an incomplete copy is resumed.")
    ],
    workers: Annotated[int, typer.Option(min=1, max=256, help="Number of files to copy in parallel.")] = 16,
    endpoint: Annotated[str | None, typer.Option(help="S3 endpoint, if not AWS.")] = None,
    region: Annotated[str | None, typer.Option(help="S3 region.")] = None,
    addressing: Annotated[
        str,
        typer.Option(
            envvar="PODIUM_STAGE_ADDRESSING",
            help="Where the bucket's name goes: path, virtual (the host name), or auto (path with an endpoint).",
        ),
    ] = "auto",
    limit: Annotated[
        str | None, typer.Option(help="Maximum size of the target, such as 500Gi; default: the size of its disk.")
    ] = None,
    patience: Annotated[float, typer.Option(help="Seconds to wait for an unreachable source.")] = 300.0,
    report: Annotated[Path | None, typer.Option(help="File for a JSON summary.")] = None,
) -> None:
    """Copy a data set to this machine's disk.

    Files are copied in parallel and verified by checksum; an interrupted copy can be resumed. Exit code: 0 if all files
    are present and correct, 1 if a person has to fix something, 2 on a usage error, 75 if a retry may help.
    """
    signal.signal(signal.SIGTERM, _leave)  # by default, the first process of a container ignores it
    room = _bytes(limit) if limit else None
    try:
        opened = open_source(source, endpoint_url=endpoint, region=region, workers=workers, addressing=addressing)
        outcome = copy(opened, target, workers=workers, patience=patience, limit=room)
    except StageInterrupted as error:
        typer.echo(one_line(f"stage: {error}"))
        raise typer.Exit(INTERRUPTED) from error
    except StageError as error:
        typer.echo(one_line(f"stage: {error}"))
        raise typer.Exit(1) from error
    typer.echo(f"stage: {_sentence(outcome)}")
    if report:
        report.write_text(json.dumps(_document(outcome)))


def _sentence(outcome: CopySummary) -> str:
    checked = ", ".join(f"{count:,} by {origin}" for origin, count in sorted(outcome.checked.items()))
    rate = outcome.copied_bytes / outcome.seconds / 1e6
    return (
        f"{outcome.files:,} files, {outcome.bytes:,} bytes present; copied {outcome.copied_files:,} files, "
        f"{outcome.copied_bytes:,} bytes in {outcome.seconds:.1f} s: {rate:.1f} MB/s; checked {checked}"
    )


def _document(outcome: CopySummary) -> dict[str, float]:
    return {
        "files": outcome.files,
        "bytes": outcome.bytes,
        "copiedFiles": outcome.copied_files,
        "copiedBytes": outcome.copied_bytes,
        "seconds": round(outcome.seconds, 3),
        "checkedBySizeOnly": outcome.checked.get("size", 0),
    }


def _bytes(text: str) -> int:
    """Parse a Kubernetes quantity into bytes. Raises UsageError."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kMGTPE]i?|Ki)?", text)
    if match is None or match[2] == "ki":
        raise UsageError(f"--limit {text!r} is not a valid quantity: write a size such as 500Gi")
    return int(float(match[1]) * _UNITS[match[2] or ""])


def _leave(_: int, __: FrameType | None) -> None:
    os._exit(128 + signal.SIGTERM)  # a half-copied file does not have its final name yet; the next try deletes it
