"""The settings of a Mask R-CNN run; hyperparameters are named by their MLPerf log keys.

`full` is the reference (mlcommons/training v0.6, object_detection, e2e_mask_rcnn_R_50_FPN_1x), `tiny` the same
network, narrower, on small images and in the same loop, for two CPU cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlperf_logging.mllog import constants as keys

from podium_benchmarks.core import checks

REFERENCE_BATCH = 16  # the reference counts decays in iterations of this many images
STRIDES = (4, 8, 16, 32, 64)  # of the pyramid's levels P2 to P6


@dataclass(frozen=True)
class Config:
    """One run's settings. Epochs count from 1."""

    target: tuple[float, float]  # COCO AP of boxes and of masks; both must be reached
    max_epochs: int
    epochs_between_evals: int

    global_batch_size: int
    opt_base_learning_rate: float
    opt_learning_rate_warmup_steps: int
    opt_learning_rate_warmup_method: str  # linear or mlperf_linear, the reference's WARMUP_METHOD
    opt_learning_rate_warmup_factor: float  # linear: the fraction of the rate to rise from; mlperf_linear: each step
    decay_iterations: tuple[int, ...]  # of 16 images, whatever the batch
    opt_learning_rate_decay_steps: tuple[int, ...]  # in steps; none: as decay_iterations
    opt_learning_rate_decay_factor: float  # at each of them
    opt_momentum: float
    opt_weight_decay: float  # of all but biases
    gradient_clip_norm: float  # 0: gradients stay as they are
    num_image_candidates: int  # proposals kept for training
    candidate_pool: str  # of how many images: rank (all that a rank trains on together) or image (of each)
    sync_bn: bool  # statistics of the whole batch instead of a rank's shard; without meaning where they are frozen

    min_image_size: int  # the shorter side is scaled to this,
    max_image_size: int  # unless the longer one would pass this
    width: int  # channels of the backbone's stem; 64 is the full network
    frozen_backbone: bool  # no statistics in batch normalization, stem and first stage fixed: needs trained weights
    fpn_channels: int
    box_features: int
    mask_channels: int
    anchor_sizes: tuple[int, ...]  # one for each of STRIDES
    canonical_size: int  # boxes of about this side are pooled from P4
    rois_per_image: int
    eval_candidates: int  # proposals per image
    nms_candidates: int  # per level and image, in training; half of it in evaluation
    num_classes: int  # without background; 0: as many as the data set has
    backbone_weights: str  # MSRA's ResNet-50, as prepared; empty: DIR/resnet50-msra.pth where it exists
    train_scenes: int  # synthetic images, used without --data
    eval_scenes: int
    precision: str  # fp32, bf16, or auto: bf16 where the hardware computes in it
    compile: str  # yes, no, or auto: on a GPU
    jpeg_decoder: str  # pillow, in threads on CPUs; torchvision, on the training device: a GPU's nvJPEG
    resident_megabytes: int  # decoded images are kept in memory if the data set is not larger than this
    stats_interval_seconds: float  # between tracked_stats lines; 0: every step

    def __post_init__(self) -> None:
        checks.one_of(self, precision=("fp32", "bf16", "auto"), candidate_pool=("rank", "image"),
                      compile=("yes", "no", "auto"),
                      jpeg_decoder=("pillow", "torchvision"),
                      opt_learning_rate_warmup_method=("linear", "mlperf_linear"))  # fmt: skip
        checks.above_zero(self, "max_epochs", "epochs_between_evals", "global_batch_size", "opt_base_learning_rate",
                          "opt_learning_rate_decay_factor", "num_image_candidates", "min_image_size", "width",
                          "fpn_channels", "box_features", "mask_channels", "canonical_size", "rois_per_image",
                          "eval_candidates", "train_scenes", "eval_scenes")  # fmt: skip
        checks.at_least_zero(self, "opt_learning_rate_warmup_steps", "opt_learning_rate_warmup_factor",
                             "opt_weight_decay", "gradient_clip_norm", "num_classes", "resident_megabytes",
                             "stats_interval_seconds")  # fmt: skip
        checks.below_one(self, "opt_momentum")
        if self.max_image_size < self.min_image_size:
            raise ValueError(f"max_image_size must be at least min_image_size, which is {self.min_image_size}, not "
                             f"{self.max_image_size}")  # fmt: skip
        if self.nms_candidates < 2:
            raise ValueError(f"nms_candidates must be at least 2, not {self.nms_candidates}")
        if len(self.anchor_sizes) != len(STRIDES) or min(self.anchor_sizes) < 1:
            raise ValueError(f"anchor_sizes must be {len(STRIDES)} whole numbers above 0, not {self.anchor_sizes}")
        checks.rising(self, "decay_iterations", "opt_learning_rate_decay_steps")
        climb = self.opt_learning_rate_warmup_factor * self.opt_learning_rate_warmup_steps
        if self.opt_learning_rate_warmup_method == "mlperf_linear" and climb > self.opt_base_learning_rate * (1 + 1e-6):
            raise ValueError(f"mlperf_linear rises by opt_learning_rate_warmup_factor a step, so it must be at most "
                             f"{self.opt_base_learning_rate / self.opt_learning_rate_warmup_steps:g}, the rate over "
                             f"the steps, not {self.opt_learning_rate_warmup_factor:g}")  # fmt: skip

    @property
    def decay_steps(self) -> tuple[int, ...]:
        """Numbers of the steps, from 1, with which the rate drops."""
        by_images = (iteration * REFERENCE_BATCH // self.global_batch_size for iteration in self.decay_iterations)
        return self.opt_learning_rate_decay_steps or tuple(by_images)

    def log_values(self) -> Mapping[str, Any]:
        """The log's hyperparameters."""
        return {
            keys.GLOBAL_BATCH_SIZE: self.global_batch_size,
            keys.OPT_NAME: "sgd",
            keys.OPT_BASE_LR: self.opt_base_learning_rate,
            keys.OPT_LR_WARMUP_STEPS: self.opt_learning_rate_warmup_steps,
            "opt_learning_rate_warmup_method": self.opt_learning_rate_warmup_method,
            keys.OPT_LR_WARMUP_FACTOR: self.opt_learning_rate_warmup_factor,
            keys.OPT_LR_DECAY_STEPS: list(self.decay_steps),
            keys.OPT_LR_DECAY_FACTOR: self.opt_learning_rate_decay_factor,
            keys.OPT_WEIGHT_DECAY: self.opt_weight_decay,
            "opt_momentum": self.opt_momentum,
            keys.NUM_IMAGE_CANDIDATES: self.num_image_candidates,
            keys.MIN_IMAGE_SIZE: self.min_image_size,
            keys.MAX_IMAGE_SIZE: self.max_image_size,
        }


FULL = Config(
    target=(0.377, 0.339),
    max_epochs=20,  # the reference stops after 13; published runs of v0.6 took 13 to 18
    epochs_between_evals=1,
    global_batch_size=16,
    opt_base_learning_rate=0.02,
    opt_learning_rate_warmup_steps=500,
    opt_learning_rate_warmup_method="linear",
    opt_learning_rate_warmup_factor=1 / 3,
    decay_iterations=(60_000, 80_000),
    opt_learning_rate_decay_steps=(),
    opt_learning_rate_decay_factor=0.1,
    opt_momentum=0.9,
    opt_weight_decay=1e-4,
    gradient_clip_norm=0.0,
    num_image_candidates=2000,
    candidate_pool="rank",
    sync_bn=False,
    min_image_size=800,
    max_image_size=1333,
    width=64,
    frozen_backbone=True,
    fpn_channels=256,
    box_features=1024,
    mask_channels=256,
    anchor_sizes=(32, 64, 128, 256, 512),
    canonical_size=224,
    rois_per_image=512,
    eval_candidates=1000,
    nms_candidates=2000,
    num_classes=80,
    backbone_weights="",
    train_scenes=1,
    eval_scenes=1,
    precision="auto",
    compile="auto",
    jpeg_decoder="pillow",
    resident_megabytes=2048,
    stats_interval_seconds=1.0,
)

TINY = replace(
    FULL,
    target=(0.50, 0.45),
    max_epochs=40,
    global_batch_size=8,
    opt_base_learning_rate=0.04,
    opt_learning_rate_warmup_steps=100,
    decay_iterations=(),
    num_image_candidates=100,
    candidate_pool="image",
    min_image_size=128,
    max_image_size=224,
    width=16,
    frozen_backbone=False,
    fpn_channels=48,
    box_features=256,
    mask_channels=32,
    anchor_sizes=(8, 16, 32, 64, 128),
    canonical_size=56,
    rois_per_image=32,
    eval_candidates=100,
    nms_candidates=200,
    num_classes=0,
    train_scenes=600,
    eval_scenes=100,
)

PRESETS = {"tiny": TINY, "full": FULL}
