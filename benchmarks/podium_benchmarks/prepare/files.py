"""Writing what has been made: whole files only, and their digests at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO, TypeVar

from tqdm import tqdm

from podium_benchmarks.prepare.archives import digests_of

SUMS = "SHA256SUMS"
T = TypeVar("T")


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its final name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        yield file
    part.replace(path)


def in_processes(work: Callable[[T], object], tasks: Sequence[T], workers: int, what: str) -> None:
    """`work` on every task, in worker processes; the first error ends it."""
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        for _ in tqdm(pool.map(work, tasks), total=len(tasks), desc=what, mininterval=1):
            pass


def write_sums(out: Path, workers: int) -> int:
    """OUT/SHA256SUMS over all files, as sha256sum writes it; gives their number. Staging verifies copies with it."""
    names = sorted(_files(out))
    with ThreadPoolExecutor(workers) as threads:  # hashing lets other threads run
        sums = threads.map(lambda name: digests_of(out / name, ["sha256"])["sha256"], names)
        shown = tqdm(sums, total=len(names), desc=SUMS, mininterval=1)
        lines = [f"{sum_}  {name}\n" for sum_, name in zip(shown, names, strict=True)]
    with written(out / SUMS) as file:
        file.write("".join(lines).encode())
    return len(names)


def _files(out: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(out):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from ((Path(folder) / name).relative_to(out).as_posix() for name in names
                    if name != SUMS and not name.startswith("."))  # fmt: skip
