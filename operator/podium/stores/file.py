"""Keep results in a folder, which others may have filled: see beneath.py."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import SplitResult, unquote

from podium.stores.base import (
    CHUNK_BYTES,
    PRIVATE,
    AlreadyExists,
    NotFound,
    StoreAbilities,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    check_key,
    is_listed,
    probe,
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
_UNSUPPORTED = frozenset({errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_TEMPORARY = f"{PRIVATE}tmp-"
_ABANDONED_SECONDS = 60.0


def open_url(url: SplitResult, **_: str | None) -> FileStore | None:
    """The store at a file:// URL on this machine; None for another machine."""
    return FileStore(Path(unquote(url.path))) if url.netloc in ("", "localhost") else None


class FileStore:
    """A store in a folder. Every put is atomic, and on disk when it returns. No link below the folder is followed.

    Names with line breaks are left out of listings. Links, pipes and devices are listed, but reading them fails.
    """

    def __init__(self, folder: Path, prefix: str = "", _kept: _Folders | None = None) -> None:
        self._root = folder  # the user named it, but its content may come from others
        self._prefix = prefix
        self._kept = _kept  # by `together`
        self.folder = folder / prefix
        self.url = self.folder.as_uri()

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, content_type: str = "application/octet-stream"
    ) -> None:
        del content_type  # files do not have one
        self._put(key, io.BytesIO(data), if_absent=if_absent)

    def put_file(self, key: str, file: BinaryIO, *, content_type: str = "application/octet-stream") -> None:
        del content_type
        file.seek(0)
        self._put(key, file)

    def _put(self, key: str, content: BinaryIO, *, if_absent: bool = False) -> None:
        below = self._below(key)
        parent, _, name = below.rpartition("/")
        temporary = f"{_TEMPORARY}{random.getrandbits(64):016x}"
        with self._open() as folders, _translated(self._root, below, _WRITABLE):
            folder, file = self._create(folders, parent, temporary)
            try:
                _write(file, content)
                folders.sync_later(parent)  # also the name that another process has just given
                if if_absent:
                    _link(folder, temporary, name)
                else:
                    folder.move(temporary, folder, name)
                    temporary = ""
            finally:
                if temporary:
                    folder.remove(temporary)

    def get(self, key: str) -> bytes:
        return b"".join(self.chunks(key))

    def chunks(self, key: str) -> Iterator[bytes]:
        below = self._below(key)
        with self._open() as folders, _translated(self._root, below), folders.root().open(below) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def list(self, prefix: str = "") -> list[str]:
        above = prefix.rpartition("/")[0]
        parts = above.split("/")
        if not all(parts) or "." in parts or ".." in parts or "\0" in above:
            above = ""  # it is not a folder
        try:
            with self._open() as folders, _translated(self.folder):
                keys = _keys(folders.below(self._prefix), above, prefix)
        except NotFound:
            return []
        return sorted(key for key in keys if is_listed(key, prefix))

    def delete(self, key: str) -> None:
        below = self._below(key)
        parent, _, name = below.rpartition("/")
        above, _, last = parent.rpartition("/")
        with (
            self._open() as folders,
            _translated(self._root, below, _WRITABLE),
            contextlib.suppress(FileNotFoundError),
        ):
            folders.below(parent).remove(name)
            if parent != self._prefix:  # an empty folder is not an object
                with contextlib.suppress(OSError):
                    folders.below(above).remove_folder(last)
                    folders.forget(parent)

    def child(self, prefix: str) -> FileStore:
        return FileStore(self._root, self._below(prefix), self._kept)

    @contextmanager
    def together(self) -> Iterator[FileStore]:
        with self._open() as folders:
            yield FileStore(self._root, self._prefix, folders)

    def check(self) -> StoreAbilities:
        return StoreAbilities(self.url, probe(self, self.put))

    @contextmanager
    def _open(self) -> Iterator[_Folders]:
        """The open folders, synced at the end of the block or of the one around it."""
        if self._kept:
            yield self._kept
            return
        with _Folders(self._root) as folders:
            yield folders
            with _translated(self.folder, remedy=_WRITABLE):
                folders.sync()

    def _below(self, key: str) -> str:
        """The key below the folder that the user named. Raises ValueError."""
        check_key(key)
        return "/".join([*filter(None, [self._prefix]), *key_parts(key)])

    def _create(self, folders: _Folders, parent: str, name: str) -> tuple[OpenFolder, int]:
        """Create a file in a folder, and the folder if it is missing. Raises StoreError."""
        try:
            folder = folders.below(parent, create=True)
            return folder, folder.create_descriptor(name)
        except (FileExistsError, NotADirectoryError) as error:  # unlike elsewhere, this is not about the object itself
            path = self._root / parent
            raise StoreRefused(f"cannot create {path}: {_REFUSED[errno.ENOTDIR]}; choose another folder") from error
        except FileNotFoundError as error:  # another thread removed the empty folder
            folders.forget(parent)
            path = self._root / parent
            raise StoreUnavailable(f"cannot create {path}: {error.strerror}; a retry may help") from error


