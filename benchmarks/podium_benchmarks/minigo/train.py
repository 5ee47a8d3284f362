"""MiniGo training, from the first log line to the last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mlperf_logging.mllog import constants as keys
from torch import nn

from podium_benchmarks.core import clock, dist, seeds
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.mllog import Log
from podium_benchmarks.core.optimizers import set_learning_rate
from podium_benchmarks.core.settings import RunSettings
from podium_benchmarks.core.telemetry import Progress
from podium_benchmarks.minigo.config import Config
from podium_benchmarks.minigo.data import (
    Batch,
    batches,
    examples_of,
    exchange,
    golden_chunks,
    joined,
    read_chunk,
    with_checkpoints,
)
from podium_benchmarks.minigo.eval import predicted_ratio, win_rate
from podium_benchmarks.minigo.features import Evaluate, evaluator, planes_evaluator
from podium_benchmarks.minigo.model import PLANES, PolicyValue
from podium_benchmarks.minigo.networks import (
    build_model,
    frozen,
    frozen_opponent,
    make_optimizer,
    restore_training,
    save_weights,
)
from podium_benchmarks.minigo.selfplay import Game, Resignation, self_play
from podium_benchmarks.minigo.sgf import Record, read_games
from podium_benchmarks.minigo.workers import Workers


def train(config: Config, settings: RunSettings) -> None:
    """Play, learn, promote, for as many generations as there may be, or until the recorded moves are predicted."""
    config = with_checkpoints(config, settings.data_dir)
    ranks = dist.join()
    log = clock.open_log(ranks, "minigo", settings)
    run = Run(config, dist.from_rank0(seeds.master_seed(settings.seed), ranks.device), ranks, log,
              start_workers(config, ranks))  # fmt: skip
    model = build_model(config, run.seed, ranks)
    opponent, best = frozen_opponent(model, config), frozen(model)  # the best one plays the games
    replicated, optimizer = dist.replicate(model, ranks), make_optimizer(model, config)
    warm_up(replicated, model, run)
    step = restore_training(model, optimizer, Path(config.training_state)) if config.training_state else 0
    clock.log_hyperparameters(log, run.seed, config.log_values())

    clock.start(log, ranks, config.max_epochs)
    records = (
        read_games(settings.data_dir, config.board_size) if settings.data_dir and config.quality == "pro_moves" else []
    )
    recorded_moves = sum(len(record.moves) for record in records)
    clock.log_samples(log, config.games_per_generation, recorded_moves or config.eval_games)
    progress = Progress(log, ranks, config.stats_interval_seconds)
    golden = golden_chunks(settings.data_dir) if config.quality == "win_rate" else []
    window = [read_chunk(file).to(ranks.device) for file in golden[-config.window_generations :]]
    checkpoints: list[Checkpoint] = []
    reached = False
    for epoch in range(1, config.max_epochs + 1):
        log.start(keys.EPOCH_START, epoch_num=epoch)
        if epoch > 1 or not golden:  # a run that continues begins by training, as the reference
            games = play_generation(best, epoch, run)
            window = [*window, exchange(examples_of(games, config.board_size), ranks)][-config.window_generations :]
        examples = joined(window)
        log.event("training_positions", len(examples), epoch_num=epoch)
        progress.restart_clock()
        for batch in progress.timed(batches(examples, config, seeds.derive(run.seed, "epoch", epoch), ranks)):
            set_learning_rate(optimizer, learning_rate(config, step))
            # DDP averages over ranks, whose shards may differ in size: undo that, divide by all positions of the batch.
            scale = ranks.world_size / batch.global_count
            loss_sum = forward_backward(replicated, batch, run, scale=scale)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            progress.step(loss_sum, batch.global_count, epoch - 0.5)
        progress.flush(epoch)
        candidate = frozen(model)
        log.event("save_model", {"iteration": epoch})
        if wins_its_gate(candidate, best, epoch, run):
            best = candidate
            checkpoints.append(Checkpoint(epoch, log.time_ms["save_model"] - log.time_ms["run_start"], candidate))
            if config.checkpoint_dir and ranks.rank == 0:
                save_weights(candidate, Path(config.checkpoint_dir) / f"{epoch:06}.pt")
        if config.quality == "pro_moves":
            reached = predicts_enough(best, records, epoch, run)
        log.end(keys.EPOCH_STOP, epoch_num=epoch)
        if reached:
            break
    if config.quality == "win_rate":
        reached = evaluate_afterwards(checkpoints, opponent, run)
    clock.stop(log, ranks, settings, reached=reached, epoch=epoch)


@dataclass(frozen=True)
class Run:
    """What all parts of a run share."""

    config: Config
    seed: int
    ranks: Ranks
    log: Log
    workers: Workers | None = None  # that play; else the trainer's own process does

    def autocast(self) -> torch.autocast:
        """To bf16 on a GPU; networks this narrow are slower in it on a CPU."""
        kind, precision = self.ranks.device.type, self.config.precision
        return torch.autocast(
            kind, torch.bfloat16, enabled=precision == "bf16" or (precision, kind) == ("auto", "cuda")
        )

    def player(self, model: PolicyValue, random: np.random.Generator | None = None) -> Evaluate:
        """A frozen model as a player; with `random`, it evaluates each board in a random symmetry."""
        return evaluator(model, self.ranks.device, self.autocast(), random)

    def win_rate(self, first: PolicyValue, second: PolicyValue, games: int, seed: int) -> float:
        """Ratio of games that `first` wins; random symmetries of the boards make each game different (v0.6)."""
        players = [
            self.player(model, np.random.default_rng(seeds.derive(seed, name, self.ranks.rank)))
            for name, model in (("first", first), ("second", second))
        ]
        return win_rate(self.config, *players, self.ranks, games=games)


@dataclass(frozen=True)
class Checkpoint:
    """A promoted model, and when it was there, since the clock started."""

    epoch: int
    time_ms: int
    model: PolicyValue


def resignation(config: Config) -> Resignation:
    """Of self-play."""
    return Resignation(config.resign_threshold, config.resign_disabled_share)


def start_workers(config: Config, ranks: Ranks) -> Workers | None:
    """This rank's self-play processes, ready to play, if it has some."""
    count = config.search_processes
    if count < 0:
        count = ranks.cores - 1 if ranks.device.type == "cuda" else 0
    if not count:
        return None
    workers = Workers(count, config.search(config.readouts), config.board_size, resignation(config))
    workers.wait()
    return workers


