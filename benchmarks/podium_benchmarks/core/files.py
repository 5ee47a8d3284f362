"""Files that a trainer looks at before the clock runs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def drop_page_cache(files: Iterable[Path]) -> None:
    """Drop files from the host's cache: a data set that was checked for mistakes must be as cold as before."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def or_in_data_dir(named: str, data_dir: Path | None, name: str) -> str:
    """The file that a setting names, else `name` in the data folder where that exists, else nothing."""
    if named or data_dir is None or not (data_dir / name).is_file():
        return named
    return str(data_dir / name)
