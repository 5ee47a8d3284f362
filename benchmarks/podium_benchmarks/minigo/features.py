"""What the network sees of a position, and the network as a function of positions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from podium_benchmarks.minigo.board import BLACK, Position, geometry, symmetries
from podium_benchmarks.minigo.model import PLANES

HISTORY = 8
# Positions -> chances of moves (B, size * size + 1), and (B,) how the games end for the players whose turn it is
Evaluate = Callable[[Sequence[Position]], tuple[NDArray[np.float32], NDArray[np.float32]]]
EvaluatePlanes = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]  # of encoded positions


def encode(positions: Sequence[Position]) -> NDArray[np.uint8]:
    """(B, 17, size * size): own and other stones now and seven times before, then 1 where Black's turn it is."""
    return unpacked(packed(positions), positions[0].geometry.size)


def packed(positions: Sequence[Position]) -> bytes:
    """The same, a bit for each point."""
    sets: list[int] = []
    for position in positions:
        black_first = position.to_play == BLACK
        past: Position | None = position
        for _ in range(HISTORY):
            if past is None:
                sets += (0, 0)
                continue
            sets += (past.black, past.white) if black_first else (past.white, past.black)
            past = past.previous
        sets.append(position.geometry.board if black_first else 0)
    return positions[0].geometry.packed(sets)


def unpacked(content: bytes, size: int) -> NDArray[np.uint8]:
    """(B, 17, size * size) of `packed` positions."""
    return geometry(size).unpacked(content).reshape(-1, PLANES, size * size)


def evaluator(
    model: nn.Module, device: torch.device, autocast: torch.autocast, random: np.random.Generator | None = None
) -> Evaluate:
    """The model as a function of positions."""
    of_planes = planes_evaluator(model, device, autocast, random)
    return lambda positions: of_planes(encode(positions))


def planes_evaluator(
    model: nn.Module, device: torch.device, autocast: torch.autocast, random: np.random.Generator | None = None
) -> EvaluatePlanes:
    """The model, which must be in evaluation mode when the result is called, as a function of encoded positions.

    With `random`, it is shown each position in one of the eight symmetries.
    """

    @torch.inference_mode()
    def evaluate(planes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        size = math.isqrt(planes.shape[2])
        turns = torch.from_numpy(planes[:, -1, 0].astype(np.float32) * 2 - 1).to(device)  # 1 Black, -1 White
        if random is not None:
            places = symmetries(size)[random.integers(8, size=len(planes))]  # (B, points + 1)
            planes = np.take_along_axis(planes, places[:, None, :-1], axis=2)
        with autocast:
            logits, black_wins = model(torch.from_numpy(planes).to(device).float().view(-1, PLANES, size, size))
        both = torch.cat([logits.float().softmax(1), (black_wins.float() * turns).unsqueeze(1)], dim=1).cpu().numpy()
        chances, values = both[:, :-1], both[:, -1]
        if random is not None:
            seen, chances = chances, np.empty_like(chances)
            np.put_along_axis(chances, places, seen, axis=1)
        return chances, values

    return evaluate
