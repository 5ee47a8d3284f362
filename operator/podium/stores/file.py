"""Results in a folder."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from podium.stores.base import PROBE, AlreadyExists, NotFound, StoreError, StoreRefused, StoreUnavailable

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EIO: "the disk fails"}
_CLOSED = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EISDIR: "there is a folder of that name",
}
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
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).chmod(0o644)
                if if_absent:
                    os.link(name, path)  # the one atomic call that fails when the name is taken
                else:
                    Path(name).replace(path)
            finally:
                Path(name).unlink(missing_ok=True)

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with _translated(path):
            return path.read_bytes()

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
        if not parts or key.startswith("/") or ".." in parts:
            raise ValueError(f"key {key!r} leaves the store")
        return self.folder.joinpath(*parts)


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
    return StoreUnavailable(f"{path}: {_FULL.get(code, error.strerror)}; it is tried again")
