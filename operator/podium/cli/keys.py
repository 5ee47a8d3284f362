"""``podium keygen``, and keys named on the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.errors import UsageError
from podium.results import Signer

if TYPE_CHECKING:
    from podium.results.signature import PublicKey

KeyOption = Annotated[
    Path | None,
    typer.Option("--key", help="The administrator's public key; not the one beside the result, which anyone can put."),
]
_PRIVATE, _PUBLIC = "podium.key", "podium.pub"


def keygen(
    out: Annotated[Path, typer.Option(help="Folder for podium.key and podium.pub.")] = Path(),
) -> None:
    """Make a key that signs results.

    podium.key is for the operator alone, podium.pub for everybody who verifies results. No key is ever replaced.
    """
    from podium.cli.output import console, print_line  # noqa: PLC0415 - the operator imports this module, not Rich
    from podium.results.signature import new_signing_key  # noqa: PLC0415 - slow to load

    key = new_signing_key()
    made: list[Path] = []
    try:
        if out.exists() and not out.is_dir():
            raise UsageError(f"--out {out} is a file: choose a folder")
        out.mkdir(parents=True, exist_ok=True)
        for name, content, mode in ((_PRIVATE, key.private_pem, 0o600), (_PUBLIC, key.public_pem.encode(), 0o644)):
            with os.fdopen(os.open(out / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                made.append(out / name)
                file.write(content)
    except OSError as error:
        for half in made:  # a pair or nothing: a private key beside another public one would sign what none verifies
            half.unlink()
        raise _not_written(error, out) from error
    print_line(console(), f"{out / _PRIVATE} signs results: keep it secret. {out / _PUBLIC} verifies them.")


def _not_written(error: OSError, out: Path) -> UsageError:
    """Why there is no new key, and what to do."""
    if isinstance(error, FileExistsError):
        return UsageError(f"{error.filename} exists: choose another folder with --out; no key is ever replaced")
    return UsageError(f"cannot write {error.filename or out}: {error.strerror}; choose another folder with --out")


def signing_key_in(file: Path | None, option: str) -> Signer | None:
    """Read a private key, if one is named. Raises UsageError."""
    if file is None:
        return None
    from podium.results.signature import KeyFileError, read_signing_key  # noqa: PLC0415 - slow to load

    try:
        return read_signing_key(file)
    except KeyFileError as error:
        raise UsageError(f"{option}: {error}") from error
    except OSError as error:
        raise UsageError(f"{option}: cannot read {file}: {error.strerror}; make one with podium keygen") from error


def public_key_in(file: Path | None) -> PublicKey | None:
    """Read the public key that --key names, if it names one. Raises UsageError."""
    if file is None:
        return None
    from podium.results.signature import KeyFileError, read_public_key  # noqa: PLC0415 - slow to load

    try:
        return read_public_key(file.read_bytes(), str(file))
    except KeyFileError as error:
        raise UsageError(f"--key: {error}") from error
    except OSError as error:
        raise UsageError(f"--key: cannot read {file}: {error.strerror}; pass the administrator's podium.pub") from error
