"""Turn what a person types into a store, a round or scored results."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from podium.cli.errors import UsageError
from podium.rounds import Round, load_rounds, round_name
from podium.stores import SCHEMES, Store, StoreError, open_store
from podium.submissions import ScoredResult, read_folders, score_folder

FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
_OWN_LOG = re.compile(r"(.+)(/)(attempts/\d{1,9}/result\.txt)", re.DOTALL)  # of a result of Podium's
FOLDER_NAME_REMEDY = "use letters, digits, -, _, + and ."
FOLDER_OR_URL = f"Folder, {' or '.join(f'{scheme}://' for scheme in sorted(SCHEMES))} URL"
Place = Annotated[str, typer.Argument(metavar="PATH", help=f"{FOLDER_OR_URL} that contains result_*.txt.")]
RoundOption = Annotated[
    str | None, typer.Option("--round", help="Round whose rules apply, such as v0.6; default: detected from the logs.")
]


def store_at(place: str) -> Store:
    """The store at a folder or URL. The variables PODIUM_RESULTS_* set how to reach a bucket, as for the operator.

    Raises UsageError.
    """
    given = {name: os.environ.get(f"PODIUM_RESULTS_{name.upper()}") for name in ("region", "checksum", "addressing")}
    try:
        store = open_store(place, endpoint_url=os.environ.get("PODIUM_RESULTS_ENDPOINT"), **given)
    except StoreError as error:
        raise UsageError(str(error)) from error
    if "://" not in place and not Path(place).exists():
        raise UsageError(f"{place}: no such file or folder")
    if "://" not in place and Path(place).is_file():
        raise UsageError(f"{place} is a file: name the folder that contains results")
    return store


def store_and_log(place: str) -> tuple[Store, str | None]:
    """(store, None) for a folder; (store, key) for a single file, local or in a bucket.

    The store is that of the file's folder, or of the result whose attempt it is: it says the division.
    """
    if "://" not in place:
        path = Path(place)
        if not path.is_file():
            return store_at(place), None
        place = str(path.resolve())  # the user named this link, so it may be followed
    elif not place.endswith(".txt"):
        return store_at(place), None
    own = _OWN_LOG.fullmatch(place)
    folder, _, name = own.groups() if own else place.rpartition("/")
    return store_at(folder or "/"), name


def asked_round(text: str | None, rounds: Mapping[str, Round]) -> str | None:
    """The canonical name of a round. Raises UsageError, which lists the rounds, if there is no such round."""
    if text is None:
        return None
    name = round_name(text)
    if name not in rounds:
        raise UsageError(f"--round {text}: no such round; choose one of {', '.join(rounds)}")
    return name


def score_place(place: str, round_: str | None = None) -> list[ScoredResult]:
    """Score every result below `place`. Raises UsageError if there is none."""
    rounds = load_rounds()
    asked = asked_round(round_, rounds)
    try:
        entries = [score_folder(folder, rounds, asked) for folder in read_folders(store_at(place))]
    except StoreError as error:
        raise UsageError(str(error)) from error
    if not entries:
        raise nothing_below(place)
    return entries


def nothing_below(place: str) -> UsageError:
    """The error for a place without any log."""
    return UsageError(
        f"{place}: no result_<number>.txt found; name the folder of a benchmark, a system, a submitter or a round"
    )
