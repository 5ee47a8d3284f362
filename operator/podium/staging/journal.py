"""What of a data set is already here, and how it was verified: ``TARGET/.podium-stage/``.

A line of JSON for every file, written as soon as the file has its name. A warm copy is verified by size and time of
change against it, without reading a byte; whatever has no line is read and compared again.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from podium.staging.errors import StageError
from podium.staging.source import Item

FOLDER = ".podium-stage"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Record:
    """One verified file."""

    tag: str  # of the source
    size: int
    changed_ns: int  # of the copy
    checked: str  # by what: SHA256SUMS, checksum, ETag or size


class Journal:
    """The records of one target. Only one process has it open: others wait."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = target / FOLDER
        self.parts = self.folder / "parts"
        self._synced = self.folder / "verified.jsonl"
        # Of files that may not be on the disk yet: after a crash of the node, these are read and compared again
        self._recent = self.folder / f"recent-{_BOOT_ID.read_text().strip()}.jsonl"
        self.records: dict[str, Record] = {}
        self._lock = threading.Lock()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Wait for the target, read what is known of it, throw away what was left half-done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"stage: waiting for another copying into {self.target}", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(self.parts, ignore_errors=True)
            self.parts.mkdir()
            self.records = _read(self._synced) | _read(self._recent)
            yield

    def is_here(self, item: Item) -> bool:
        """Whether the verified copy of this very content is untouched."""
        record = self.records.get(item.key)
        if record is None or (record.tag, record.size) != (item.tag, item.size):
            return False
        try:
            status = (self.target / item.key).stat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (record.size, record.changed_ns)

    def add(self, item: Item, checked: str) -> None:
        """Note that the file of `item` is in its place and is right."""
        changed = (self.target / item.key).stat().st_mtime_ns
        record = self.records[item.key] = Record(item.tag, item.size, changed, checked)
        with self._lock, self._recent.open("a") as file:
            file.write(_line(item.key, record))

    def drop_others(self, items: Mapping[str, Item]) -> None:
        """Remove copies of what the source has no more. Raises StageError for files that nobody copied here."""
        for key in [key for key in self.records if key not in items]:
            (self.target / key).unlink(missing_ok=True)
            del self.records[key]
            self._prune((self.target / key).parent)
        stranger = next((path for path in self._present() if path not in items), None)
        if stranger:
            raise StageError(f"{self.target / stranger} is not of the data set; choose an empty folder")

    def seal(self) -> None:
        """Write the records anew, each once, after their files are on the disk."""
        os.sync()  # one for all: a sync for each of a million files takes longer than copying them
        temporary = self._synced.with_suffix(".new")
        temporary.write_text("".join(_line(key, record) for key, record in self.records.items()))
        temporary.replace(self._synced)
        for recent in self.folder.glob("recent-*.jsonl"):
            recent.unlink()
        shutil.rmtree(self.parts, ignore_errors=True)

    def _prune(self, folder: Path) -> None:
        """Remove folders that have become empty: to a trainer an empty folder may be a class."""
        while folder != self.target and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def _present(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.target):
            if Path(folder) == self.target:
                folders[:] = [name for name in folders if name != FOLDER]
            for name in files:
                yield Path(folder, name).relative_to(self.target).as_posix()


def _read(file: Path) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            key, *values = json.loads(line)
            records[key] = Record(*values)
        except (ValueError, TypeError):  # the last line of a process that was killed
            continue
    return records


def _line(key: str, record: Record) -> str:
    return json.dumps([key, record.tag, record.size, record.changed_ns, record.checked]) + "\n"
