"""MiniGo on five lines: games per second of many games at a time beside one at a time (aim: 3 times).

    python tests/performance/train/minigo.py

Exits with 1 if the aim is missed.
"""

from __future__ import annotations

import sys
import time

import torch

from podium_benchmarks.core.dist import Ranks, cpu_count
from podium_benchmarks.core.mllog import Log
from podium_benchmarks.minigo.config import TINY
from podium_benchmarks.minigo.networks import build_model, frozen
from podium_benchmarks.minigo.selfplay import Resignation, self_play
from podium_benchmarks.minigo.train import Run

AIM_TIMES = 3


def games_per_second(run: Run, games: int, at_a_time: int, seed: int) -> float:
    """Of self-play."""
    player = run.player(frozen(build_model(TINY, 1, run.ranks)))
    resignation = Resignation(TINY.resign_threshold, TINY.resign_disabled_share)
    start = time.perf_counter()
    played = self_play(player, TINY.search(TINY.readouts), TINY.board_size, range(games), at_a_time=at_a_time,
                       seed=seed, resignation=resignation)  # fmt: skip
    count = len(list(played))
    return count / (time.perf_counter() - start)


def main() -> int:
    """Measure the two ways to play, in turns."""
    torch.set_num_threads(cpu_count())
    run = Run(TINY, 0, Ranks(rank=0, world_size=1, device=torch.device("cpu"), cores=cpu_count()), Log(enabled=False))
    many = TINY.games_at_a_time
    for at_a_time, games in ((1, 1), (many, many)):
        games_per_second(run, games, at_a_time, seed=0)  # kernels and buffers
    rates = [(games_per_second(run, 12, 1, turn), games_per_second(run, 2 * many, many, turn)) for turn in range(3)]
    slow, fast = (sorted(column)[1] for column in zip(*rates, strict=True))
    print(f"minigo games per second, {TINY.readouts} readouts a move: one at a time {slow:.1f}, {many} at a time {fast:.1f}, "
          f"{fast / slow:.1f} times")  # fmt: skip
    return 0 if fast >= AIM_TIMES * slow else 1


if __name__ == "__main__":
    sys.exit(main())
