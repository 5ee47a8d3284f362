"""The settings of a Transformer run; hyperparameters are named by their MLPerf log keys.

`full` is Transformer big of the reference (mlcommons/training v0.6, translation/tensorflow), `tiny` the same network
and loop at a size for two CPU cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlperf_logging.mllog import constants as keys

from podium_benchmarks.core import checks

SMALLEST_SCALE = 0.1  # below it, opt_base_learning_rate is the rate itself


@dataclass(frozen=True)
class Config:
    """One run's settings."""

    target: float  # BLEU, 0..1
    max_epochs: int

    global_batch_size: int  # tokens, padding included, of the longer language
    max_sequence_length: int  # longer pairs are not trained on; in tokens, the end included
    opt_name: str
    opt_base_learning_rate: float  # the reference's scale, or the rate after warm-up: see peak_learning_rate
    opt_learning_rate_warmup_steps: int
    opt_adam_beta_1: float
    opt_adam_beta_2: float
    opt_adam_epsilon: float
    label_smoothing: float
    dropout: float  # in all three places: behind each layer and the embedding, in attention, behind ReLU

    vocab_size: int  # of the network with --data; the toy language brings its own
    hidden_size: int
    filter_size: int
    heads: int
    layers: int  # of each stack
    beam_size: int
    length_power: float  # alpha of the length norm
    extra_decode_length: int  # how much longer than its source a translation may get
    eval_sentences_at_once: int
    toy_pairs: int  # size of the toy language without a data folder; 0: there must be one
    precision: str  # fp32, bf16, or auto: bf16 where the hardware computes in it
    compile: str  # yes, no, or auto: on a GPU
    stats_interval_seconds: float  # between tracked_stats lines; 0: every step

    def __post_init__(self) -> None:
        checks.one_of(
            self, opt_name=("adam", "lazy_adam"), precision=("fp32", "bf16", "auto"), compile=("yes", "no", "auto")
        )
        checks.above_zero(self, "max_epochs", "global_batch_size", "max_sequence_length", "opt_base_learning_rate",
                          "opt_learning_rate_warmup_steps", "opt_adam_epsilon", "vocab_size", "hidden_size",
                          "filter_size", "heads", "layers", "beam_size", "extra_decode_length",
                          "eval_sentences_at_once")  # fmt: skip
        checks.at_least_zero(self, "length_power", "toy_pairs", "stats_interval_seconds")
        checks.below_one(self, "opt_adam_beta_1", "opt_adam_beta_2", "label_smoothing", "dropout")
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size must be a multiple of 2 * heads = {2 * self.heads}, not {self.hidden_size}")
        if self.global_batch_size <= self.max_sequence_length:
            raise ValueError(f"global_batch_size counts tokens and must be above max_sequence_length = "
                             f"{self.max_sequence_length}, not {self.global_batch_size}")  # fmt: skip

    @property
    def peak_learning_rate(self) -> float:
        """The rate at the end of warm-up.

        Published logs give opt_base_learning_rate in two forms: the reference and Google as the scale of a rate of
        scale * hidden_size^-0.5 * warm-up^-0.5, NVIDIA as that rate. 2.0 and 0.001976 are the same after 1,000 steps.
        As a scale, 0.001976 would train nothing; as a rate, 2.0 would destroy the network.
        """
        if self.opt_base_learning_rate < SMALLEST_SCALE:
            return self.opt_base_learning_rate
        return self.opt_base_learning_rate * (self.hidden_size * self.opt_learning_rate_warmup_steps) ** -0.5

    def log_values(self) -> Mapping[str, Any]:
        """The log's hyperparameters."""
        return {
            keys.GLOBAL_BATCH_SIZE: self.global_batch_size,
            keys.OPT_NAME: self.opt_name,
            keys.OPT_BASE_LR: self.opt_base_learning_rate,
            keys.OPT_LR_WARMUP_STEPS: self.opt_learning_rate_warmup_steps,
            keys.OPT_ADAM_BETA_1: self.opt_adam_beta_1,
            keys.OPT_ADAM_BETA_2: self.opt_adam_beta_2,
            keys.OPT_ADAM_EPSILON: self.opt_adam_epsilon,
        }


FULL = Config(
    target=0.25,
    max_epochs=20,
    global_batch_size=4096,
    max_sequence_length=256,
    opt_name="lazy_adam",
    opt_base_learning_rate=2.0,
    opt_learning_rate_warmup_steps=16_000,
    opt_adam_beta_1=0.9,
    opt_adam_beta_2=0.997,
    opt_adam_epsilon=1e-9,
    label_smoothing=0.1,
    dropout=0.1,
    vocab_size=33_708,
    hidden_size=1024,
    filter_size=4096,
    heads=16,
    layers=6,
    beam_size=4,
    length_power=0.6,
    extra_decode_length=50,
    eval_sentences_at_once=128,
    toy_pairs=0,
    precision="auto",
    compile="auto",
    stats_interval_seconds=1.0,
)

TINY = replace(
    FULL,
    target=0.90,
    max_epochs=40,
    global_batch_size=1536,
    max_sequence_length=64,
    opt_name="adam",
    opt_base_learning_rate=1.0,
    opt_learning_rate_warmup_steps=300,
    opt_adam_beta_2=0.98,
    vocab_size=4000,
    hidden_size=128,
    filter_size=512,
    heads=4,
    layers=2,
    extra_decode_length=10,
    eval_sentences_at_once=250,
    toy_pairs=6000,
)

PRESETS = {"tiny": TINY, "full": FULL}
