"""The settings of a MiniGo run; hyperparameters are named by their MLPerf log keys where they have one.

`full` is v0.6's reference (mlcommons/training, minigo, 9x9), `tiny` the same on 5x5, for two CPU cores. What v0.5 had
otherwise can be set: network=v0.5, quality=pro_moves, c_puct=1.38, c_puct_base=0, first_play_penalty=0,
longest_game=1.4, opt_base_learning_rate=0.01, global_batch_size=16 and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlperf_logging.mllog import constants as keys

from podium_benchmarks.core import checks
from podium_benchmarks.minigo.board import LARGEST, SMALLEST

# Of each round's network: whether convolutions have biases, and the weight of new statistics in its normalization
NETWORKS = {"v0.5": (True, 0.003), "v0.6": (False, 0.05)}


@dataclass(frozen=True)
class SearchSettings:
    """How a tree is searched; the defaults are v0.6's."""

    readouts: int  # leaves per move
    leaves: int = 8  # of one game at a time: virtual losses keep them apart
    komi: float = 7.5
    c_puct: float = 1.25
    c_puct_base: float = 19652.0  # 0: c_puct doesn't grow with visits, and is not doubled (v0.5)
    first_play_penalty: float = 0.2  # a move without visits counts as its parent's value less this
    longest_game: float = 2.0  # moves per point of the board; then it is scored as it stands


@dataclass(frozen=True)
class Config:
    """One run's settings. An epoch is one generation of games; they count from 1."""

    target: float  # ratio of games won against the opponent, or of moves predicted
    max_epochs: int
    quality: str  # win_rate (v0.6, evaluated after the clock has stopped) or pro_moves (v0.5, after each generation)

    board_size: int
    komi: float
    network: str  # v0.5 or v0.6
    width: int
    blocks: int
    features: int  # of the value head's hidden layer
    published_start: bool  # win_rate needs the round's own checkpoints, as the definition says
    start_checkpoint: str  # file with the weights to start from; empty: random ones
    training_state: str  # file with the optimizer's momentum and step at the start; empty: none
    opponent_checkpoint: str  # file with the weights to beat; empty: those of the start
    checkpoint_dir: str  # folder that gets each promoted model; empty: none

    games_per_generation: int
    readouts: int  # leaves searched per move
    virtual_losses: int  # of them at a time in one game
    games_at_a_time: int  # on each rank
    search_processes: int  # that search trees in self-play; 0: none; -1: on a GPU one for each core but the first
    c_puct: float
    c_puct_base: float  # 0: c_puct stays the same
    first_play_penalty: float
    longest_game: float  # moves per point of the board; then it is scored as it stands
    resign_threshold: float  # 1 or more: no player resigns
    resign_disabled_share: float

    global_batch_size: int
    opt_base_learning_rate: tuple[float, ...]  # one, or those before, between and after the boundaries
    opt_learning_rate_warmup_steps: int
    opt_learning_rate_warmup_factor: float  # k: warm-up starts at 1 - 1/2^k of the rate
    opt_learning_rate_decay_boundary_steps: tuple[int, ...]  # x 0.1 at each, where one rate is given
    opt_momentum: float
    opt_weight_decay: float
    value_cost_weight: float
    window_generations: int  # whose games are trained on
    sampling_share: float  # of their positions, in each generation
    sync_bn: bool  # statistics of the whole batch instead of a rank's shard

    gate_games: int  # against the best network so far; 0: each new one is promoted
    gate_win_rate: float
    eval_games: int
    eval_readouts: int
    eval_tries: int  # for each recorded move; with several, each sees the boards in random symmetries (v0.5: 5)
    precision: str  # fp32, bf16, or auto: bf16 on a GPU
    compile: str  # yes, no, or auto: on a GPU
    stats_interval_seconds: float  # between tracked_stats lines; 0: every step

    def __post_init__(self) -> None:
        checks.one_of(self, quality=("win_rate", "pro_moves"), network=tuple(NETWORKS),
                      precision=("fp32", "bf16", "auto"),
                      compile=("yes", "no", "auto"))  # fmt: skip
        checks.above_zero(self, "max_epochs", "width", "blocks", "features", "games_per_generation", "readouts",
                          "virtual_losses", "games_at_a_time", "c_puct", "longest_game", "resign_threshold",
                          "global_batch_size", "value_cost_weight", "window_generations", "sampling_share",
                          "eval_games", "eval_readouts", "eval_tries")  # fmt: skip
        checks.at_least_zero(self, "c_puct_base", "first_play_penalty", "opt_learning_rate_warmup_steps",
                             "opt_learning_rate_warmup_factor", "opt_weight_decay", "gate_games",
                             "stats_interval_seconds")  # fmt: skip
        checks.below_one(self, "opt_momentum")
        if self.search_processes < -1:
            raise ValueError(f"search_processes must be -1 or more, not {self.search_processes}")
        if not SMALLEST <= self.board_size <= LARGEST:
            raise ValueError(f"board_size must be {SMALLEST} to {LARGEST}, not {self.board_size}")
        checks.ratio(self, "sampling_share", "gate_win_rate", "resign_disabled_share")
        boundaries, rates = self.opt_learning_rate_decay_boundary_steps, self.opt_base_learning_rate
        checks.rising(self, "opt_learning_rate_decay_boundary_steps")
        if len(rates) not in {1, len(boundaries) + 1} or min(rates) <= 0:
            raise ValueError(f"opt_base_learning_rate must be one rate above 0, or {len(boundaries) + 1} for "
                             f"{len(boundaries)} boundaries, not {rates}")  # fmt: skip

    def search(self, readouts: int) -> SearchSettings:
        """How trees are searched, with so many leaves per move."""
        return SearchSettings(readouts=readouts, leaves=self.virtual_losses, komi=self.komi, c_puct=self.c_puct,
                              c_puct_base=self.c_puct_base, first_play_penalty=self.first_play_penalty,
                              longest_game=self.longest_game)  # fmt: skip

    def log_values(self) -> Mapping[str, Any]:
        """The log's hyperparameters; v0.7's checker has other names for three of them."""
        rates, boundaries = self.opt_base_learning_rate, list(self.opt_learning_rate_decay_boundary_steps)
        return {
            keys.GLOBAL_BATCH_SIZE: self.global_batch_size,
            "train_batch_size": self.global_batch_size,
            keys.OPT_NAME: "sgd",
            keys.OPT_BASE_LR: rates[0] if len(rates) == 1 else list(rates),
            "lr_rates": [rates[0] * 0.1**passed for passed in range(len(boundaries) + 1)]
            if len(rates) == 1
            else list(rates),
            keys.OPT_LR_DECAY_BOUNDARY_STEPS: boundaries,
            "lr_boundaries": boundaries,
            keys.OPT_LR_WARMUP_STEPS: self.opt_learning_rate_warmup_steps,
            keys.OPT_LR_WARMUP_FACTOR: self.opt_learning_rate_warmup_factor,
            keys.OPT_WEIGHT_DECAY: self.opt_weight_decay,
            "opt_momentum": self.opt_momentum,
            "virtual_losses": self.virtual_losses,
            "min_selfplay_games_per_generation": self.games_per_generation,
        }


