"""Record which files of a data set are already copied, and how they were verified: ``TARGET/.podium-stage/``.

It has a line of JSON for every file, written as soon as the file has its name. In a warm copy, only size and
modification time are compared with the record, and no file is read; a file without a record is read and compared again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from podium.staging.errors import StageError
from podium.staging.source import Item
from podium.stores.beneath import OpenFolder, key_parts

FOLDER = ".podium-stage"
_PARTS, _SYNCED, _NEW = "parts", "verified.jsonl", "verified.new"
_MAX_BYTES = 1 << 30  # of records, enough for five million files
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Record:
    """One verified file."""

    tag: str  # of the file at the source
    size: int
    changed_ns: int  # of the copy
    checked: str  # what it was compared with: SHA256SUMS, checksum, ETag or size


class Journal:
    """The records of one target. Only one process at a time can open it; others wait.

    The target may be shared with others, so nothing in it is read or written through a link.
    """

    target: OpenFolder  # these three exist only while the journal is open
    parts: OpenFolder
    _folder: OpenFolder

    def __init__(self, target: Path) -> None:
        self.path = target
        # Lists files that may not be on disk yet: after the node has crashed, they are read and compared again
        self._recent = f"recent-{_BOOT_ID.read_text().strip()}.jsonl"
        self.records: dict[str, Record] = {}
        self._lock = threading.Lock()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Wait for the target, read its records, and discard unfinished files."""
        with (
            OpenFolder.at(self.path, create=True) as self.target,
            self.target.below(FOLDER, create=True) as self._folder,
            self._folder.append("lock") as lock,
        ):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"stage: waiting for another copy into {self.path}", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._drop_parts()
            with self._folder.below(_PARTS, create=True) as self.parts:
                self.records = _read(self._folder, _SYNCED) | _read(self._folder, self._recent)
                yield

    def is_here(self, item: Item) -> bool:
        """Whether there is a verified copy of exactly this content, unchanged since."""
        record = self.records.get(item.key)
        if record is None or (record.tag, record.size) != (item.tag, item.size):
            return False
        try:
            status = self.target.stat(item.key)
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (record.size, record.changed_ns)

    def add(self, item: Item, checked: str) -> None:
        """Record that the file of `item` is in its place and verified."""
        changed = self.target.stat(item.key).st_mtime_ns
        record = self.records[item.key] = Record(item.tag, item.size, changed, checked)
        with self._lock, self._folder.append(self._recent) as file:
            file.write(_line(item.key, record))

    def drop_others(self, items: Mapping[str, Item]) -> None:
        """Remove copies of files that left the source. Raises StageError for files that were not copied from it."""
        for key in [key for key in self.records if key not in items]:
            del self.records[key]
            folder, _, name = key.rpartition("/")
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), self.target.below(folder) as parent:
                parent.remove(name)
            self._prune(folder)
        present = (key for key, _ in self.target.walk() if key.partition("/")[0] != FOLDER)
        if stranger := next((key for key in present if key not in items), None):
            raise StageError(f"{self.path / stranger} is not part of the data set; choose an empty folder")

    def seal(self) -> None:
        """Rewrite the records, one per file, after all files are on disk."""
        os.sync()  # once for all: a sync per file takes longer than copying a million files
        self._folder.remove(_NEW)
        with self._folder.create(_NEW) as file:
            file.writelines(_line(key, record) for key, record in self.records.items())
        self._folder.move(_NEW, self._folder, _SYNCED)
        for name in [key for key, _ in self._folder.walk() if key.startswith("recent-")]:
            self._folder.remove(name)
        self._drop_parts()

    def _drop_parts(self) -> None:
        shutil.rmtree(_PARTS, ignore_errors=True, dir_fd=self._folder.descriptor)

    def _prune(self, folder: str) -> None:
        """Remove folders that have become empty: a trainer may take an empty folder for a class."""
        while folder:
            above, _, name = folder.rpartition("/")
            try:
                with self.target.below(above) as parent:
                    parent.remove_folder(name)
            except OSError:  # it is not empty
                return
            folder = above


def _read(folder: OpenFolder, name: str) -> dict[str, Record]:
    """Read the records in a file, which others may have written. Raises StageError."""
    records: dict[str, Record] = {}
    try:
        file = folder.open(name)
    except FileNotFoundError:
        return records
    with file:
        if os.fstat(file.fileno()).st_size > _MAX_BYTES:
            raise StageError(f"{folder.path / name} is larger than {_MAX_BYTES >> 20} MiB; remove it")
        for line in file.readall().splitlines():
            try:
                key, *values = json.loads(line)
                key_parts(key)
                records[key] = Record(*values)
            except (ValueError, TypeError, RecursionError):  # the last line of a process that was killed
                continue
    return records


def _line(key: str, record: Record) -> bytes:
    return json.dumps([key, record.tag, record.size, record.changed_ns, record.checked]).encode() + b"\n"