def play_generation(best: PolicyValue, epoch: int, run: Run) -> list[Game]:
    """This rank's shard of a generation's games."""
    config, count = run.config, run.config.games_per_generation
    mine = range(count)[dist.shard(count, run.ranks)]
    at_a_time, seed = config.games_at_a_time, seeds.derive(run.seed, "self-play", epoch)
    if run.workers is None:
        played = self_play(run.player(best), config.search(config.readouts), config.board_size, mine,
                           at_a_time=at_a_time, seed=seed, resignation=resignation(config))  # fmt: skip
    else:
        planes_player = planes_evaluator(best, run.ranks.device, run.autocast())
        played = run.workers.play(planes_player, mine, at_a_time=at_a_time, seed=seed)
    games: list[Game] = []
    start = reported = time.perf_counter()
    for game in played:
        games.append(game)
        now = time.perf_counter()
        if now - reported >= max(1.0, config.stats_interval_seconds) or len(games) == len(mine):
            # Of this rank alone: ranks meet only when all of them have finished
            stats = {"games_per_second": round(len(games) / (now - start), 2)}
            run.log.event("tracked_stats", stats, epoch_num=round(epoch - 1 + len(games) / len(mine) / 2, 4))
            reported = now
    dist.barrier(run.ranks)
    run.log.event("actual_selfplay_games_per_generation", count, epoch_num=epoch)
    return games


def wins_its_gate(candidate: PolicyValue, best: PolicyValue, epoch: int, run: Run) -> bool:
    """Whether the model plays the next games: it must win often enough against the one that played the last."""
    if not run.config.gate_games:
        return True
    wins = run.win_rate(candidate, best, run.config.gate_games, seeds.derive(run.seed, "gate", epoch))
    run.log.event("gate_win_rate", wins, epoch_num=epoch)
    return wins >= run.config.gate_win_rate


