"""MiniGo on five lines: games per second of many games at a time beside one at a time (aim: 3 times); and on nine, what a
readout takes of the trainer's process without the network, alone and with two processes that search (aim: a third).

    python tests/performance/train/minigo.py

Exits with 1 if the aim is missed.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from numpy.typing import NDArray

from podium_benchmarks.core.dist import Ranks, cpu_count
from podium_benchmarks.core.mllog import Log
from podium_benchmarks.minigo.config import FULL, TINY
from podium_benchmarks.minigo.features import encode
from podium_benchmarks.minigo.networks import build_model, frozen
from podium_benchmarks.minigo.selfplay import Resignation, self_play
from podium_benchmarks.minigo.train import Run
from podium_benchmarks.minigo.workers import Workers

AIM_TIMES = 3
GAMES, READOUTS, PROCESSES = 64, 16, 2  # on nine lines
NEVER = Resignation(threshold=1.0, disabled_ratio=0.0)


def games_per_second(run: Run, games: int, at_a_time: int, seed: int) -> float:
    """Of self-play."""
    player = run.player(frozen(build_model(TINY, 1, run.ranks)))
    resignation = Resignation(TINY.resign_threshold, TINY.resign_disabled_share)
    start = time.perf_counter()
    played = self_play(player, TINY.search(TINY.readouts), TINY.board_size, range(games), at_a_time=at_a_time,
                       seed=seed, resignation=resignation)  # fmt: skip
    count = len(list(played))
    return count / (time.perf_counter() - start)


def guess(planes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """In place of a network: chances and values that depend on the position."""
    random = np.random.default_rng(0)
    chances = random.random((997, planes.shape[2] + 1), dtype=np.float32) ** 4
    kinds = planes.sum((1, 2), dtype=np.int64) * 31 % len(chances)
    return (chances / chances.sum(1, keepdims=True))[kinds], chances[kinds, 0] * 2 - 1


def microseconds_per_readout(workers: Workers | None, seed: int) -> float:
    """CPU time of this process."""
    settings, size = FULL.search(READOUTS), FULL.board_size
    start = time.process_time()
    if workers is None:
        played = self_play(lambda positions: guess(encode(positions)), settings, size, range(GAMES), at_a_time=GAMES,
                           seed=seed, resignation=NEVER)  # fmt: skip
    else:
        played = workers.play(guess, range(GAMES), at_a_time=GAMES, seed=seed)
    moves = sum(len(game.positions) for game in played)
    return (time.process_time() - start) / moves / READOUTS * 1e6


def main() -> int:
    """Measure the two ways to play, in turns, twice."""
    torch.set_num_threads(cpu_count())
    run = Run(TINY, 0, Ranks(rank=0, world_size=1, device=torch.device("cpu"), cores=cpu_count()), Log(enabled=False))
    many = TINY.games_at_a_time
    for at_a_time, games in ((1, 1), (many, many)):
        games_per_second(run, games, at_a_time, seed=0)  # kernels and buffers
    rates = [(games_per_second(run, 12, 1, turn), games_per_second(run, 2 * many, many, turn)) for turn in range(3)]
    slow, fast = (sorted(column)[1] for column in zip(*rates, strict=True))
    print(f"minigo games per second, {TINY.readouts} readouts a move: one at a time {slow:.1f}, {many} at a time {fast:.1f}, "
          f"{fast / slow:.1f} times")  # fmt: skip
    workers = Workers(PROCESSES, FULL.search(READOUTS), FULL.board_size, NEVER)
    workers.wait()
    turns = [(microseconds_per_readout(None, seed), microseconds_per_readout(workers, seed)) for seed in range(5)]
    ratios = sorted(alone / beside for alone, beside in turns)
    alone, beside = (sorted(column)[2] for column in zip(*turns, strict=True))
    print(f"minigo on nine lines, microseconds of the trainer's process per readout: alone {alone:.1f}, with {PROCESSES} "
          f"processes {beside:.1f}: {ratios[2]:.1f} times ({ratios[0]:.1f} to {ratios[-1]:.1f})")  # fmt: skip
    return 0 if fast >= AIM_TIMES * slow and ratios[2] >= AIM_TIMES else 1


if __name__ == "__main__":
    sys.exit(main())
