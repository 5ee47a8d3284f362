"""Write a page where the user wants it."""

from __future__ import annotations

import secrets
from pathlib import Path

from podium.cli.errors import UsageError
from podium.stores.beneath import OpenFolder
from podium.text import printable

DEFAULT_PAGE = "report.html"


def write_page(out: Path | None, text: str, option: str = "--out") -> None:
    """Write a page or picture to the file that the user named with `option`, or else to report.html here.

    Raises UsageError.

    This folder may be somebody else's package: a link of that name is replaced, not followed.
    """
    content = printable(text).encode(errors="replace")
    try:
        if out:
            out.write_bytes(content)
            return
        temporary = f".{DEFAULT_PAGE}-{secrets.token_hex(8)}"
        with OpenFolder.at(Path()) as here:
            try:
                with here.create(temporary) as file:
                    file.write(content)
                here.move(temporary, here, DEFAULT_PAGE)
            finally:
                here.remove(temporary)
    except OSError as error:
        what = f"{option} {out}" if out else DEFAULT_PAGE
        raise UsageError(f"{what}: {error.strerror}; name a file in an existing folder with {option}") from error
