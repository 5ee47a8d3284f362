"""What is learned from: positions of recent games, what the search made of them, and who won."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed

from podium_benchmarks.core.cli import DataError, UsageError
from podium_benchmarks.core.dist import Ranks, shard
from podium_benchmarks.minigo import sgf
from podium_benchmarks.minigo.board import symmetries
from podium_benchmarks.minigo.config import Config
from podium_benchmarks.minigo.features import encode
from podium_benchmarks.minigo.model import PLANES
from podium_benchmarks.minigo.selfplay import Game

START, OPPONENT, TRAINING, GOLDEN = "start.pt", "opponent.pt", "training.pt", "golden"
CHECKPOINTS = (
    "for win_rate, --data DIR holds start.pt and opponent.pt, the weights to start from and to beat, as a run writes "
    "them to its checkpoint_dir"
)
PUBLISHED = (
    "v0.6 starts from published weights, training state and games, and plays against a published opponent: convert "
    "them with podium-benchmarks prepare minigo and give their folder with --data DIR, or, in the open division, start "
    "from random weights with --set published_start=false"
)


@dataclass(frozen=True)
class Examples:
    """Positions with what the network should have said of them, in the order of their games' numbers."""

    planes: torch.Tensor  # (n, 17, points) uint8
    chances: torch.Tensor  # (n, points + 1) float32: ratios of the visits
    winners: torch.Tensor  # (n,) float32: 1 Black, -1 White

    def __len__(self) -> int:
        return len(self.winners)

    def to(self, device: torch.device) -> Examples:
        """On the device: ten full-size generations take 4 GB."""
        return Examples(*(values.to(device) for values in (self.planes, self.chances, self.winners)))


@dataclass(frozen=True)
class Batch:
    """This rank's shard of a global batch, on the device."""

    planes: torch.Tensor  # (B, 17, size, size) uint8
    chances: torch.Tensor  # (B, points + 1)
    winners: torch.Tensor  # (B,)
    global_count: int  # positions of all ranks


def check_data(config: Config, data_dir: Path | None) -> None:
    """Refuse what can't be run, games that can't be played included."""
    if config.quality == "pro_moves":
        if data_dir is None:
            raise UsageError(f"quality pro_moves needs recorded games: give --data DIR; {sgf.LAYOUT}")
        sgf.check_folder(data_dir)
        sgf.read_games(data_dir, config.board_size)
    if config.quality == "win_rate" and config.published_start:
        if data_dir is None:
            raise UsageError(PUBLISHED)
        for name in (START, OPPONENT, TRAINING):
            if not (data_dir / name).is_file():
                raise UsageError(f"--data {data_dir} has no file {name}; {PUBLISHED}")
        if not golden_chunks(data_dir):
            raise UsageError(f"--data {data_dir} has no games {GOLDEN}/*.pt; {PUBLISHED}")
    config = with_checkpoints(config, data_dir)
    for name in ("start_checkpoint", "opponent_checkpoint", "training_state"):
        if getattr(config, name) and not Path(getattr(config, name)).is_file():
            raise UsageError(f"{name} {getattr(config, name)} is not a file; {CHECKPOINTS}")


def with_checkpoints(config: Config, data_dir: Path | None) -> Config:
    """With the weights that a data folder holds for win_rate, where the settings name no others (v0.6)."""
    if config.quality != "win_rate" or data_dir is None:
        return config
    state = data_dir / TRAINING
    return dataclasses.replace(
        config,
        start_checkpoint=config.start_checkpoint or str(data_dir / START),
        opponent_checkpoint=config.opponent_checkpoint or str(data_dir / OPPONENT),
        training_state=config.training_state or (str(state) if state.is_file() else ""),
    )


def golden_chunks(data_dir: Path | None) -> list[Path]:
    """Files with the positions of generations before the start, oldest first."""
    return sorted((data_dir / GOLDEN).glob("*.pt")) if data_dir else []


def read_chunk(file: Path) -> Examples:
    """One generation's positions, memory-mapped; raises DataError for a file without them."""
    try:
        return Examples(**torch.load(file, map_location="cpu", mmap=True, weights_only=True))
    except Exception as error:  # torch raises many kinds
        raise DataError(f"{file} does not hold positions to train on ({str(error).splitlines()[0]}): prepare the data "
                        "set again") from error  # fmt: skip


def examples_of(games: Sequence[Game], size: int) -> Examples:
    """Those of all positions of games that one player won."""
    decided = sorted((game for game in games if game.winner), key=lambda game: game.number)
    if not decided:
        points = size * size
        return Examples(torch.zeros((0, PLANES, points), dtype=torch.uint8), torch.zeros(0, points + 1), torch.zeros(0))
    visits = np.stack([visits for game in decided for visits in game.visits])
    winners = np.repeat([game.winner for game in decided], [len(game.positions) for game in decided])
    return Examples(
        planes=torch.from_numpy(encode([position for game in decided for position in game.positions])),
        chances=torch.from_numpy(visits / visits.sum(1, keepdims=True)),
        winners=torch.from_numpy(winners.astype(np.float32)),
    )


def exchange(mine: Examples, ranks: Ranks) -> Examples:
    """The examples of all ranks, in their order, on the device of each of them."""
    if ranks.world_size == 1:
        return mine.to(ranks.device)
    counts = [torch.zeros(1, dtype=torch.int64, device=ranks.device) for _ in range(ranks.world_size)]
    torch.distributed.all_gather(counts, torch.tensor([len(mine)], device=ranks.device))
    most = int(max(counts).item())

    def together(values: torch.Tensor) -> torch.Tensor:
        padded = torch.zeros((most, *values.shape[1:]), dtype=values.dtype, device=ranks.device)
        padded[: len(values)] = values
        everything = [torch.empty_like(padded) for _ in counts]
        torch.distributed.all_gather(everything, padded)
        return torch.cat([part[: int(count)] for part, count in zip(everything, counts, strict=True)])

    return Examples(*(together(values) for values in (mine.planes, mine.chances, mine.winners)))


def joined(window: Sequence[Examples]) -> Examples:
    """The examples of several generations as one, where they are."""
    return Examples(*(torch.cat([getattr(one, name) for one in window]) for name in ("planes", "chances", "winners")))


def batches(examples: Examples, config: Config, seed: int, ranks: Ranks) -> Iterator[Batch]:
    """A part of the examples in an order that all ranks share, each in one of eight symmetries, in global batches."""
    generator, device = torch.Generator().manual_seed(seed), examples.planes.device
    order = torch.randperm(len(examples), generator=generator)[: max(1, round(len(examples) * config.sampling_share))]
    turns = torch.randint(8, (len(order),), generator=generator).to(device)
    order = order.to(device)
    places = torch.from_numpy(symmetries(config.board_size).copy()).to(device)  # (8, points + 1)
    size = config.board_size
    for part, turn in zip(order.split(config.global_batch_size), turns.split(config.global_batch_size), strict=True):
        mine = shard(len(part), ranks)
        chosen, place = part[mine], places[turn[mine]]
        planes = examples.planes[chosen].gather(2, place[:, None, :-1].expand(-1, PLANES, -1))
        yield Batch(
            planes=planes.view(-1, PLANES, size, size),
            chances=examples.chances[chosen].gather(1, place),
            winners=examples.winners[chosen],
            global_count=len(part),
        )