def predicts_enough(best: PolicyValue, records: Sequence[Record], epoch: int, run: Run) -> bool:
    """The quality of v0.5, on the clock."""
    eval_seed = seeds.derive(run.seed, "eval", epoch * run.ranks.world_size + run.ranks.rank)
    random = np.random.default_rng(eval_seed) if run.config.eval_tries > 1 else None
    predict = partial(predicted_ratio, run.config, run.player(best, random), records, run.ranks)
    return clock.evaluation(run.log, epoch, predict) >= run.config.target


def evaluate_afterwards(checkpoints: Sequence[Checkpoint], opponent: PolicyValue, run: Run) -> bool:
    """The quality of v0.6: the time that counts is that of the first model that wins often enough (eval_models.py)."""
    for checkpoint in checkpoints:
        eval_seed = seeds.derive(run.seed, "eval", checkpoint.epoch)
        play = partial(run.win_rate, checkpoint.model, opponent, run.config.eval_games, eval_seed)
        if clock.evaluation(run.log, checkpoint.epoch, play) >= run.config.target:
            run.log.event("eval_result", None, iteration=checkpoint.epoch, timestamp=checkpoint.time_ms / 1000)
            return True
    run.log.event("eval_result", None, iteration=0, timestamp=0)
    return False


def warm_up(replicated: nn.Module, model: PolicyValue, run: Run) -> None:
    """Play and learn a little, so that kernels and buffers exist when the clock starts; leaves no trace."""
    config, state = run.config, {name: value.clone() for name, value in model.state_dict().items()}
    settings = config.search(min(config.readouts, config.virtual_losses))
    games = self_play(run.player(frozen(model)), settings, config.board_size, range(1), at_a_time=1, seed=0,
                      resignation=Resignation(threshold=1.0, disabled_ratio=0.0))  # fmt: skip
    examples = examples_of(list(games), config.board_size).to(run.ranks.device)
    for batch in (*batches(examples, config, 0, run.ranks), synthetic_batch(config, run.ranks)):
        forward_backward(replicated, batch, run, scale=1.0)
    model.zero_grad(set_to_none=True)
    model.load_state_dict(state)


def synthetic_batch(config: Config, ranks: Ranks) -> Batch:
    """Empty boards, as many as in a whole batch: those alone are compiled for."""
    count, device, points = dist.shard_size(config.global_batch_size, ranks), ranks.device, config.board_size**2
    return Batch(
        planes=torch.zeros((count, PLANES, config.board_size, config.board_size), dtype=torch.uint8, device=device),
        chances=torch.full((count, points + 1), 1 / (points + 1), device=device),
        winners=torch.ones(count, device=device),
        global_count=config.global_batch_size,
    )


def learning_rate(config: Config, step: int) -> float:
    """Of this step, counted from 0."""
    rates, boundaries = config.opt_base_learning_rate, config.opt_learning_rate_decay_boundary_steps
    warmup_steps, factor = config.opt_learning_rate_warmup_steps, config.opt_learning_rate_warmup_factor
    if step < warmup_steps:
        return rates[0] - (warmup_steps - step) * rates[0] / (warmup_steps * 2**factor)
    # tf.train.piecewise_constant: the step that equals a boundary still has the rate before it
    passed = sum(step > boundary for boundary in boundaries)
    return rates[passed] if len(rates) > 1 else rates[0] * 0.1**passed


def forward_backward(replicated: nn.Module, batch: Batch, run: Run, *, scale: float) -> torch.Tensor:
    """Gradients of `scale` times the summed loss; returns that sum over this rank's shard, still on the device."""
    with run.autocast():
        logits, black_wins = replicated(batch.planes.float())
    move_loss = F.cross_entropy(logits.float(), batch.chances, reduction="sum")
    value_loss = F.mse_loss(black_wins.float(), batch.winners, reduction="sum")
    loss_sum = move_loss + run.config.value_cost_weight * value_loss
    (loss_sum * scale).backward()
    return loss_sum.detach()
