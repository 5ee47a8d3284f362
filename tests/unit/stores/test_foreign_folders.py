"""Folders that somebody else filled: nothing outside them is read, listed or written, and nothing blocks."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from podium.cli.errors import UsageError
from podium.cli.main import app
from podium.cli.package import _read_code
from podium.stores import AlreadyExists, FileStore, NotFound, StoreError, StoreRefused, beneath, open_store
from tests.unit.cli.logs import write
from tests.unit.cli.test_check import changed, v06_log
from tests.unit.cli.test_package import SYSTEM
from tests.unit.cli.test_review import own_run

SECRET = b"aws_secret_access_key = do-not-publish"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "credentials"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "foreign"
    path.mkdir()
    (path / "kept.txt").write_bytes(b"kept")
    return path


@pytest.fixture(params=["openat2", "part by part"])
def store(folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    """Opened by each of the two ways; a kernel without openat2 has only the second."""
    if request.param == "part by part":
        monkeypatch.setattr(beneath, "has_openat2", lambda: False)
    elif not beneath.has_openat2():
        pytest.skip("this kernel, or the sandbox, has no openat2")
    return FileStore(folder)


LINKS: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "a link to a file": ("run.yaml", lambda folder, secret: (folder / "run.yaml").symlink_to(secret)),
    "a relative link": ("run.yaml", lambda folder, _: (folder / "run.yaml").symlink_to("../home/credentials")),
    "a link to a folder": ("in/credentials", lambda folder, secret: (folder / "in").symlink_to(secret.parent)),
    "a link to the root": ("in/etc/passwd", lambda folder, _: (folder / "in").symlink_to("/")),
    "a link of links": (
        "run.yaml",
        lambda folder, secret: ((folder / "a").symlink_to(secret), (folder / "run.yaml").symlink_to("a"))[0],
    ),
    "a link to itself": ("run.yaml", lambda folder, _: (folder / "run.yaml").symlink_to("run.yaml")),
    "a link to nothing": ("run.yaml", lambda folder, _: (folder / "run.yaml").symlink_to("/nothing")),
    "a link of /proc": ("run.yaml", lambda folder, _: (folder / "run.yaml").symlink_to("/proc/self/environ")),
    "a link within": ("run.yaml", lambda folder, _: (folder / "run.yaml").symlink_to("kept.txt")),
}


@pytest.mark.parametrize("case", LINKS)
def test_no_link_is_followed(store: FileStore, folder: Path, secret: Path, case: str) -> None:
    key, plant = LINKS[case]
    plant(folder, secret)
    with pytest.raises(
        StoreRefused, match=r"symbolic link or below one; links are not followed, so put the file itself there"
    ):
        store.get(key)


@pytest.mark.parametrize("case", [case for case in LINKS if "/" in LINKS[case][0]])
def test_a_child_is_no_way_around(store: FileStore, folder: Path, secret: Path, case: str) -> None:
    key, plant = LINKS[case]
    plant(folder, secret)
    outer, _, inner = key.partition("/")
    with pytest.raises(StoreRefused, match="links are not followed"):
        store.child(outer).get(inner)
    with pytest.raises(StoreRefused, match="links are not followed"):
        store.child(outer).list()


def special(kind: str, path: Path) -> Callable[[], None]:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        os.chdir(path.parent)  # the path of a socket is short
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(path.name)
        return bound.close
    else:
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero, which never ends
        except PermissionError:
            pytest.skip("only root makes devices")
    return lambda: None


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_not_a_regular_file_is_refused_and_blocks_nothing(
    store: FileStore, folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    close = special(kind, folder / "run.yaml")
    try:
        with pytest.raises(StoreRefused, match=r"run\.yaml is not a regular file; remove it"):
            store.get("run.yaml")
    finally:
        close()


def test_a_folder_is_not_an_object(store: FileStore, folder: Path) -> None:
    (folder / "run.yaml").mkdir()
    with pytest.raises(StoreRefused, match=r"run\.yaml: there is a folder with that name"):
        store.get("run.yaml")


def test_a_listing_does_not_leave_the_folder_and_ends(store: FileStore, folder: Path, secret: Path) -> None:
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/x").write_bytes(b"")
    (folder / "a/b/up").symlink_to(folder)
    (folder / "home").symlink_to(secret.parent)
    assert store.list() == ["a/b/up", "a/b/x", "home", "kept.txt"]
    assert not any("credentials" in key for key in store.list())


@pytest.mark.parametrize("name", ["two\nlines", "carriage\rreturn", "separator\u2028"])
def test_a_name_of_several_lines_is_not_a_key(store: FileStore, folder: Path, name: str) -> None:
    """It could add a line to SHA256SUMS."""
    (folder / name).write_bytes(b"")
    assert store.list() == ["kept.txt"]
    with pytest.raises(ValueError, match="contains a line break"):
        store.put(name, b"")


def test_names_differ_by_case_and_need_not_be_text(store: FileStore, folder: Path) -> None:
    (folder / "KEPT.TXT").write_bytes(b"another")
    (folder / os.fsdecode(b"\xff")).write_bytes(b"bytes")
    assert store.get("kept.txt") == b"kept"
    assert store.get("KEPT.TXT") == b"another"
    assert [store.get(key) for key in store.list()] == [b"another", b"kept", b"bytes"]


def test_the_folder_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(folder)
    for store in (open_store(str(tmp_path / "latest")), open_store((tmp_path / "latest").as_uri())):
        assert store.get("kept.txt") == b"kept"
        assert store.list() == ["kept.txt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount needs root")
def test_a_mounted_proc_leads_nowhere(store: FileStore, folder: Path) -> None:
    (folder / "proc").mkdir()
    if subprocess.run(["mount", "--bind", "/proc/self", folder / "proc"], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        for key in ("proc/root/etc/passwd", "proc/cwd/pyproject.toml", "proc/fd/0", "proc/exe"):
            with pytest.raises(StoreError):
                store.get(key)
    finally:
        subprocess.run(["umount", folder / "proc"], check=True)


def test_a_deep_tree_is_listed_or_refused_and_nothing_else(store: FileStore, folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=fd)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    try:
        with pytest.raises(StoreRefused, match="the name is too long"):
            store.list()
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)


WRITES: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "the object is a link": ("result.json", lambda folder, secret: (folder / "result.json").symlink_to(secret)),
    "a folder is a link": ("in/credentials", lambda folder, secret: (folder / "in").symlink_to(secret.parent)),
    "the probe is a link": (".podium-probe", lambda folder, secret: (folder / ".podium-probe").symlink_to(secret)),
    "the object is a hard link": ("result.json", lambda folder, secret: os.link(secret, folder / "result.json")),
}


@pytest.mark.parametrize("if_absent", [False, True])
@pytest.mark.parametrize("case", WRITES)
def test_writing_never_changes_what_a_planted_link_names(
    store: FileStore, folder: Path, secret: Path, case: str, if_absent: bool
) -> None:
    key, plant = WRITES[case]
    plant(folder, secret)
    for call in (lambda: store.put(key, b"new", if_absent=if_absent), lambda: store.delete(key)):
        with contextlib.suppress(StoreRefused, AlreadyExists):
            call()
        assert secret.read_bytes() == SECRET
        assert [path.name for path in secret.parent.iterdir()] == ["credentials"]
    if case == "the object is a link" and not if_absent:
        store.put(key, b"new")
        assert store.get(key) == b"new"


def _rename(source: Path, target: Path) -> None:
    """Also over a folder, which a store makes for an object whenever there is none."""
    while True:
        try:
            source.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EISDIR):
                raise
            shutil.rmtree(target, ignore_errors=True)
        else:
            return


@contextmanager
def swapping(path: Path, secret: Path, *, folders: bool = False) -> Iterator[None]:
    """Meanwhile `path` is now the file or folder it was, now a link to the secret, as fast as a thread can."""
    real, link = path.with_name("real"), path.with_name("link")
    path.rename(real)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            link.symlink_to(secret)
            _rename(link, path)
            if folders:
                path.unlink()
                _rename(real, path)
                path.rename(real)
            else:
                os.link(real, link)
                link.rename(path)

    thread, interval = threading.Thread(target=swap), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("folders", [False, True], ids=["file", "folder"])
def test_no_byte_of_a_secret_in_two_thousand_reads(store: FileStore, folder: Path, secret: Path, folders: bool) -> None:
    """A file, or the folder it is in, is swapped for a link between any two system calls."""
    (folder / "own").mkdir()
    (folder / "own/credentials").write_bytes(b"mine")
    swapped = folder / "own" if folders else folder / "own/credentials"
    read, refused, deadline = 0, 0, time.monotonic() + 15
    with swapping(swapped, secret.parent if folders else secret, folders=folders):
        while read + refused < 2000 or (not (read and refused) and time.monotonic() < deadline):
            try:
                assert store.get("own/credentials") == b"mine"
                read += 1
            except (NotFound, StoreRefused):
                refused += 1
    assert (read > 0, refused > 0) == (True, True), "both were met"


@pytest.mark.parametrize("folders", [False, True], ids=["file", "folder"])
def test_nothing_is_listed_or_written_outside_meanwhile(
    store: FileStore, folder: Path, secret: Path, folders: bool
) -> None:
    (folder / "own").mkdir()
    (folder / "own/credentials").write_bytes(b"mine")
    (secret.parent / "another").write_bytes(b"")
    swapped = folder / "own" if folders else folder / "own/credentials"
    with swapping(swapped, secret.parent if folders else secret, folders=folders):
        for number in range(200):
            with contextlib.suppress(StoreError):
                assert not any("another" in key for key in store.list())
            with contextlib.suppress(StoreError):
                store.put(f"own/{number}", b"new")
    assert {path.name: path.read_bytes() for path in secret.parent.iterdir()} == {"credentials": SECRET, "another": b""}


SECRET_WORD = "S3CRET-" + "x" * 20
COMMANDS = (
    ["score", "{}"], ["check", "{}"], ["variance", "{}"], ["review", "{}"], ["compare", "{}", "{}"], ["history", "{}"],
    ["report", "{}", "--out", "{}.html"], ["package", "{}", "--out", "{}.package", "--system", "{}/system.json"],
    ["borrow", "{}", "--to", "examples/resnet.yaml", "--out", "{}.yaml"],
)  # fmt: skip
PLANTED = (
    "run.yaml",
    "system.json",
    "result.json",
    "SHA256SUMS",
    "attempts/001/result.txt",
    "attempts/001/attempt.json",
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["link", "pipe"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_no_command_shows_or_copies_what_a_link_names(tmp_path: Path, command: list[str], how: str) -> None:
    """Each file that commands read is in turn a link to a secret, or a pipe that nobody writes to."""
    words: dict[str, Any] = dict.fromkeys(("podium", "name", "benchmark", "round", "auths"), SECRET_WORD)
    (tmp_path / "secret").write_text(json.dumps(words | {"system": words, "spec": words}))
    for number, key in enumerate(PLANTED):
        place = tmp_path / f"run-{number}"
        own_run(place, {"division": "closed", "hyperparameters": {}})
        planted = place / "team/mine-1" / key
        planted.unlink(missing_ok=True)
        planted.symlink_to(tmp_path / "secret") if how == "link" else os.mkfifo(planted)
        if "--system" in command and key == "system.json":
            continue  # named by the user
        done = CliRunner().invoke(app, [word.format(place) for word in command])
        assert SECRET_WORD not in done.output
        assert isinstance(done.exception, SystemExit | StoreError | UsageError | None), f"{key}: {done.exception!r}"
        assert SECRET_WORD not in str(done.exception)
        for path in (*tmp_path.glob("*.html"), *tmp_path.glob("*.yaml"), *tmp_path.glob("*.package/**/*")):
            assert not path.is_file() or SECRET_WORD not in path.read_text(), f"{key} is in {path}"


def test_a_package_holds_no_file_behind_a_link(tmp_path: Path) -> None:
    place = tmp_path / "results/v0.6/acme/box/transformer"
    write(place, [changed(v06_log(), '"box"', f'"box {n}"') for n in range(10)])
    (place / "result.json").write_text('{"podium": "1.0"}')
    (tmp_path / "secret").write_bytes(SECRET)
    (place / "run.yaml").symlink_to(tmp_path / "secret")
    (tmp_path / "box.json").write_text(json.dumps(SYSTEM))
    words = f"package {tmp_path}/results --system {tmp_path}/box.json --out {tmp_path}/package"
    done = CliRunner().invoke(app, words.split())
    assert not [path for path in (tmp_path / "package").rglob("*") if path.is_file()]
    assert "run.yaml is a symbolic link or below one" in str(done.exception) + done.output


def test_the_code_of_a_package_is_read_beneath_its_folder(folder: Path, secret: Path) -> None:
    """Links are left out, and one that comes between listing and reading is refused."""
    (folder / "train.py").write_bytes(b"mine")
    (folder / "key").symlink_to(secret)
    (folder / "home").symlink_to(secret.parent)
    assert _read_code(folder) == {"kept.txt": b"kept", "train.py": b"mine"}
    with swapping(folder / "train.py", secret):
        for _ in range(500):
            with contextlib.suppress(UsageError):
                assert SECRET not in _read_code(folder).values()
    with pytest.raises(UsageError, match=r"--code .*nowhere: cannot read .*nowhere: No such file or directory"):
        _read_code(folder / "nowhere")
