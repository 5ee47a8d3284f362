"""Keep results in a folder, which others may have filled: see beneath.py."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
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

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self._root = folder  # the user named it, but its content may come from others
        self._prefix = prefix
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
        temporary = _TEMPORARY + secrets.token_hex(8)
        with _translated(self._root / below, _WRITABLE):
            folder, file = self._create(parent, temporary)
            with folder:
                try:
                    with file:
                        shutil.copyfileobj(content, file, CHUNK_BYTES)
                        file.flush()
                        os.fsync(file.fileno())
                    if if_absent:
                        _link(folder, temporary, name)
                    else:
                        folder.move(temporary, folder, name)
                        temporary = ""
                    folder.sync()  # the name is on disk, too
                finally:
                    if temporary:
                        folder.remove(temporary)

    def get(self, key: str) -> bytes:
        return b"".join(self.chunks(key))

    def chunks(self, key: str) -> Iterator[bytes]:
        below = self._below(key)
        with _translated(self._root / below), OpenFolder.at(self._root) as root, root.open(below) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def list(self, prefix: str = "") -> list[str]:
        above = prefix.rpartition("/")[0]
        parts = above.split("/")
        if not all(parts) or "." in parts or ".." in parts or "\0" in above:
            above = ""  # it is not a folder
        try:
            with _translated(self.folder), OpenFolder.at(self._root) as root, root.below(self._prefix) as folder:
                keys = _keys(folder, above)
        except NotFound:
            return []
        return sorted(key for key in keys if is_listed(key, prefix))

    def delete(self, key: str) -> None:
        below = self._below(key)
        parent, _, name = below.rpartition("/")
        above, _, last = parent.rpartition("/")
        with (
            _translated(self._root / below, _WRITABLE),
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

    def check(self) -> StoreAbilities:
        return StoreAbilities(self.url, probe(self, self.put))

    def _below(self, key: str) -> str:
        """The key below the folder that the user named. Raises ValueError."""
        check_key(key)
        return "/".join([*filter(None, [self._prefix]), *key_parts(key)])

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


def _keys(folder: OpenFolder, above: str) -> Sequence[str]:
    """The keys of everything in the folder `above`, which is below `folder` or ""; none if there is no such folder."""
    try:
        below = folder.below(above)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # a file or a link has nothing below it
            return ()
        raise
    with below:
        return [f"{above}/{key}" if above else key for key, _ in below.walk()]


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
