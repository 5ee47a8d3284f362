"""Files that a trainer looks at before the clock runs."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

_DROPPING_THREADS = 16
_FILES_AT_ONCE = 256


def drop_from_cache(folder: Path) -> tuple[int, int]:
    """Drop every file below `folder` from the host's page cache. Returns how many were dropped and how many were not.

    Links are followed, and a folder is entered once. With many threads: on a network file system, opening a million
    files one after the other would take minutes.
    """
    files, taking = _files_below(folder), threading.Lock()

    def drop() -> Counter[bool]:
        counted: Counter[bool] = Counter()
        while True:
            with taking:
                some = list(islice(files, _FILES_AT_ONCE))
            if not some:
                return counted
            counted.update(map(_drop, some))

    with ThreadPoolExecutor(_DROPPING_THREADS) as pool:
        jobs = [pool.submit(drop) for _ in range(_DROPPING_THREADS)]
        counted = sum((job.result() for job in jobs), Counter())
    return counted[True], counted[False]


def _files_below(folder: Path) -> Iterator[str]:
    """Every file below a folder, and the folders that cannot be read."""
    entered: set[tuple[int, int]] = set()
    unreadable: list[str] = []

    def note(error: OSError) -> None:
        unreadable.append(error.filename)

    for path, folders, files in os.walk(folder, followlinks=True, onerror=note):
        status = Path(path).stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        yield from (f"{path}/{file}" for file in files)
    yield from unreadable


def _drop(file: str) -> bool:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not block
    except OSError:
        return False
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def or_in_data_dir(named: str, data_dir: Path | None, name: str) -> str:
    """The file that a setting names, else `name` in the data folder where that exists, else nothing."""
    if named or data_dir is None or not (data_dir / name).is_file():
        return named
    return str(data_dir / name)
