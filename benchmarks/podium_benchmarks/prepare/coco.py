"""COCO 2017: three zip files, unpacked by several threads into the layout that core.coco reads."""

from __future__ import annotations

import re
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from podium_benchmarks.prepare.archives import Archive, PrepareError
from podium_benchmarks.prepare.files import written

_HOME = "http://images.cocodataset.org"
_ORIGIN = "the list of TensorFlow Datasets"  # tensorflow/datasets, url_checksums/coco2017.txt
ARCHIVES = (
    Archive("train2017.zip", f"{_HOME}/zips/train2017.zip", 19_336_861_798,
            "sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929", _ORIGIN),
    Archive("val2017.zip", f"{_HOME}/zips/val2017.zip", 815_585_330,
            "sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05", _ORIGIN),
    Archive("annotations_trainval2017.zip", f"{_HOME}/annotations/annotations_trainval2017.zip", 252_907_541,
            "sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268", _ORIGIN),
)  # fmt: skip
WANTED = re.compile(r"(train|val)2017/[\w.-]+\.jpg|annotations/instances_(train|val)2017\.json")


def prepare(archives: dict[str, Path], out: Path, workers: int) -> None:
    """OUT/{train,val}2017/*.jpg and OUT/annotations/instances_{train,val}2017.json; zip's own CRCs are verified."""
    for path in archives.values():
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if WANTED.fullmatch(name)]
        except zipfile.BadZipFile as error:
            raise PrepareError(f"{path} is not a zip file ({error}): download it again") from error
        missing = [name for name in names if not (out / name).exists()]
        parts = [missing[start::workers] for start in range(workers)]
        with (
            tqdm(total=len(names), initial=len(names) - len(missing), desc=path.name, mininterval=1) as bar,
            ThreadPoolExecutor(workers) as threads,
        ):
            list(threads.map(lambda part: _unpack(path, part, out, bar), parts))  # noqa: B023 - done within the turn


def _unpack(path: Path, names: list[str], out: Path, bar: tqdm) -> None:
    with zipfile.ZipFile(path) as archive:
        for name in names:
            with archive.open(name) as reader, written(out / name) as file:
                shutil.copyfileobj(reader, file)
            bar.update()
