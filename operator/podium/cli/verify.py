"""``podium verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from podium.cli.errors import UsageError
from podium.cli.keys import KeyOption, public_key_in
from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.cli.places import FOLDER_OR_URL, store_at
from podium.documents import LimitError
from podium.stores import StoreError
from podium.submissions import chain_paths, result_paths, verify_chain
from podium.submissions import verify as verify_result


def verify(
    path: Annotated[str, typer.Argument(metavar="PATH", help=f"{FOLDER_OR_URL} with one or more results of Podium.")],
    key: KeyOption = None,
    chain: Annotated[
        str | None,
        typer.Option(help="The chain over all runs, <results.url>/ledger/<namespace>: shows runs that were left out."),
    ] = None,
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
        chains = [verify_chain(store.child(at), at, results, all_runs=True) for at in chain_paths(store)]
        if chain is not None:
            chains.append(verify_chain(store_at(chain), chain, results, all_runs=False))
    except (StoreError, LimitError) as error:
        raise UsageError(str(error)) from error
    if not results and not chains:
        raise UsageError(f"{path}: there is no result of Podium; name the folder that contains SHA256SUMS")
    if as_json:
        print_json({"results": [each.document() for each in results], "chains": [each.document() for each in chains]})
    else:
        screen = console()
        verified = [(each.path, each.sentence, each.findings) for each in results]
        verified += [(each.path, each.sentence, each.findings) for each in chains]
        for where, sentence, findings in verified:
            print_findings(screen, findings)
            print_line(screen, f"{where}: {sentence}" if where else sentence)
    raise typer.Exit(1 if any(r.findings for r in results) or any(c.findings for c in chains) else 0)
