"""Results in a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from podium.stores.base import CHUNK_BYTES, PROBE, AlreadyExists, NotFound, StoreError, StoreRefused, StoreUnavailable

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EIO: "the disk fails"}
_CLOSED = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EISDIR: "there is a folder of that name",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "symbolic links go round in a circle",
}
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_TEMPORARY = ".podium-tmp-"


class FileStore:
    """A folder; every put is atomic and on disk when it returns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = folder.as_uri()

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, content_type: str = "application/octet-stream"
    ) -> None:
        del content_type  # a file has none
        path = self._path(key)
        with _translated(path):
            temporary = _write_temporary(path.parent, data)
            try:
                if if_absent:
                    _link(temporary, path)
                else:
                    temporary.replace(path)
                _sync_folder(path.parent)  # the name is on disk, too
            finally:
                temporary.unlink(missing_ok=True)

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with _translated(path):
            return path.read_bytes()

    def chunks(self, key: str) -> Iterator[bytes]:
        path = self._path(key)
        with _translated(path), path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def list(self, prefix: str = "") -> list[str]:
        with _translated(self.folder):
            files = (path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith(_TEMPORARY))
            keys = (path.relative_to(self.folder).as_posix() for path in files)
            return sorted(key for key in keys if key.startswith(prefix))

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _translated(path):
            path.unlink(missing_ok=True)
            if path.parent != self.folder:  # an empty folder is no object
                try:
                    path.parent.rmdir()
                except OSError:
                    return

    def child(self, prefix: str) -> FileStore:
        return FileStore(self._path(prefix))

    def check(self) -> None:
        self.put(PROBE, b"")
        self.delete(PROBE)

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts or "\0" in key:
            raise ValueError(f"key {key!r} leaves the store; keys are relative paths without '..'")
        return self.folder.joinpath(*parts)


def _write_temporary(folder: Path, data: bytes) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=folder)
    except (FileExistsError, NotADirectoryError) as error:  # not the object itself, as elsewhere
        raise StoreRefused(f"{folder}: {_CLOSED[errno.ENOTDIR]}; choose another folder") from error
    except FileNotFoundError as error:
        raise StoreUnavailable(f"{folder} was removed just now; it is tried again") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _link(temporary: Path, path: Path) -> None:
    """Give the file its name unless that is taken. Raises FileExistsError."""
    try:
        os.link(temporary, path)  # the one atomic call that fails when the name is taken
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # claim the name, then fill it: after a crash in between the object is empty
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        temporary.replace(path)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise AlreadyExists(f"{path} exists already") from error
    except FileNotFoundError as error:
        raise NotFound(f"{path} does not exist") from error
    except OSError as error:
        raise _error(path, error) from error


def _error(path: Path, error: OSError) -> StoreError:
    code = error.errno or 0
    if code in _CLOSED:
        return StoreRefused(f"{path}: {_CLOSED[code]}; choose a folder that can be written to")
    return StoreUnavailable(f"{path}: {_FULL.get(code) or error.strerror or error}; it is tried again")
