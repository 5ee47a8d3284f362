"""Access files below a folder without ever leaving it, whatever others have put there.

Others fill these folders and may change them at any time. So a path is never checked before it is opened: a file is
opened beneath its folder without following links, and then the open file is checked. The folder itself may be a link,
because the user named it. A mount below it counts as part of it, because only an administrator can create one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Any, Self

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PATH_MAX = 4096
_SYS_OPENAT2 = 437  # on all architectures; since Linux 5.6
_OPEN_HOW = Struct("QQQ")  # struct open_how: flags, mode, resolve
_RENAME_NOREPLACE = 1
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08


def key_parts(key: str) -> tuple[str, ...]:
    """The parts of a key's path. Raises ValueError for a key that leaves its folder."""
    parts = tuple(part for part in os.fspath(key).split("/") if part not in ("", "."))
    if not parts or key.startswith("/") or ".." in parts or "\0" in key:
        raise ValueError(f"key {key!r} leaves the store; keys are relative paths without '..'")
    return parts


class OpenFolder:
    """An open folder, which stays valid if its name changes. Use it in a ``with`` statement.

    Keys are relative paths. Every method raises OSError with the full path (ELOOP for a link on the way, ENXIO for
    anything but a regular file, ENOENT and so on), and ValueError for a key that leaves the folder.
    """

    def __init__(self, path: Path, descriptor: int, key: str = "") -> None:
        """`key` is that of the folder below `path`."""
        self._above, self._key = path, key  # joined only when somebody asks: that takes as long as opening a file
        self.descriptor = descriptor

    @property
    def path(self) -> Path:
        return self._above / self._key

    @classmethod
    def at(cls, path: Path, *, create: bool = False) -> OpenFolder:
        """Open the folder at a path that the user named; links in this path are followed."""
        try:
            return cls(path, os.open(path, _FOLDER))
        except FileNotFoundError:
            if not create:
                raise
        path.mkdir(parents=True, exist_ok=True)
        return cls(path, os.open(path, _FOLDER))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        os.close(self.descriptor)

    def below(self, key: str = "", *, create: bool = False) -> OpenFolder:
        """Open a folder below this one; with `create`, first create it and its parents if they are missing."""
        parts = key_parts(key) if key else ()
        with _Naming(self, key):
            opened = _create(self.descriptor, parts) if create else _open(self.descriptor, parts, _FOLDER)
        return OpenFolder(self._above, opened, f"{self._key}/{key}" if self._key and key else self._key or key)

    def open(self, key: str) -> io.FileIO:
        """Open a regular file for reading. Raises OSError for anything else; a pipe or device does not block."""
        with _Naming(self, key):
            # without O_NONBLOCK, opening a pipe would block before it can be recognized
            opened = _open(self.descriptor, key_parts(key), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                _require_regular(os.fstat(opened).st_mode)
                return io.FileIO(opened, "rb")
            except BaseException:
                os.close(opened)
                raise

    def stat(self, key: str) -> os.stat_result:
        """The status of what is at `key`; links are not followed."""
        folder, _, name = "/".join(key_parts(key)).rpartition("/")
        with self.below(folder) as parent, _Naming(self, key):
            return os.stat(name, dir_fd=parent.descriptor, follow_symlinks=False)

    def walk(self, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Key and entry of everything but folders, by name. Links are included and not followed.

        Folders in which no key can start with `prefix` are left out.

        An entry is valid until the next one is taken. A folder that vanishes in the meantime has no entries.
        """
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                opened = self.below(folder)
            except FileNotFoundError:
                continue
            except PermissionError:
                if folder.rpartition("/")[2] == "lost+found":  # belongs to the file system and is readable only by root
                    continue
                raise
            with opened, _Naming(opened):
                with os.scandir(opened.descriptor) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
                above = f"{folder}/" if folder else ""
                subfolders = []
                for entry in entries:
                    key = above + entry.name
                    if not entry.is_dir(follow_symlinks=False):
                        yield key, entry
                    elif key.startswith(prefix) or prefix.startswith(f"{key}/"):
                        subfolders.append(key)
                folders += reversed(subfolders)

    # Writing: names directly in this folder

    def create(self, name: str) -> io.BufferedRandom:
        """Create a file for writing and reading. Raises FileExistsError if the name is taken, even by a link."""
        return io.BufferedRandom(io.FileIO(self.create_descriptor(name), "r+b"))

    def create_descriptor(self, name: str) -> int:
        """Do the same with no more than two system calls: of these, a file object needs as many again."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with _Naming(self, name):
            descriptor = os.open(name, flags, 0o600, dir_fd=self.descriptor)
            os.fchmod(descriptor, 0o644)
            return descriptor

    def append(self, name: str) -> io.BufferedWriter:
        """Open a file for appending; create it if missing. Raises OSError (EMLINK) if it has another name, too."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with _Naming(self, name):
            file = os.fdopen(os.open(name, flags, 0o644, dir_fd=self.descriptor), "ab")
            status = os.fstat(file.fileno())
            _require_regular(status.st_mode)
            if status.st_nlink > 1:
                raise OSError(errno.EMLINK, "the file has another name, too")
            return file

    def move(self, name: str, to: OpenFolder, new: str) -> None:
        """Rename a file, replacing whatever has that name; a link is replaced, not followed."""
        with _Naming(to, new):
            os.replace(name, new, src_dir_fd=self.descriptor, dst_dir_fd=to.descriptor)

    def link(self, name: str, new: str) -> None:
        """Give a file a second name. Raises FileExistsError if the name is taken."""
        with _Naming(self, new):
            os.link(name, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor, follow_symlinks=False)

    def rename_new(self, name: str, new: str) -> None:
        """Rename a file. Raises FileExistsError if the name is taken, and OSError where the kernel cannot do that."""
        with _Naming(self, new):
            rename = getattr(_libc(), "renameat2", None)  # musl has none
            folder = self.descriptor
            if rename is None or rename(folder, os.fsencode(name), folder, os.fsencode(new), _RENAME_NOREPLACE):
                code = ctypes.get_errno() if rename else errno.ENOSYS
                raise OSError(code, os.strerror(code))

    def same(self, name: str, other: str) -> bool:
        """Whether two names are those of one file."""
        return os.path.samestat(self.stat(name), self.stat(other))

    def remove(self, name: str) -> None:
        """Remove a file or link, if there is one."""
        with _Naming(self, name), contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def remove_folder(self, name: str) -> None:
        """Remove an empty folder."""
        with _Naming(self, name):
            os.rmdir(name, dir_fd=self.descriptor)

    def sync(self) -> None:
        """Write the names in this folder to disk."""
        with _Naming(self):
            _sync(self.descriptor)


@cache
def has_openat2() -> bool:
    """Whether the kernel supports openat2, which opens beneath a folder; a sandbox may deny the call."""
    folder = os.open("/", _FOLDER)
    try:
        os.close(_openat2(folder, ".", _FOLDER))
    except OSError:
        return False
    finally:
        os.close(folder)
    return True


def _open(folder: int, parts: tuple[str, ...], flags: int) -> int:
    path = "/".join(parts) or "."
    if has_openat2():
        return _openat2(folder, path, flags)
    if len(os.fsencode(path)) >= _PATH_MAX:  # the same limit as with openat2
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    opened = os.dup(folder)
    for place, part in enumerate(parts or (".",), 1):
        last = place == len(parts) or not parts
        try:
            below = _open_part(opened, part, flags if last else os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        finally:
            os.close(opened)
        opened = below
    return opened


def _openat2(folder: int, path: str, flags: int) -> int:
    how = _OPEN_HOW.pack(flags, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
    while True:
        opened = int(_syscall()(_SYS_OPENAT2, folder, os.fsencode(path), how, len(how)))
        if opened >= 0:
            return opened
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code), path)


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


@cache
def _syscall() -> Any:
    call = _libc().syscall
    call.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
    call.restype = ctypes.c_long
    return call


def _open_part(folder: int, part: str, flags: int) -> int:
    """Open a name in a folder. Raises OSError (ELOOP) if it is a link."""
    try:
        return os.open(part, flags | os.O_NOFOLLOW, dir_fd=folder)
    except NotADirectoryError:  # the kernel reports this for a link, too
        if stat.S_ISLNK(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), part) from None
        raise


def _create(folder: int, parts: tuple[str, ...]) -> int:
    with contextlib.suppress(FileNotFoundError):  # most often it is there, and each part would cost three calls
        return _open(folder, parts, _FOLDER)
    opened = os.dup(folder)
    for part in parts:
        try:
            below = _open_or_make(opened, part)
        finally:
            os.close(opened)
        opened = below
    return opened


def _open_or_make(folder: int, part: str) -> int:
    with contextlib.suppress(FileNotFoundError):
        return _open_part(folder, part, _FOLDER)
    with contextlib.suppress(FileExistsError):
        os.mkdir(part, dir_fd=folder)
        _sync(folder)  # else the folder is gone after a crash, with all that was stored in it
    return _open_part(folder, part, _FOLDER)


def _sync(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in {
            errno.EINVAL,
            errno.ENOTSUP,
            errno.ENOSYS,
        }:  # some network file systems have no such call
            raise


def _require_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):  # the kernel reports this for a socket, too
        raise OSError(errno.ENXIO, "not a regular file")


class _Naming:
    """Makes errors name the whole path instead of its last part."""

    __slots__ = "_folder", "_key"

    def __init__(self, folder: OpenFolder, key: str = "") -> None:
        self._folder = folder
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(self._folder.path / self._key), None
