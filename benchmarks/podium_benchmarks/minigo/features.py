"""What the network sees of a position, and the network as a function of positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from podium_benchmarks.minigo.board import BLACK, Position
from podium_benchmarks.minigo.model import PLANES

HISTORY = 8
# Positions -> chances of moves (B, size * size + 1), and (B,) how the games end for the players whose turn it is
Evaluate = Callable[[Sequence[Position]], tuple[NDArray[np.float32], NDArray[np.float32]]]


def encode(positions: Sequence[Position]) -> NDArray[np.uint8]:
    """(B, 17, size * size): own and other stones now and seven times before, then 1 where Black's turn it is."""
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
    lines = positions[0].geometry
    return lines.planes(sets).reshape(len(positions), PLANES, lines.size * lines.size)


def evaluator(model: nn.Module, device: torch.device, autocast: torch.autocast) -> Evaluate:
    """The model as it is now; it must be in evaluation mode when the result is called."""

    @torch.inference_mode()
    def evaluate(positions: Sequence[Position]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        size = positions[0].geometry.size
        planes = torch.from_numpy(encode(positions)).to(device).float().view(-1, PLANES, size, size)
        with autocast:
            logits, black_wins = model(planes)
        turns = torch.tensor([position.to_play for position in positions], device=device)
        both = torch.cat([logits.float().softmax(1), (black_wins.float() * turns).unsqueeze(1)], dim=1).cpu().numpy()
        return both[:, :-1], both[:, -1]

    return evaluate
