"""Downloads: several at a time, resumed where they broke off, never used before they are complete."""

from __future__ import annotations

import errno
import http.client
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from podium_benchmarks.prepare.archives import BLOCK_BYTES, Archive, PrepareError

TIMEOUT_SECONDS = 60
TRIES_WITHOUT_A_BYTE = 6
FIRST_PAUSE_SECONDS = 1.0
LATER = (408, 425, 429, 500, 502, 503, 504)  # answers after which a server may recover


def fetch_all(archives: Sequence[Archive], folder: Path, workers: int, pause: float = FIRST_PAUSE_SECONDS) -> None:
    """Download into `folder` what is missing. Raises PrepareError for the first file that can't be downloaded."""
    missing = [archive for archive in archives if not (folder / archive.name).exists()]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    began = sum(part.stat().st_size for part in (_part(folder, archive) for archive in missing) if part.exists())
    need_room(folder, sum(archive.size or 0 for archive in missing) - began)
    total = sum(archive.size or 0 for archive in missing)
    with (
        tqdm(total=total or None, initial=began, unit="B", unit_scale=True, desc="download", mininterval=1) as bar,
        ThreadPoolExecutor(min(workers, len(missing))) as threads,
    ):
        list(threads.map(lambda archive: download(archive, folder, bar.update, pause), missing))


def download(archive: Archive, folder: Path, progress: Callable[[int], object], pause: float) -> Path:
    """One file, tried again after every break; what came before it is kept."""
    part, tries = _part(folder, archive), 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _go_on(archive, part, progress)
        except (OSError, http.client.HTTPException) as error:
            _give_up_for_good(archive, folder, error)
            tries = 0 if part.exists() and part.stat().st_size > before else tries + 1
            if tries >= TRIES_WITHOUT_A_BYTE:
                raise PrepareError(f"{archive.url}: {_cause(error)}, {tries} times in a row: run the command again "
                                   "later (it resumes here), or download the file yourself and name its folder "
                                   "with --source") from error  # fmt: skip
            time.sleep(min(30.0, pause * 2**tries))
        else:
            path = folder / archive.name
            part.replace(path)
            _tag_file(part).unlink(missing_ok=True)
            return path


def need_room(folder: Path, size: int) -> None:
    """Raises PrepareError when a disk has less."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise PrepareError(f"{folder} has {free / 1e9:.1f} GB free, and {size / 1e9:.1f} GB are needed: free space, or "
                           "choose another disk")  # fmt: skip


def _go_on(archive: Archive, part: Path, progress: Callable[[int], object]) -> None:
    """Fetch the rest. Without Range, or when the file has changed meanwhile, the server sends it from the start."""
    have = part.stat().st_size if part.exists() else 0
    if archive.size is not None and have == archive.size:
        return
    headers = {"User-Agent": "podium-benchmarks", "Accept-Encoding": "identity"}
    if have:
        tag = json.loads(_tag_file(part).read_text()) if _tag_file(part).exists() else ""
        headers |= {"Range": f"bytes={have}-", **({"If-Range": tag} if tag else {})}
    request = urllib.request.Request(archive.url, headers=headers)  # noqa: S310 - the addresses are ours
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        if have and not resumed:
            progress(-have)
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        _tag_file(part).write_text(json.dumps("" if tag.startswith("W/") else tag))
        with part.open("ab" if resumed else "wb") as file:
            while block := answer.read(BLOCK_BYTES):
                file.write(block)
                progress(len(block))
        if answer.length:  # urllib does not report a truncated answer
            raise http.client.IncompleteRead(b"", answer.length)


def _give_up_for_good(archive: Archive, folder: Path, error: Exception) -> None:
    """Raise PrepareError when another try is pointless."""
    if isinstance(error, urllib.error.HTTPError):
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            _part(folder, archive).unlink()  # it is longer than the file: another one
        elif error.code not in LATER:
            raise PrepareError(f"{archive.url}: {error.code} {error.reason}: has the file moved? Download "
                               f"{archive.name} yourself and name its folder with --source") from error  # fmt: skip
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise PrepareError(f"{folder}: the disk is full: free some space and run the command again; it resumes "
                           "here") from error  # fmt: skip
    elif isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS):
        raise PrepareError(f"{folder}: {error.strerror}") from error


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return f"{error.code} {reason}" if isinstance(error, urllib.error.HTTPError) else str(reason or error)


def _part(folder: Path, archive: Archive) -> Path:
    return folder / f"{archive.name}.part"


def _tag_file(part: Path) -> Path:
    """Identifies the version of the file, so that parts of two versions are never joined."""
    return part.with_suffix(".tag")
