"""The settings of an NCF run; hyperparameters are named by their MLPerf log keys.

`full` is the reference (mlcommons/training v0.5, recommendation/pytorch) on ml-20m, `tiny` the same network on
generated ratings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlperf_logging.mllog import constants as keys

from podium_benchmarks.core import checks


@dataclass(frozen=True)
class Config:
    """One run's settings."""

    target: float  # HR@10 on the held-out ratings
    max_epochs: int

    global_batch_size: int  # positives and negatives together
    opt_name: str  # adam or lazy_adam
    opt_base_learning_rate: float
    opt_adam_beta_1: float
    opt_adam_beta_2: float
    opt_adam_epsilon: float

    min_ratings: int  # users with fewer are left out of what --data has
    negatives: int  # drawn again for each positive and epoch
    eval_negatives: int  # per user
    mf_factors: int
    mlp_widths: tuple[int, ...]  # of the layers' inputs; the first is both embeddings together
    generated_users: int  # size of the generated ratings without a data folder; 0: there must be one
    generated_items: int
    generated_ratings: int  # per user
    precision: str  # fp32, bf16, or auto: bf16 where the hardware computes in it
    compile: str  # yes, no, or auto: on a GPU, but not in v0.5, whose clock runs meanwhile
    stats_interval_seconds: float  # between tracked_stats lines; 0: every step

    def __post_init__(self) -> None:
        checks.one_of(
            self, opt_name=("adam", "lazy_adam"), precision=("fp32", "bf16", "auto"), compile=("yes", "no", "auto")
        )
        checks.above_zero(self, "max_epochs", "global_batch_size", "opt_base_learning_rate", "opt_adam_epsilon",
                          "negatives", "eval_negatives", "mf_factors")  # fmt: skip
        checks.below_one(self, "opt_adam_beta_1", "opt_adam_beta_2")
        if self.min_ratings < 2:
            raise ValueError(f"min_ratings must be 2 or more, one to hold out and one to learn from, not "
                             f"{self.min_ratings}")  # fmt: skip
        if len(self.mlp_widths) < 2 or min(self.mlp_widths) < 1 or self.mlp_widths[0] % 2:
            raise ValueError(f"mlp_widths must be at least two widths, the first even, not {self.mlp_widths}")
        if not 0 <= self.generated_ratings * 2 <= self.generated_items:
            raise ValueError("generated_ratings must be at most half of generated_items")

    def log_values(self) -> Mapping[str, Any]:
        """The log's hyperparameters."""
        return {
            keys.GLOBAL_BATCH_SIZE: self.global_batch_size,
            keys.OPT_NAME: self.opt_name,
            keys.OPT_BASE_LR: self.opt_base_learning_rate,
            keys.OPT_ADAM_BETA_1: self.opt_adam_beta_1,
            keys.OPT_ADAM_BETA_2: self.opt_adam_beta_2,
            keys.OPT_ADAM_EPSILON: self.opt_adam_epsilon,
        }


FULL = Config(
    target=0.635,
    max_epochs=30,
    global_batch_size=2048,
    opt_name="adam",
    opt_base_learning_rate=5e-4,
    opt_adam_beta_1=0.9,
    opt_adam_beta_2=0.999,
    opt_adam_epsilon=1e-8,
    min_ratings=20,
    negatives=4,
    eval_negatives=999,
    mf_factors=64,
    mlp_widths=(256, 256, 128, 64),
    generated_users=0,
    generated_items=0,
    generated_ratings=0,
    precision="auto",
    compile="auto",
    stats_interval_seconds=1.0,
)

TINY = replace(
    FULL,
    target=0.70,
    max_epochs=20,
    global_batch_size=8192,
    opt_base_learning_rate=2e-3,
    min_ratings=2,
    eval_negatives=99,
    mf_factors=16,
    mlp_widths=(64, 64, 32, 16),
    generated_users=2000,
    generated_items=1000,
    generated_ratings=40,
    precision="fp32",
)

PRESETS = {"tiny": TINY, "full": FULL}