class _Folders:
    """Folders below `root` that one thread uses: each is opened once, and synced once after files got their names."""

    def __init__(self, root: Path) -> None:
        self._path = root
        self._root: OpenFolder | None = None
        self._open: dict[str, OpenFolder] = {}
        self._unsynced: dict[str, OpenFolder] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for folder in (*self._open.values(), *filter(None, [self._root])):
            folder.close()

    def root(self, *, create: bool = False) -> OpenFolder:
        self._root = self._root or OpenFolder.at(self._path, create=create)
        return self._root

    def below(self, key: str, *, create: bool = False) -> OpenFolder:
        """The folder at `key`. With `create`, it and its parents are created; their names are on disk at once."""
        if key not in self._open:
            above, _, name = key.rpartition("/")
            if parent := self._open.get(above):
                self._open[key] = parent.below(name, create=create)
            else:
                self._open[key] = self.root(create=create).below(key, create=create)
        return self._open[key]

    def forget(self, key: str) -> None:
        """Close a folder that was removed."""
        if folder := self._open.pop(key, None):
            folder.close()
            self._unsynced.pop(key, None)

    def sync_later(self, key: str) -> None:
        self._unsynced[key] = self._open[key]

    def sync(self) -> None:
        """Write the names in the folders to disk."""
        for folder in self._unsynced.values():
            folder.sync()


def _write(file: int, content: BinaryIO) -> None:
    """Write a whole file to disk, and close it."""
    try:
        while piece := content.read(CHUNK_BYTES):
            left = memoryview(piece)
            while left:
                left = left[os.write(file, left) :]
        os.fsync(file)
    finally:
        os.close(file)


def _keys(folder: OpenFolder, above: str, prefix: str) -> Sequence[str]:
    """The keys in the folder `above`, which is below `folder` or "", that may start with `prefix`; none if there is no
    such folder."""
    try:
        below = folder.below(above)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # a file or a link has nothing below it
            return ()
        raise
    rest = prefix.removeprefix(f"{above}/") if above else prefix
    with below:
        return [f"{above}/{key}" if above else key for key, _ in below.walk(rest)]


def _link(folder: OpenFolder, temporary: str, name: str) -> None:
    """Give the file its name. Raises FileExistsError if the name is taken.

    The first way that the file system has: a hard link; a rename that replaces nothing; or else an empty file that
    claims the name until it is replaced. After a crash in between, the empty file counts as absent after a minute.
    """
    for name_it in (folder.link, folder.rename_new):
        try:
            name_it(temporary, name)
        except FileExistsError:
            # NFS repeats a request whose answer was lost, and then reports that the name is taken: by this file
            if folder.same(temporary, name):
                return
            raise
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        else:
            return
    try:
        folder.create(name).close()
    except FileExistsError:
        if not _is_abandoned(folder, name):
            raise
    folder.move(temporary, folder, name)


def _is_abandoned(folder: OpenFolder, name: str) -> bool:
    """Whether a file is empty, and older than any put between its two steps."""
    status = folder.stat(name)
    return status.st_size == 0 and time.time() - status.st_mtime > _ABANDONED_SECONDS


@contextmanager
def _translated(folder: Path, key: str = "", remedy: str = "make it readable") -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise AlreadyExists(f"{folder / key} already exists") from error
    except FileNotFoundError as error:
        raise NotFound(f"{folder / key} does not exist") from error
    except OSError as error:
        raise _error(Path(error.filename or folder / key), error, remedy) from error


def _error(path: Path, error: OSError, remedy: str) -> StoreError:
    code = error.errno or 0
    if code in _FOREIGN:
        return StoreRefused(f"{path} {_FOREIGN[code]}")
    if code in _REFUSED:
        return StoreRefused(f"{path}: {_REFUSED[code]}; {remedy}")
    return StoreUnavailable(f"{path}: {_LATER.get(code) or f'{error.strerror or error}; a retry may help'}")
