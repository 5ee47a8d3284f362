"""``podium verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.errors import UsageError
from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.cli.places import FOLDER_OR_URL, store_at
from podium.stores import StoreError
from podium.submissions import result_paths
from podium.submissions import verify as verify_result

if TYPE_CHECKING:
    from podium.results.signature import PublicKey


def verify(
    path: Annotated[str, typer.Argument(metavar="PATH", help=f"{FOLDER_OR_URL} with one or more results of Podium.")],
    key: Annotated[
        Path | None,
        typer.Option(help="The administrator's public key. Not the one beside the result: anyone can put it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify a result: its signature, its ledger and every file, and say in a sentence what that proves.

    Exit code: 0 if nothing is wrong, and with --key only if it has signed the result; 1 with findings; 2 on a usage
    error.
    """
    public = _public_key(key) if key else None
    store = store_at(path)
    try:
        results = [verify_result(store, folder, public) for folder in result_paths(store)]
    except StoreError as error:
        raise UsageError(str(error)) from error
    if not results:
        raise UsageError(f"{path}: there is no result of Podium; name the folder that contains SHA256SUMS")
    if as_json:
        print_json([each.document() for each in results])
    else:
        screen = console()
        for each in results:
            print_findings(screen, each.findings)
            print_line(screen, f"{each.path}: {each.sentence}" if each.path else each.sentence)
    raise typer.Exit(1 if any(each.findings for each in results) else 0)


def _public_key(file: Path) -> PublicKey:
    from podium.results.signature import KeyFileError, read_public_key  # noqa: PLC0415 - slow to load

    try:
        return read_public_key(file.read_bytes(), str(file))
    except KeyFileError as error:
        raise UsageError(f"--key: {error}") from error
    except OSError as error:
        raise UsageError(f"--key: cannot read {file}: {error.strerror}") from error
