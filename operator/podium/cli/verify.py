"""``podium verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from podium.cli.errors import UsageError
from podium.cli.keys import KeyOption, public_key_in
from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.cli.places import FOLDER_OR_URL, store_at
from podium.stores import StoreError
from podium.submissions import result_paths
from podium.submissions import verify as verify_result


def verify(
    path: Annotated[str, typer.Argument(metavar="PATH", help=f"{FOLDER_OR_URL} with one or more results of Podium.")],
    key: KeyOption = None,
    as_json: Json = False,
) -> None:
    """Verify a result: its signature, its ledger and every file.

    The last line says in a sentence what that proves, and what not.
    Exit code: 0 if nothing is wrong, and with --key only if it has signed the result; 1 with findings; 2 on a usage
    error.
    """
    public = public_key_in(key)
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
