"""Keep results in a folder, which others may have filled: see beneath.py."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, unquote

from podium.stores.base import (
    CHUNK_BYTES,
    PROBE,
    AlreadyExists,
    NotFound,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    check_key,
    is_one_line,
)
from podium.stores.beneath import OpenFolder, key_parts

_WRITABLE = "choose a writable folder"
_REFUSED = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "part of the path is a file",
    errno.EISDIR: "there is a folder with that name",
    errno.ENAMETOOLONG: "the name is too long",
}
_LATER = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the quota is used up; free some space",
    errno.EIO: "the disk reports an I/O error; check the disk",
}
_FOREIGN = {
    errno.ELOOP: "is a symbolic link or below one; links are not followed, so put the file itself there",
    errno.ENXIO: "is not a regular file; remove it",
}
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_TEMPORARY = ".podium-tmp-"


def open_url(url: SplitResult, **_: str | None) -> FileStore | None:
    """The store at a file:// URL on this machine; None for another machine."""
    return FileStore(Path(unquote(url.path))) if url.netloc in ("", "localhost") else None


class FileStore:
    """A store in a folder. Every put is atomic, and on disk when it returns. No link below the folder is followed.

    Names with line breaks are left out of listings. Links, pipes and devices are listed, but reading them fails.
    """

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self._root = folder  # the user named it, but its content may come from others
        self._prefix = prefix
        self.folder = folder / prefix
        self.url = self.folder.as_uri()

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, content_type: str = "application/octet-stream"
    ) -> None:
        del content_type  # files do not have one
        parent, _, name = self._below(key).rpartition("/")
        temporary = _TEMPORARY + secrets.token_hex(8)
        with _translated(self._path(key), _WRITABLE):
            folder, file = self._create(parent, temporary)
            with folder:
                try:
                    with file:
                        file.write(data)
                        file.flush()
                        os.fsync(file.fileno())
                    if if_absent:
                        _link(folder, temporary, name)
                    else:
                        folder.move(temporary, folder, name)
                    folder.sync()  # the name is on disk, too
                finally:
                    folder.remove(temporary)

    def get(self, key: str) -> bytes:
        return b"".join(self.chunks(key))

    def chunks(self, key: str) -> Iterator[bytes]:
        below = self._below(key)
        with _translated(self._path(key)), OpenFolder.at(self._root) as root, root.open(below) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def list(self, prefix: str = "") -> list[str]:
        try:
            with _translated(self.folder), OpenFolder.at(self._root) as root, root.below(self._prefix) as folder:
                found = (key for key, entry in folder.walk() if not entry.name.startswith(_TEMPORARY))
                return sorted(key for key in found if key.startswith(prefix) and is_one_line(key))
        except NotFound:
            return []

    def delete(self, key: str) -> None:
        parent, _, name = self._below(key).rpartition("/")
        above, _, last = parent.rpartition("/")
        with (
            _translated(self._path(key), _WRITABLE),
            contextlib.suppress(FileNotFoundError),
            OpenFolder.at(self._root) as root,
        ):
            with root.below(parent) as folder:
                folder.remove(name)
            if parent != self._prefix:  # an empty folder is not an object
                with root.below(above) as folder, contextlib.suppress(OSError):
                    folder.remove_folder(last)

    def child(self, prefix: str) -> FileStore:
        return FileStore(self._root, self._below(prefix))

    def check(self) -> None:
        self.put(PROBE, b"")
        self.delete(PROBE)

    def _below(self, key: str) -> str:
        """The key below the folder that the user named. Raises ValueError."""
        check_key(key)
        return "/".join([*filter(None, [self._prefix]), *key_parts(key)])

    def _path(self, key: str) -> Path:
        return self._root / self._below(key)

    def _create(self, parent: str, name: str) -> tuple[OpenFolder, BinaryIO]:
        """Create a file in a folder, and the folder if it is missing. Raises StoreError."""
        path = self._root / parent
        try:
            with OpenFolder.at(self._root, create=True) as root:
                folder = root.below(parent, create=True)
            try:
                return folder, folder.create(name)
            except BaseException:
                folder.close()
                raise
        except (FileExistsError, NotADirectoryError) as error:  # unlike elsewhere, this is not about the object itself
            raise StoreRefused(f"cannot create {path}: {_REFUSED[errno.ENOTDIR]}; choose another folder") from error
        except FileNotFoundError as error:  # another thread removed the empty folder
            raise StoreUnavailable(f"cannot create {path}: {error.strerror}; a retry may help") from error


def _link(folder: OpenFolder, temporary: str, name: str) -> None:
    """Give the file its name. Raises FileExistsError if the name is taken."""
    try:
        folder.link(temporary, name)  # the one atomic call that fails when the name is taken
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # claim the name, then replace it: after a crash in between, the object is empty
        folder.create(name).close()
        folder.move(temporary, folder, name)


@contextmanager
def _translated(path: Path, remedy: str = "make it readable") -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise AlreadyExists(f"{path} already exists") from error
    except FileNotFoundError as error:
        raise NotFound(f"{path} does not exist") from error
    except OSError as error:
        raise _error(Path(error.filename or path), error, remedy) from error


def _error(path: Path, error: OSError, remedy: str) -> StoreError:
    code = error.errno or 0
    if code in _FOREIGN:
        return StoreRefused(f"{path} {_FOREIGN[code]}")
    if code in _REFUSED:
        return StoreRefused(f"{path}: {_REFUSED[code]}; {remedy}")
    return StoreUnavailable(f"{path}: {_LATER.get(code) or f'{error.strerror or error}; a retry may help'}")
