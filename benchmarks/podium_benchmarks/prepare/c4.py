"""Llama 3.1: the part of C4 that MLCommons has tokenized for it, as it is published."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from podium_benchmarks.llama31_8b.config import FULL
from podium_benchmarks.llama31_8b.data import TRAIN, VALIDATION, check_data
from podium_benchmarks.prepare.archives import Archive, PrepareError

_HOME = "https://training.mlcommons-storage.org/metadata"
_PLACE, _DIGESTS = (f"llama-3-1-8b-preprocessed-c4-dataset.{ending}" for ending in ("uri", "md5"))
_FILES = tuple(f"{name}.{ending}" for name in (TRAIN, VALIDATION) for ending in ("bin", "idx"))
ARCHIVES = (Archive(_PLACE, f"{_HOME}/{_PLACE}"), Archive(_DIGESTS, f"{_HOME}/{_DIGESTS}"))


def listed(archives: dict[str, Path]) -> tuple[Archive, ...]:
    """The files of the data set, where and with what digest its two files of metadata say."""
    place, digests = archives[_PLACE].read_text().strip(), {}
    for line in archives[_DIGESTS].read_text().splitlines():
        if found := re.fullmatch(r"([0-9a-f]{32})\s+\*?(?:\./)?(\S+)", line.strip()):
            digests[Path(found[2]).name] = found[1], found[2]
    missing = [name for name in _FILES if name not in digests]
    if missing or not place.startswith("https://"):
        what = ", ".join(missing) or "a place"
        raise PrepareError(f"{archives[_DIGESTS]} and {archives[_PLACE]} do not name {what}: has the data set changed? "
                           "See mlcommons/training, small_llm_pretraining")  # fmt: skip
    return tuple(
        Archive(name, f"{place}/{digests[name][1]}", digest=f"md5:{digests[name][0]}", origin=f"MLCommons ({_DIGESTS})")
        for name in _FILES
    )


def prepare(archives: dict[str, Path], out: Path, workers: int) -> None:
    """OUT/*.{bin,idx}: the files themselves, which a copy would double."""
    del workers  # nothing to compute
    for name in _FILES:
        target = out / name
        if target.exists() and target.samefile(archives[name]):
            continue
        target.unlink(missing_ok=True)
        try:
            os.link(archives[name], target)
        except OSError:  # on another disk
            shutil.copyfile(archives[name], target)
    check_data(FULL, out)
