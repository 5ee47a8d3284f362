"""COCO 2017 in the layout that core.coco reads, and the backbones that both detectors start from."""

from __future__ import annotations

import re
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from tqdm import tqdm

from podium_benchmarks.core.coco import write_indexes
from podium_benchmarks.maskrcnn import data as maskrcnn_data
from podium_benchmarks.maskrcnn.config import FULL as MASKRCNN
from podium_benchmarks.maskrcnn.model import make_backbone
from podium_benchmarks.prepare import caffe2
from podium_benchmarks.prepare.archives import Archive, PrepareError
from podium_benchmarks.prepare.files import written
from podium_benchmarks.ssd import data as ssd_data
from podium_benchmarks.ssd.config import FULL as SSD

_HOME = "http://images.cocodataset.org"
_ORIGIN = "the list of TensorFlow Datasets"  # tensorflow/datasets, url_checksums/coco2017.txt
PHOTOS = (
    Archive("train2017.zip", f"{_HOME}/zips/train2017.zip", 19_336_861_798,
            "sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929", _ORIGIN),
    Archive("val2017.zip", f"{_HOME}/zips/val2017.zip", 815_585_330,
            "sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05", _ORIGIN),
    Archive("annotations_trainval2017.zip", f"{_HOME}/annotations/annotations_trainval2017.zip", 252_907_541,
            "sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268", _ORIGIN),
)  # fmt: skip
# The URL of Detectron2's copy, whose digest is known; maskrcnn_benchmark of v0.6 names Detectron's.
MSRA = Archive("R-50.pkl", "https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/MSRA/R-50.pkl", None,
               "md5:6652b4a9c782d82bb3d42118be74d79b", "a published run script of MLPerf Training v0.7")  # fmt: skip
RESNET34 = Archive("resnet34-b627a593.pth", "https://download.pytorch.org/models/resnet34-b627a593.pth", None,
                   "sha256:b627a593", "its name, as torchvision checks it")  # fmt: skip
ARCHIVES = (*PHOTOS, MSRA, RESNET34)
WANTED = re.compile(r"(train|val)2017/[\w.-]+\.jpg|annotations/instances_(train|val)2017\.json")


def prepare(archives: dict[str, Path], out: Path, workers: int) -> None:
    """OUT/{train,val}2017/*.jpg, OUT/annotations with JSON files and their indexes, and both backbones.

    zip's own CRCs are verified; each backbone is loaded as its trainer does.
    """
    for archive in PHOTOS:
        _unpack_all(archives[archive.name], out, workers)
    write_indexes(out)
    with archives[RESNET34.name].open("rb") as reader, written(out / ssd_data.BACKBONE) as file:
        shutil.copyfileobj(reader, file)
    ssd_data.check_backbone(SSD, out / ssd_data.BACKBONE)
    wanted = make_backbone(MASKRCNN).state_dict()
    weights = caffe2.resnet50(caffe2.read_arrays(archives[MSRA.name]), wanted)
    with written(out / maskrcnn_data.BACKBONE) as file:
        torch.save(weights, file)
    maskrcnn_data.check_backbone(MASKRCNN, out / maskrcnn_data.BACKBONE)


def _unpack_all(path: Path, out: Path, workers: int) -> None:
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
        list(threads.map(lambda part: _unpack(path, part, out, bar), parts))


def _unpack(path: Path, names: list[str], out: Path, bar: tqdm) -> None:
    with zipfile.ZipFile(path) as archive:
        for name in names:
            with archive.open(name) as reader, written(out / name) as file:
                shutil.copyfileobj(reader, file)
            bar.update()
