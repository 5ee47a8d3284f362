"""The backbones that detectors start from: which weights are taken, and how others are refused before the clock."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle

import numpy as np
import pytest
import torch
import torchvision
from tests.unit.benchmarks.trained_backbones import Python2Pickler, trained, without_statistics, write_r50
from torch import nn

from podium_benchmarks.core.batch_norm import BatchNorm
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.maskrcnn import config as mask_config
from podium_benchmarks.maskrcnn import data as mask_data
from podium_benchmarks.maskrcnn import model as mask_model
from podium_benchmarks.prepare import caffe2
from podium_benchmarks.prepare.archives import Archive, PrepareError, verify
from podium_benchmarks.ssd import config as ssd_config
from podium_benchmarks.ssd import data as ssd_data
from podium_benchmarks.ssd import model as ssd_model

MASK = dataclasses.replace(mask_config.FULL, width=8)
SSD = dataclasses.replace(ssd_config.FULL, width=8)
KINDS = {"MSRA": lambda photos: mask_data.normalize(photos, [photos.shape[2:]] * len(photos)),
         "torchvision": ssd_data.normalize}  # fmt: skip


def resnet50(kind: str) -> dict[str, torch.Tensor]:
    return trained(mask_model.Backbone(8, BatchNorm), KINDS[kind]).state_dict()


def resnet34(kind: str) -> dict[str, torch.Tensor]:
    return trained(ssd_model.Backbone(8), KINDS[kind]).state_dict()


@pytest.fixture
def saved(tmp_path):
    def save(state):
        torch.save(state, tmp_path / "weights.pth")
        return tmp_path / "weights.pth"

    return save


def test_names_are_torchvision_s():
    with torch.device("meta"):
        published = torchvision.models.resnet50().state_dict()
        full = mask_model.Backbone(64, mask_model.FrozenBatchNorm).state_dict()
    kept = {n for n in published if not n.startswith("fc.") and not n.endswith("num_batches_tracked")}
    assert {name: published[name].shape for name in kept} == {name: weight.shape for name, weight in full.items()}
    with torch.device("meta"):
        published = torchvision.models.resnet34().state_dict()
        full = ssd_model.Backbone(64).state_dict()
    kept = {name for name in published if not name.startswith(("layer4.", "fc."))}
    assert {name: published[name].shape for name in kept} == {name: weight.shape for name, weight in full.items()}


def test_weights_may_lie_beside_the_data(tmp_path):
    for data, config, name in ((ssd_data, SSD, "resnet34.pth"), (mask_data, MASK, "resnet50-msra.pth")):
        assert data.with_backbone(config, tmp_path).backbone_weights == ""
        (tmp_path / name).touch()
        assert data.with_backbone(config, tmp_path).backbone_weights == str(tmp_path / name)
        named = dataclasses.replace(config, backbone_weights="mine.pth")
        assert data.with_backbone(named, tmp_path).backbone_weights == "mine.pth"
        assert data.with_backbone(named, None).backbone_weights == "mine.pth"


def test_mask_rcnn_takes_weights_trained_on_its_own_images(saved):
    state = resnet50("MSRA")
    mask_data.check_backbone(MASK, saved(state | {"fc.weight": torch.zeros(1)}))
    mask_data.check_backbone(MASK, saved(without_statistics(state)))
    thawed = dataclasses.replace(MASK, frozen_backbone=False)
    mask_data.check_backbone(thawed, saved(state))
    backbone = mask_model.make_backbone(thawed)
    mask_model.load_backbone(backbone, saved(state))
    assert torch.equal(backbone.layer4[2].conv3.weight, state["layer4.2.conv3.weight"])


def test_mask_rcnn_refuses_weights_trained_on_other_images(saved):
    words = (r"weights\.pth has the right shapes, but its last features of a test image deviate by \d+ instead of 0\.02 to "
             r"20: .* take MSRA's ResNet-50.* podium-benchmarks prepare maskrcnn")  # fmt: skip
    for frozen in (True, False):
        with pytest.raises(UsageError, match=words):
            mask_data.check_backbone(dataclasses.replace(MASK, frozen_backbone=frozen), saved(resnet50("torchvision")))
    untrained = mask_model.Backbone(8, mask_model.FrozenBatchNorm)
    for module in untrained.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    with pytest.raises(UsageError, match="trained on other images, or not at all"):
        mask_data.check_backbone(MASK, saved(untrained.state_dict()))


def test_ssd_takes_torchvision_s_weights_and_no_others(saved):
    state = resnet34("torchvision")
    ssd_data.check_backbone(SSD, saved(state | {"fc.weight": torch.zeros(1), "layer4.0.x": torch.zeros(1)}))
    ssd_data.check_backbone(SSD, saved({n: v for n, v in state.items() if not n.endswith("num_batches_tracked")}))
    with pytest.raises(
        UsageError, match=r"first features of a test image deviate by 0\.00.* take torchvision's ResNet-34"
    ):
        ssd_data.check_backbone(SSD, saved(resnet34("MSRA")))


def test_files_of_other_networks(saved, tmp_path):
    for data, config, name in ((ssd_data, SSD, "ResNet-34"), (mask_data, MASK, "ResNet-50")):
        with pytest.raises(UsageError, match=r"backbone_weights \S+nothing\.pth is not a file"):
            data.check_backbone(config, tmp_path / "nothing.pth")
        words = rf"weights\.pth does not hold a {name} of this width in torchvision's names"
        with pytest.raises(UsageError, match=words):
            data.check_backbone(config, saved({"conv1.weight": torch.zeros(1)}))
        (tmp_path / "weights.pth").write_bytes(b"not weights")
        with pytest.raises(UsageError, match=words):
            data.check_backbone(config, tmp_path / "weights.pth")


def test_a_full_run_needs_trained_weights(tmp_path):
    with pytest.raises(UsageError, match=r"put them into the data folder as resnet34\.pth .*prepare ssd does"):
        ssd_data.check_data(ssd_config.FULL, tmp_path)
    with pytest.raises(UsageError, match=r"into the data folder as resnet50-msra\.pth .*prepare maskrcnn does"):
        mask_data.check_data(mask_config.FULL, tmp_path)


def test_r50_is_converted(tmp_path, saved):
    state = without_statistics(resnet50("MSRA"))
    write_r50(tmp_path / "R-50.pkl", state)
    assert b"_codecs" not in (tmp_path / "R-50.pkl").read_bytes()  # as Python 2 writes it
    found = caffe2.resnet50(caffe2.read_arrays(tmp_path / "R-50.pkl"), mask_model.make_backbone(MASK).state_dict())
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    mask_data.check_backbone(MASK, saved(found))


@pytest.mark.parametrize(("pickler", "protocol"), [(Python2Pickler, 1), (Python2Pickler, 2), (pickle._Pickler, 2),
                                                   (pickle._Pickler, 4)])  # fmt: skip
def test_arrays_are_read_as_numpy_reads_them(pickler, protocol, tmp_path):
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(6.0).reshape(2, 3).T,
              "c": np.array([1, 2], np.int64)}  # fmt: skip
    with (tmp_path / "x.pkl").open("wb") as file:
        pickler(file, protocol).dump(arrays)
    found = caffe2.read_arrays(tmp_path / "x.pkl")
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array.astype(np.float32))


class Shell:
    """Runs a command where it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class Numpy:
    """Calls a function of NumPy that reads any file, and runs what is in it."""

    def __reduce__(self):
        return np.load, ("x.npy", None, True)


