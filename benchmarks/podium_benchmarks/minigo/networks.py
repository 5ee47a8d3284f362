"""Networks of a run: made, read, written, frozen to play with, and how they are optimized."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from podium_benchmarks.core import dist, seeds
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.precision import compile_training, is_compiled
from podium_benchmarks.minigo.config import Config
from podium_benchmarks.minigo.model import PolicyValue, full_model, initialize


def build_model(config: Config, seed: int, ranks: Ranks) -> PolicyValue:
    """The same initial weights on every rank, for any number of ranks."""
    torch.manual_seed(seeds.derive(seed, "model"))
    model = full_model(config)
    initialize(model)
    if config.start_checkpoint:
        load_weights(model, Path(config.start_checkpoint))
    if is_compiled(config.compile, ranks.device):
        compile_training(model, dist.shard_size(config.global_batch_size, ranks))
    return model.to(ranks.device)


def load_weights(model: PolicyValue, file: Path) -> None:
    """Weights that `save_weights` wrote."""
    try:
        model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:
        raise UsageError(f"checkpoint {file} does not hold a network of this board size, width, number of blocks and "
                         f"round: {str(error).splitlines()[0]}") from error  # fmt: skip


def save_weights(model: PolicyValue, file: Path) -> None:
    """A file that `load_weights` reads; whole, or not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part")
    torch.save(model.state_dict(), unfinished)
    unfinished.replace(file)


def restore_training(model: PolicyValue, optimizer: torch.optim.Optimizer, file: Path) -> int:
    """Give the optimizer the momentum that training had at its start; returns the step that it had come to."""
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        for name, parameter in model.named_parameters():
            if name in state["momentum"]:
                momentum = torch.empty_like(parameter).copy_(state["momentum"][name])
                optimizer.state[parameter]["momentum_buffer"] = momentum
        return int(state["step"])
    except Exception as error:
        raise UsageError(f"training_state {file} does not hold the momentum of a network of this board size, width, "
                         f"number of blocks and round: {str(error).splitlines()[0]}") from error  # fmt: skip


def frozen(model: PolicyValue) -> PolicyValue:
    """A copy to play with, the same on all ranks: their statistics may differ, as they have seen different samples."""
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    copied.__dict__.pop("forward", None)  # a compiled model's, which is still that of the model copied
    dist.average_over_ranks([buffer for buffer in copied.buffers() if buffer.is_floating_point()])
    return copied


def frozen_opponent(model: PolicyValue, config: Config) -> PolicyValue:
    """The network to beat: that of opponent_checkpoint, else the one that training starts from."""
    opponent = frozen(model)
    if config.opponent_checkpoint:
        load_weights(opponent, Path(config.opponent_checkpoint))
    return opponent


def make_optimizer(model: PolicyValue, config: Config) -> torch.optim.Optimizer:
    """SGD; biases don't decay, and neither do shifts of batch normalization in v0.6's network."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        is_shift = name.endswith("bias") and "bn" in name
        groups[not name.endswith("bias") or (is_shift and config.network == "v0.5")].append(parameter)
    settings = [
        {"params": parameters, "weight_decay": config.opt_weight_decay if decays else 0.0}
        for decays, parameters in groups.items()
    ]
    return torch.optim.SGD(settings, lr=0.0, momentum=config.opt_momentum)
