"""Copy a data set: several threads fetch the missing files and verify them before they get their names."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from podium.staging.checks import SUMS, Check, parse_sums
from podium.staging.errors import StageError, StageInterrupted
from podium.staging.journal import FOLDER, Journal
from podium.staging.progress import Progress, size_text
from podium.staging.source import Item, Source
from podium.stores import StoreCorrupt, StoreError, StoreUnavailable
from podium.stores.beneath import OpenFolder

_T = TypeVar("_T")
PATIENCE_SECONDS = 300.0
_LONGEST_PAUSE_SECONDS = 30.0
_CORRUPT_TRIES = 3  # a connection may corrupt what is correct at the source
_SPARE_BYTES = 64 << 20  # for the journal and anything else that grows


@dataclass(frozen=True, slots=True)
class CopySummary:
    """What was copied. `checked` counts files by what they were compared with."""

    files: int
    bytes: int
    copied_files: int
    copied_bytes: int
    seconds: float
    checked: Mapping[str, int]


def stage(
    source: Source, target: Path, *, workers: int, patience: float = PATIENCE_SECONDS, limit: int | None = None
) -> CopySummary:
    """Make `target` contain exactly the files of `source`, each of them verified.

    `limit` is the maximum size of the target in bytes, if less than its disk. Raises StageError, StageInterrupted.
    """
    start = time.monotonic()
    try:
        journal = Journal(target)
        with journal.opened():
            job = _Copying(source, journal, workers, patience)
            job.list(limit)
            job.copy()
            journal.seal()
            job.forget()
            return job.summary(time.monotonic() - start)
    except StoreUnavailable as error:
        raise StageInterrupted(str(error)) from error
    except StoreError as error:
        raise StageError(str(error)) from error
    except OSError as error:
        raise StageError(_disk_problem(error, target)) from error


class _Copying:
    """One call of `stage`."""

    def __init__(self, source: Source, journal: Journal, workers: int, patience: float) -> None:
        self._source, self._journal, self._workers = source, journal, workers
        self._stop = threading.Event()
        self._patience = _Patience(patience, self._stop)
        self._items: dict[str, Item] = {}
        self._sums: dict[str, str] = {}
        self._missing: list[Item] = []
        self._adopted: list[Item] = []
        self._lock = threading.Lock()
        self._progress = Progress()

    def list(self, limit: int | None) -> None:
        """Compare source and target by name, size and tag, and check that there is enough room."""
        self._items = self._patience.insist(lambda: {item.key: item for item in self._source.items()})
        if not self._items:
            raise StageError(f"{self._source.url} has no files; check bucket, prefix and permissions")
        if SUMS in self._items:
            text = self._patience.insist(lambda: self._source.read(SUMS)).decode(errors="replace")
            self._sums = parse_sums(text, f"{self._source.url}/{SUMS}")
        if lost := next((key for key in self._sums if key not in self._items), None):
            raise StageError(f"{self._source.url} lacks {lost}, which its {SUMS} lists; upload it again")
        _check_names(self._items, self._source.url)
        self._journal.drop_others(self._items)
        # large files first: a large one at the end would keep a single worker busy
        missing = [item for item in self._items.values() if not self._journal.is_here(item)]
        self._missing = sorted(missing, key=lambda item: -item.size)
        self._check_room(limit)
        total = sum(item.size for item in self._items.values())
        needed = sum(item.size for item in self._missing)
        self._progress.begin(total - needed, total, len(self._items) - len(self._missing), len(self._items))

    def _check_room(self, limit: int | None) -> None:
        target = self._journal.path
        total = sum(item.size for item in self._items.values())
        if limit is not None and total > limit:
            raise StageError(
                f"{self._source.url} has {size_text(total)}, but {target} is limited to {size_text(limit)}; "
                "ask the administrator for a larger trainer.stage.volume"
            )
        replaced = sum(_size(self._journal.target, item.key) for item in self._missing)
        needed = sum(item.size for item in self._missing) - replaced + _SPARE_BYTES
        free = shutil.disk_usage(target).free
        if needed > free:
            raise StageError(
                f"{target} has {size_text(free)} free, but {size_text(needed)} of {self._source.url} still have to be "
                "copied; free some space, or give trainer.stage.volume a larger disk"
            )

    def copy(self) -> None:
        """Fetch the missing files. The first error stops all threads."""
        for folder in sorted({item.key.rpartition("/")[0] for item in self._missing}):
            self._journal.target.below(folder, create=True).close()
        with self._progress.shown(), ThreadPoolExecutor(self._workers, thread_name_prefix="stage") as threads:
            tasks = iter(enumerate(self._missing))
            futures = [threads.submit(self._work, tasks) for _ in range(self._workers)]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            finally:  # an error or Ctrl-C ends the other threads, too
                self._stop.set()
        for future in done:
            future.result()

    def _work(self, tasks: Iterator[tuple[int, Item]]) -> None:
        """Copy files until none is left. A future per thread, since a million futures would take too much memory."""
        while not self._stop.is_set():
            with self._lock:
                task = next(tasks, None)
            if task is None:
                return
            self._one(*task)

    def _one(self, number: int, item: Item) -> None:
        check = self._check_of(item)
        if check and self._is_copied(item, check):
            self._adopted.append(item)  # left by a process that was killed before it could record it
            self._progress.add(item.size)
        else:
            check = self._fetched(item, str(number), check)
            folder, _, name = item.key.rpartition("/")
            with self._journal.target.below(folder) as place:
                self._journal.parts.move(str(number), place, name)
        self._journal.add(item, check.origin if check else "size")
        self._progress.file_done()

    def _check_of(self, item: Item) -> Check | None:
        if digest := self._sums.get(item.key):
            return Check("sha256", digest, SUMS)
        return self._patience.insist(lambda: self._source.check(item))

    def _is_copied(self, item: Item, check: Check) -> bool:
        try:
            with self._journal.target.open(item.key) as file:
                return os.fstat(file.fileno()).st_size == item.size and check.of_file(file) == check.digest
        except OSError:
            return False

    def _fetched(self, item: Item, part: str, check: Check | None) -> Check | None:
        """Fetch into the file `part` and verify it. Returns what it was compared with."""
        found = ""
        for _ in range(_CORRUPT_TRIES):
            try:
                size, found = self._patience.insist(lambda: self._fetch(item, part, check))
            except StoreCorrupt:  # S3's own checksum does not match
                found = "different content"
                continue
            if size != item.size:
                found = f"{size} bytes"
                continue
            if check is None or found == check.digest:
                return check
            if check.origin == "ETag" and self._patience.insist(lambda: self._source.doubts(item)):
                return None
        wanted = f"{check.digest} ({check.origin})" if check else f"{item.size} bytes"
        raise StageError(f"{self._source.url}/{item.key} is corrupt: expected {wanted}, found {found}; upload it again")

    def _fetch(self, item: Item, part: str, check: Check | None) -> tuple[int, str]:
        """Fetch a file. Returns size and digest, read from the same file that was written."""
        got = 0

        def progress(count: int) -> None:
            nonlocal got
            got += count
            self._progress.add(count)
            self._patience.answered()

        self._journal.parts.remove(part)  # left by an earlier try
        try:
            with self._journal.parts.create(part) as file:
                self._source.fetch(item, file, progress)
                file.flush()
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                return size, check.of_file(file) if check else ""
        except BaseException:
            self._progress.add(-got)
            raise

    def forget(self) -> None:
        """Drop the copies from the page cache: under the rules, a data set must not start in memory."""
        for item in self._missing:
            with self._journal.target.open(item.key) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def summary(self, seconds: float) -> CopySummary:
        return CopySummary(
            files=len(self._items),
            bytes=sum(item.size for item in self._items.values()),
            copied_files=len(self._missing) - len(self._adopted),
            copied_bytes=sum(item.size for item in self._missing) - sum(item.size for item in self._adopted),
            seconds=seconds,
            checked=Counter(record.checked for record in self._journal.records.values()),
        )


class _Patience:
    """Retries while the source is unreachable, up to a number of seconds since it last answered any thread."""

    def __init__(self, seconds: float, stop: threading.Event) -> None:
        self._seconds, self._stop = seconds, stop
        self._last = time.monotonic()

    def answered(self) -> None:
        """Note that the source has answered. Raises StageInterrupted if the copy has been stopped."""
        self._last = time.monotonic()
        if self._stop.is_set():
            raise StageInterrupted("another file could not be copied")

    def insist(self, call: Callable[[], _T]) -> _T:
        """Retry `call` until it returns. Raises StageInterrupted on timeout, StoreError if retrying is no use."""
        pause = 0.5
        while True:
            if self._stop.is_set():
                raise StageInterrupted("another file could not be copied")
            try:
                result = call()
            except StoreUnavailable as error:
                waited = time.monotonic() - self._last
                if waited >= self._seconds:
                    raise StageInterrupted(f"{error}; gave up after {waited:.0f} s") from error
                self._stop.wait(pause)
                pause = min(_LONGEST_PAUSE_SECONDS, 2 * pause)
            else:
                self._last = time.monotonic()
                return result


def _check_names(items: Mapping[str, Item], url: str) -> None:
    """Raises StageError for keys that cannot be files: objects can be named both `a` and `a/b`, files cannot."""
    folders = {key[:place] for key in items for place, letter in enumerate(key) if letter == "/"}
    if clash := next((key for key in items if key in folders), None):
        raise StageError(
            f"{url}/{clash} is an object and also a folder of objects; a file cannot be both: rename one of them"
        )
    if own := next((key for key in items if key.split("/")[0].casefold() == FOLDER), None):
        raise StageError(f"{url}/{own}: a copy keeps its records in {FOLDER}/; stage from the original source")


def _size(folder: OpenFolder, key: str) -> int:
    try:
        return folder.stat(key).st_size
    except OSError:
        return 0


def _disk_problem(error: OSError, target: Path) -> str:
    place = error.filename or target
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{target}: the disk is full; free some space, or give trainer.stage.volume a larger disk"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place}: {error.strerror}; trainer.stage.volume must be writable by user 65532"
    if error.errno == errno.ELOOP:
        return f"{place} is a symbolic link or below one, and links are not followed; remove the link"
    return f"{place}: {error.strerror or error}"
