"""The settings of a Llama 3.1 run; hyperparameters are named by their MLPerf log keys.

`full` is the 8B model of the reference (mlcommons/training small_llm_pretraining/nemo) with the settings of its
convergence points for a batch of 32 (mlperf_logging rcp_checker/training_5.1.0/rcps_llama31_8b.json): 172k to 197k
sequences. `tiny` is the same network and loop at a size for two CPU cores, on bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlperf_logging.mllog import constants as keys

from podium_benchmarks.core import checks

END_OF_BASE = 0.1  # opt_end_learning_rate / opt_base_learning_rate (training_rules.adoc)
SCHEDULE = "cosine with linear warmup"  # as the round's checker spells it


@dataclass(frozen=True)
class Config:
    """One run's settings; a sample is a sequence of tokens."""

    target: float  # log perplexity: nats per token
    max_steps: int  # where the cosine ends, too

    global_batch_size: int
    gradient_accumulation_steps: int  # 0: as many as leave each rank one sequence at a time
    max_sequence_length: int
    opt_name: str
    opt_base_learning_rate: float
    opt_learning_rate_warmup_steps: int
    opt_adamw_beta_1: float
    opt_adamw_beta_2: float
    opt_adamw_epsilon: float
    opt_adamw_weight_decay: float  # of matrices, not of the norms' weights
    opt_gradient_clip_norm: float

    eval_samples: int
    eval_interval_samples: int  # rounded up to whole batches

    vocab_size: int
    hidden_size: int
    filter_size: int
    heads: int
    kv_heads: int
    layers: int

    precision: str  # fp32, bf16, or auto: bf16 where the hardware computes in it
    compile: str  # yes, no, or auto: on GPUs
    activation_checkpointing: bool  # compute each block's activations twice instead of keeping them
    loss_tokens_at_once: int  # logits of so many exist at a time
    checkpoint_dir: str  # shared by all ranks; written after each evaluation, never if empty
    stats_interval_seconds: float  # between tracked_stats lines; 0: every step

    def __post_init__(self) -> None:
        checks.one_of(self, opt_name=("adamw",), precision=("fp32", "bf16", "auto"), compile=("yes", "no", "auto"))
        checks.above_zero(self, "max_steps", "global_batch_size", "max_sequence_length", "opt_base_learning_rate",
                          "opt_adamw_epsilon", "opt_gradient_clip_norm", "eval_samples", "eval_interval_samples",
                          "vocab_size", "hidden_size", "filter_size", "heads", "kv_heads", "layers",
                          "loss_tokens_at_once")  # fmt: skip
        checks.at_least_zero(self, "gradient_accumulation_steps", "opt_learning_rate_warmup_steps",
                             "opt_adamw_weight_decay", "stats_interval_seconds")  # fmt: skip
        checks.below_one(self, "opt_adamw_beta_1", "opt_adamw_beta_2")
        if self.opt_learning_rate_warmup_steps >= self.max_steps:
            raise ValueError(f"opt_learning_rate_warmup_steps must be below max_steps = {self.max_steps}, not "
                             f"{self.opt_learning_rate_warmup_steps}")  # fmt: skip
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size must be a multiple of 2 * heads = {2 * self.heads}, not {self.hidden_size}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads must be a multiple of kv_heads = {self.kv_heads}, not {self.heads}")

    @property
    def opt_end_learning_rate(self) -> float:
        """The rate at the end of the cosine."""
        return self.opt_base_learning_rate * END_OF_BASE

    @property
    def opt_learning_rate_decay_steps(self) -> int:
        """Steps of the cosine."""
        return self.max_steps - self.opt_learning_rate_warmup_steps

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.heads

    @property
    def eval_interval_steps(self) -> int:
        """Steps between evaluations: CEIL(samples / batch), as the rules say."""
        return -(-self.eval_interval_samples // self.global_batch_size)

    def log_values(self) -> Mapping[str, Any]:
        """The log's hyperparameters; the run adds how it accumulates gradients."""
        return {
            keys.GLOBAL_BATCH_SIZE: self.global_batch_size,
            keys.MAX_SEQUENCE_LENGTH: self.max_sequence_length,
            keys.MAX_STEPS: self.max_steps,
            keys.OPT_NAME: self.opt_name,
            keys.OPT_BASE_LR: self.opt_base_learning_rate,
            keys.OPT_END_LR: self.opt_end_learning_rate,
            keys.OPT_LR_WARMUP_STEPS: self.opt_learning_rate_warmup_steps,
            keys.OPT_LR_DECAY_STEPS: self.opt_learning_rate_decay_steps,
            keys.OPT_LR_DECAY_SCHEDULE: SCHEDULE,
            keys.OPT_ADAMW_BETA_1: self.opt_adamw_beta_1,
            keys.OPT_ADAMW_BETA_2: self.opt_adamw_beta_2,
            keys.OPT_ADAMW_EPSILON: self.opt_adamw_epsilon,
            keys.OPT_ADAMW_WEIGHT_DECAY: self.opt_adamw_weight_decay,
            keys.OPT_GRADIENT_CLIP_NORM: self.opt_gradient_clip_norm,
        }


FULL = Config(
    target=3.3,
    max_steps=1_200_000,
    global_batch_size=32,
    gradient_accumulation_steps=0,
    max_sequence_length=8192,
    opt_name="adamw",
    opt_base_learning_rate=8e-4,
    opt_learning_rate_warmup_steps=128,
    opt_adamw_beta_1=0.9,
    opt_adamw_beta_2=0.95,
    opt_adamw_epsilon=1e-5,
    opt_adamw_weight_decay=0.1,
    opt_gradient_clip_norm=1.0,
    eval_samples=1024,
    eval_interval_samples=12_288,
    vocab_size=128_256,
    hidden_size=4096,
    filter_size=14_336,
    heads=32,
    kv_heads=8,
    layers=32,
    precision="auto",
    compile="auto",
    activation_checkpointing=False,
    loss_tokens_at_once=2048,
    checkpoint_dir="",
    stats_interval_seconds=1.0,
)

TINY = replace(
    FULL,
    target=1.85,
    max_steps=500,
    global_batch_size=16,
    gradient_accumulation_steps=1,
    max_sequence_length=128,
    opt_base_learning_rate=3e-3,
    opt_learning_rate_warmup_steps=20,
    eval_samples=64,
    eval_interval_samples=800,
    vocab_size=256,
    hidden_size=128,
    filter_size=384,
    heads=4,
    kv_heads=2,
    layers=4,
)

PRESETS = {"tiny": TINY, "full": FULL}