FULL = Config(
    target=0.50,
    max_epochs=60,
    quality="win_rate",
    board_size=9,
    komi=7.5,
    network="v0.6",
    width=32,
    blocks=9,
    features=64,
    published_start=True,
    start_checkpoint="",
    training_state="",
    opponent_checkpoint="",
    checkpoint_dir="",
    games_per_generation=4096,
    readouts=240,
    virtual_losses=8,
    games_at_a_time=512,
    search_processes=-1,
    c_puct=1.25,
    c_puct_base=19652.0,
    first_play_penalty=0.2,
    longest_game=2.0,
    resign_threshold=0.99,
    resign_disabled_share=0.1,
    global_batch_size=4096,
    opt_base_learning_rate=(0.16, 0.016, 0.0016),
    opt_learning_rate_warmup_steps=0,
    opt_learning_rate_warmup_factor=0.0,
    opt_learning_rate_decay_boundary_steps=(25_000, 37_500),
    opt_momentum=0.9,
    opt_weight_decay=1e-4,
    value_cost_weight=0.25,
    window_generations=10,
    sampling_share=0.5,
    sync_bn=False,
    gate_games=100,
    gate_win_rate=0.49,
    eval_games=100,
    eval_readouts=240,
    eval_tries=1,
    precision="auto",
    compile="auto",
    stats_interval_seconds=1.0,
)

TINY = replace(
    FULL,
    target=0.60,
    max_epochs=8,
    published_start=False,
    board_size=5,
    komi=0.5,
    width=16,
    blocks=3,
    features=32,
    games_per_generation=192,
    readouts=32,
    virtual_losses=4,
    games_at_a_time=96,
    resign_threshold=1.0,
    resign_disabled_share=0.0,
    global_batch_size=128,
    opt_base_learning_rate=(0.05,),
    opt_learning_rate_decay_boundary_steps=(),
    value_cost_weight=1.0,
    window_generations=4,
    sampling_share=1.0,
    gate_games=40,
    gate_win_rate=0.55,
    eval_readouts=32,
)

PRESETS = {"tiny": TINY, "full": FULL}
