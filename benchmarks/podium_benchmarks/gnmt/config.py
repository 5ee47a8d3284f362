"""The settings of a GNMT run; hyperparameters are named by their MLPerf log keys.

`full` is the reference (mlcommons/training v0.6, rnn_translator/pytorch), `tiny` the same network and loop at a size
for two CPU cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlperf_logging.mllog import constants as keys

from podium_benchmarks.core import checks


@dataclass(frozen=True)
class Config:
    """One run's settings. Sequence lengths count tokens, begin and end included."""

    target: float  # BLEU, 0..1
    max_epochs: int
    schedule_epochs: int  # what a schedule in fractions of all steps takes for all

    global_batch_size: int  # sentences
    max_sequence_length: int  # longer pairs are not trained on
    length_buckets: int  # of equal width; a batch comes from one
    opt_name: str
    opt_base_learning_rate: float
    opt_learning_rate_alt_warmup_func: bool  # true: exponential from 1 %, as the reference; false: linear
    opt_learning_rate_warmup_steps: int
    opt_learning_rate_alt_decay_func: bool  # true: decay every decay_interval; false: evenly over the steps left
    opt_learning_rate_remain_steps: float  # where the decay starts: a step, or up to 1 the fraction of all steps
    opt_learning_rate_decay_interval: int  # steps; 0: evenly over the steps left
    opt_learning_rate_decay_steps: int  # how many decays
    opt_learning_rate_decay_factor: float
    opt_adam_beta_1: float
    opt_adam_beta_2: float
    opt_adam_epsilon: float
    gradient_norm: float  # longer gradients are cut to it
    label_smoothing: float
    dropout: float  # on the inputs of each LSTM

    vocab_size: int  # of the network with --data; the toy language brings its own
    hidden_size: int
    layers: int  # of encoder and decoder each
    beam_size: int
    length_power: float
    coverage: float
    max_decode_length: int  # of a translation, its end included
    eval_sentences_at_once: int
    toy_pairs: int  # size of the toy language without a data folder; 0: there must be one
    precision: str  # fp32, bf16, or auto: bf16 where the hardware computes in it
    compile: str  # yes, no, or auto: on a GPU
    stats_interval_seconds: float  # between tracked_stats lines; 0: every step

    def __post_init__(self) -> None:
        checks.one_of(self, opt_name=("adam",), precision=("fp32", "bf16", "auto"), compile=("yes", "no", "auto"))
        checks.above_zero(self, "max_epochs", "schedule_epochs", "global_batch_size", "max_sequence_length",
                          "length_buckets", "opt_base_learning_rate", "opt_learning_rate_decay_factor",
                          "opt_adam_epsilon", "gradient_norm", "vocab_size", "hidden_size", "beam_size",
                          "max_decode_length", "eval_sentences_at_once")  # fmt: skip
        checks.at_least_zero(self, "opt_learning_rate_warmup_steps", "opt_learning_rate_remain_steps",
                             "opt_learning_rate_decay_interval", "opt_learning_rate_decay_steps", "length_power",
                             "coverage", "toy_pairs", "stats_interval_seconds")  # fmt: skip
        checks.below_one(self, "opt_adam_beta_1", "opt_adam_beta_2", "label_smoothing", "dropout")
        if self.layers < 2:
            raise ValueError(f"layers must be at least 2, not {self.layers}")

    def remain_steps(self, steps_per_epoch: int) -> int:
        """The step at which the decay starts."""
        remain = self.opt_learning_rate_remain_steps
        return int(remain * self.schedule_epochs * steps_per_epoch) if remain <= 1 else int(remain)

    def decay_interval(self, steps_per_epoch: int) -> int:
        """Steps from one decay to the next."""
        if self.opt_learning_rate_alt_decay_func and self.opt_learning_rate_decay_interval:
            return self.opt_learning_rate_decay_interval
        left = self.schedule_epochs * steps_per_epoch - self.remain_steps(steps_per_epoch)
        return max(1, left // max(1, self.opt_learning_rate_decay_steps))

    def log_values(self) -> Mapping[str, Any]:
        """The log's hyperparameters, but for those that depend on the number of steps."""
        return {
            keys.GLOBAL_BATCH_SIZE: self.global_batch_size,
            keys.OPT_NAME: self.opt_name,
            keys.OPT_BASE_LR: self.opt_base_learning_rate,
            keys.OPT_ADAM_BETA_1: self.opt_adam_beta_1,
            keys.OPT_ADAM_BETA_2: self.opt_adam_beta_2,
            keys.OPT_ADAM_EPSILON: self.opt_adam_epsilon,
            keys.OPT_LR_ALT_WARMUP_FUNC: self.opt_learning_rate_alt_warmup_func,
            keys.OPT_LR_WARMUP_STEPS: self.opt_learning_rate_warmup_steps,
            keys.OPT_LR_ALT_DECAY_FUNC: self.opt_learning_rate_alt_decay_func,
            keys.OPT_LR_DECAY_STEPS: self.opt_learning_rate_decay_steps,
            keys.OPT_LR_DECAY_FACTOR: self.opt_learning_rate_decay_factor,
        }


FULL = Config(
    target=0.24,
    max_epochs=12,  # the reference's schedule counts 8; published entries with large batches needed up to 9
    schedule_epochs=8,
    global_batch_size=128,
    max_sequence_length=50,
    length_buckets=5,
    opt_name="adam",
    opt_base_learning_rate=1e-3,
    opt_learning_rate_alt_warmup_func=True,
    opt_learning_rate_warmup_steps=200,
    opt_learning_rate_alt_decay_func=True,
    opt_learning_rate_remain_steps=0.666,
    opt_learning_rate_decay_interval=0,
    opt_learning_rate_decay_steps=4,
    opt_learning_rate_decay_factor=0.5,
    opt_adam_beta_1=0.9,
    opt_adam_beta_2=0.999,
    opt_adam_epsilon=1e-8,
    gradient_norm=5.0,
    label_smoothing=0.1,
    dropout=0.2,
    vocab_size=32_320,
    hidden_size=1024,
    layers=4,
    beam_size=5,
    length_power=0.6,
    coverage=0.1,
    max_decode_length=149,
    eval_sentences_at_once=128,
    toy_pairs=0,
    precision="auto",
    compile="auto",
    stats_interval_seconds=1.0,
)

TINY = replace(
    FULL,
    target=0.90,
    max_epochs=30,
    schedule_epochs=30,
    max_sequence_length=10,
    length_buckets=3,
    opt_base_learning_rate=4e-3,
    opt_learning_rate_warmup_steps=100,
    dropout=0.1,
    vocab_size=4000,
    hidden_size=96,
    max_decode_length=20,
    eval_sentences_at_once=250,
    toy_pairs=6000,
)

PRESETS = {"tiny": TINY, "full": FULL}
