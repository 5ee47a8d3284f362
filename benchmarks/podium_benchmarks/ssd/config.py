"""The settings of an SSD run; hyperparameters are named by their MLPerf log keys.

`full` is the reference (mlcommons/training v0.6, single_stage_detector), `tiny` the same network, eight times
narrower, at the same input size and in the same loop, for two CPU cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlperf_logging.mllog import constants as keys

from podium_benchmarks.core import checks

REFERENCE_BATCH = 32  # the reference counts decays and evaluations in iterations of this many images


@dataclass(frozen=True)
class Config:
    """One run's settings. Epochs count from 1."""

    target: float  # COCO box AP on the evaluation set
    max_epochs: int
    epochs_between_evals: int
    eval_iterations: tuple[int, ...]  # of 32 images, whatever the batch; none: by epochs_between_evals

    global_batch_size: int
    opt_base_learning_rate: float
    opt_learning_rate_warmup_steps: int
    opt_learning_rate_warmup_factor: float  # k: warm-up starts at 1 - 1/2^k of the rate
    decay_iterations: tuple[int, ...]  # of 32 images, whatever the batch: the rate drops to a tenth at each
    opt_learning_rate_decay_boundary_steps: tuple[int, ...]  # in steps; none: as decay_iterations
    opt_momentum: float
    opt_weight_decay: float
    max_samples: int  # tries for a training crop before another overlap is drawn
    model_bn_span: int  # samples behind batch statistics; 0: a rank's shard of the batch

    width: int  # channels of the backbone's stem; 64 is the full network
    num_classes: int  # without background; 0: as many as the data set has
    pretrained_backbone: bool  # it must start from trained weights, as the definition says
    backbone_weights: str  # a ResNet-34's state_dict in torchvision's names; empty: DIR/resnet34.pth where it exists
    train_scenes: int  # synthetic images, used without --data
    eval_scenes: int
    precision: str  # fp32, bf16, or auto: bf16 where the hardware computes in it
    compile: str  # yes, no, or auto: on a GPU
    jpeg_decoder: str  # pillow, in threads on CPUs; torchvision, on the training device: a GPU's nvJPEG
    resident_megabytes: int  # decoded images are kept in memory if the data set is not larger than this
    stats_interval_seconds: float  # between tracked_stats lines; 0: every step

    def __post_init__(self) -> None:
        checks.one_of(
            self,
            precision=("fp32", "bf16", "auto"),
            compile=("yes", "no", "auto"),
            jpeg_decoder=("pillow", "torchvision"),
        )
        checks.above_zero(self, "max_epochs", "epochs_between_evals", "global_batch_size", "opt_base_learning_rate",
                          "max_samples", "width", "train_scenes", "eval_scenes")  # fmt: skip
        checks.at_least_zero(self, "opt_learning_rate_warmup_steps", "opt_learning_rate_warmup_factor",
                             "opt_weight_decay", "model_bn_span", "num_classes", "resident_megabytes",
                             "stats_interval_seconds")  # fmt: skip
        checks.below_one(self, "opt_momentum")
        if self.width % 4:
            raise ValueError(f"width must be a multiple of 4, not {self.width}")
        checks.rising(self, "eval_iterations", "decay_iterations", "opt_learning_rate_decay_boundary_steps")

    @property
    def decay_steps(self) -> tuple[int, ...]:
        """Steps, counted from 0, at which the rate drops to a tenth (the reference: 160,000 x 32 // batch)."""
        by_images = (iteration * REFERENCE_BATCH // self.global_batch_size for iteration in self.decay_iterations)
        return self.opt_learning_rate_decay_boundary_steps or tuple(by_images)

    def evaluation_steps(self, steps_per_epoch: int) -> frozenset[int]:
        """Steps, counted from 1, after which the quality is evaluated; the run ends with the last of them."""
        last = self.max_epochs * steps_per_epoch
        if self.eval_iterations:
            steps = [-(-iteration * REFERENCE_BATCH // self.global_batch_size) for iteration in self.eval_iterations]
            return frozenset(min(step, last) for step in steps)
        return frozenset({*range(0, last, self.epochs_between_evals * steps_per_epoch), last} - {0})

    def bn_ranks(self, world_size: int) -> int:
        """Ranks that share the statistics of batch normalization."""
        return checks.ranks_of_bn_span(self.model_bn_span, self.global_batch_size, world_size)

    def log_values(self, world_size: int) -> Mapping[str, Any]:
        """The log's hyperparameters."""
        return {
            keys.GLOBAL_BATCH_SIZE: self.global_batch_size,
            keys.OPT_NAME: "sgd",
            keys.OPT_BASE_LR: self.opt_base_learning_rate,
            keys.OPT_LR_WARMUP_STEPS: self.opt_learning_rate_warmup_steps,
            keys.OPT_LR_WARMUP_FACTOR: self.opt_learning_rate_warmup_factor,
            keys.OPT_LR_DECAY_BOUNDARY_STEPS: list(self.decay_steps),
            keys.OPT_WEIGHT_DECAY: self.opt_weight_decay,
            "opt_momentum": self.opt_momentum,
            keys.MODEL_BN_SPAN: self.model_bn_span or -(-self.global_batch_size // world_size),
            keys.MAX_SAMPLES: self.max_samples,
        }


FULL = Config(
    target=0.23,
    max_epochs=77,  # 280,000 iterations of 32 images
    epochs_between_evals=5,
    # The last two are not the reference's: one of NVIDIA's runs in v0.6 got there at 260,000, after 71 epochs
    eval_iterations=(120_000, 160_000, 180_000, 200_000, 220_000, 240_000, 260_000, 280_000),
    global_batch_size=32,
    opt_base_learning_rate=2.5e-3,
    opt_learning_rate_warmup_steps=0,
    opt_learning_rate_warmup_factor=0.0,
    decay_iterations=(160_000, 200_000),
    opt_learning_rate_decay_boundary_steps=(),
    opt_momentum=0.9,
    opt_weight_decay=5e-4,
    max_samples=1,
    model_bn_span=0,
    width=64,
    num_classes=80,
    pretrained_backbone=True,
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
    target=0.32,
    max_epochs=80,
    epochs_between_evals=1,
    eval_iterations=(),
    global_batch_size=8,
    opt_base_learning_rate=0.02,
    opt_learning_rate_warmup_steps=100,
    decay_iterations=(),
    width=8,
    num_classes=0,
    pretrained_backbone=False,
    train_scenes=600,
    eval_scenes=100,
)

PRESETS = {"tiny": TINY, "full": FULL}
