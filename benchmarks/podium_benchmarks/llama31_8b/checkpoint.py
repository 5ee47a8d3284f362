"""Checkpoints of an attempt, written while training continues (torch.distributed.checkpoint).

They are for attempts that are interrupted. An attempt is one period of time: the clock of a resumed one has been
running since it started, and its log says that it was resumed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import distributed
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from podium_benchmarks.core import dist
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.llama31_8b.config import Config
from podium_benchmarks.llama31_8b.model import Llama

COMPLETE = ".metadata"  # is written last


@dataclass(frozen=True)
class Position:
    """How far an attempt has come."""

    steps: int = 0
    began_ms: int = 0  # when its clock started, since 1970; 0: not yet


class Checkpoints:
    """Of one attempt: found again by its seed and its settings, removed at its end."""

    def __init__(self, config: Config, seed: int, ranks: Ranks) -> None:
        self._writing: Future[Any] | None = None
        self._is_first = ranks.rank == 0
        self._folder: Path | None = None
        if config.checkpoint_dir:
            settings = repr(dataclasses.replace(config, checkpoint_dir=""))
            digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
            self._folder = Path(config.checkpoint_dir) / f"seed-{seed}-{digest}"
            # The writer's collectives run beside those of training, and on the CPU
            self._group = distributed.new_group(backend="gloo")

    def restore(self, model: Llama, optimizer: torch.optim.Optimizer) -> Position:
        """Load the latest complete checkpoint, for any number of ranks; without one, change nothing."""
        latest = dist.broadcast_from_rank0(lambda: max(self._complete(), default=None))
        if latest is None:
            return Position()
        state = _state(model, optimizer, Position())
        dcp.load(state, checkpoint_id=latest)
        set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        return Position(*state["position"].tolist())

    def save(self, model: Llama, optimizer: torch.optim.Optimizer, position: Position) -> None:
        """Copy the state, then write it in the background; waits for the checkpoint before."""
        if self._folder is None:
            return
        self._finish_writing()
        name = self._folder / f"step-{position.steps:07d}"
        state = _state(model, optimizer, position)
        self._writing = dcp.async_save(state, checkpoint_id=name, process_group=self._group)

    def remove(self) -> None:
        """At the attempt's end, which leaves nothing to resume."""
        self._finish_writing()
        if self._folder is not None and self._is_first:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _finish_writing(self) -> None:
        """Wait for the checkpoint being written; those before it are then of no use."""
        if self._writing is None:
            return
        self._writing.result()
        self._writing = None
        if self._is_first:
            for path in sorted(self._complete())[:-1]:
                shutil.rmtree(path)

    def _complete(self) -> list[Path]:
        return [] if self._folder is None else [file.parent for file in self._folder.glob(f"*/{COMPLETE}")]


def _state(model: Llama, optimizer: torch.optim.Optimizer, position: Position) -> dict[str, Any]:
    weights, moments = get_state_dict(model, optimizer)
    return {"model": weights, "optimizer": moments, "position": torch.tensor(dataclasses.astuple(position))}