def test_a_pickle_of_anything_else_runs_nothing(tmp_path):
    trace = tmp_path / "trace"
    hostile = {
        "posix.system": Shell(f"touch {trace}"),
        "numpy.load|numpy.lib": Numpy(),
        "builtins.eval|__builtin__.eval": eval,
        "an array of 'O": np.array([Shell(f"touch {trace}")], dtype=object),
        "an array of 'U": np.array(["text"]),
        "an array of 'V": np.zeros(1, dtype=[("a", "f4")]),
        "an array of f4 in byte order '>'": np.zeros(2, dtype=">f4"),
    }
    for words, content in hostile.items():
        for blobs in (content, {"blobs": {"conv1_w": content}}, {"conv1_w": np.zeros(1), "x": [content]}):
            (tmp_path / "x.pkl").write_bytes(pickle.dumps(blobs, 2))
            with pytest.raises(PrepareError, match=rf"x\.pkl is not a file of Caffe2 weights \(.*({words})"):
                caffe2.read_arrays(tmp_path / "x.pkl")
    assert not trace.exists()


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"\x80\x02K\x01.", b"\x80\x02]q\x00.", b"\x80\x02\x8bX", b"\x82\x01."]
)
def test_broken_pickles_are_refused(content, tmp_path):
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(PrepareError, match="is not a file of Caffe2 weights"):
        caffe2.read_arrays(tmp_path / "x.pkl")


def test_an_array_of_the_wrong_size_is_refused(tmp_path):
    content = pickle.dumps({"a": np.zeros((3, 5), np.float32)}, 2).replace(b"K\x03K\x05", b"K\x03K\x06")
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(PrepareError, match=r"an array of shape \(3, 6\) in 60 bytes"):
        caffe2.read_arrays(tmp_path / "x.pkl")


def test_what_r50_lacks_is_named():
    wanted = mask_model.make_backbone(MASK).state_dict()
    with pytest.raises(PrepareError, match=r"R-50\.pkl: conv1_w is missing, but a ResNet-50 has it as \(8, 3, 7, 7\)"):
        caffe2.resnet50({}, wanted)
    with pytest.raises(PrepareError, match=r"R-50\.pkl: conv1_w is \(64, 3, 7, 7\), but"):
        caffe2.resnet50({"conv1_w": np.zeros((64, 3, 7, 7), np.float32)}, wanted)


def test_a_digest_may_be_its_first_digits(tmp_path):
    (tmp_path / "a").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    one = Archive("a", "", digest=f"sha256:{digest[:8]}", origin="its name")
    assert (verify(one, tmp_path / "a").by, verify(one, tmp_path / "a").sha256) == ("sha256 of its name", digest)
    (tmp_path / "a").write_bytes(b"other weights")
    with pytest.raises(PrepareError, match=rf"instead of {digest[:8]} \(its name\)"):
        verify(one, tmp_path / "a")
