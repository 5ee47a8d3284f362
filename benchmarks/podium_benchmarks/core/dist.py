"""Ranks: who this process is, and the few collectives a trainer needs.

Every collective here is the identity with one rank, so that a trainer reads the same with and without torchrun.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from podium_benchmarks.core.affinity import bind_near_gpu, pci_address

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among all processes of the run."""

    rank: int
    world_size: int
    device: torch.device
    cores: int  # CPU cores that are this rank's part of its machine


def join() -> Ranks:
    """Take the place torchrun assigned through the environment; without torchrun be the only rank."""
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local_rank, local_ranks = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    sharing = local_ranks
    if torch.cuda.is_available():
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
        sharing = bind_near_gpu([pci_address(number) for number in range(local_ranks)], local_rank)
    else:
        device = torch.device("cpu")
    cores = max(1, int(min(len(os.sched_getaffinity(0)) / sharing, cpu_quota() / local_ranks)))
    torch.set_num_threads(_threads(cores))  # by itself each rank would take all cores of the machine
    if world_size > 1:
        cuda = device.type == "cuda"
        dist.init_process_group("nccl" if cuda else "gloo", device_id=device if cuda else None)
    return Ranks(rank, world_size, device, cores)


def is_first_on_node() -> bool:
    """Whether this rank does what a node needs only once."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def leave() -> None:
    """Leave together: no rank tears down its connections while another still needs them."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def barrier(ranks: Ranks) -> None:
    """Return once every rank has finished its work, on its device too."""
    if ranks.device.type == "cuda":
        torch.cuda.synchronize(ranks.device)
    wait_for_all()


def wait_for_all() -> None:
    """Return once every rank has reached this call; work on their devices may continue."""
    if dist.is_initialized():
        dist.barrier()


def replicate(model: nn.Module, ranks: Ranks, *, static_graph: bool = True) -> nn.Module:
    """The model with gradients averaged over ranks in its backward pass; buffers stay each rank's own.

    `static_graph`: all steps compute the same operations, whatever the sizes; torch then plans after the first one.
    """
    if ranks.world_size == 1:
        return model
    with warnings.catch_warnings():  # torch 2.15 renames broadcast_buffers; the releases before know only this name
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(
            model, broadcast_buffers=False, gradient_as_bucket_view=True, static_graph=static_graph
        )


def sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Sum in place over all ranks."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def average_over_ranks(tensors: list[torch.Tensor]) -> None:
    """Replace each floating-point tensor by its mean over all ranks, with one collective."""
    if not dist.is_initialized() or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def gather_objects(value: T) -> list[T]:
    """Every rank's value, in the order of the ranks, on every rank."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def broadcast_from_rank0(make: Callable[[], T]) -> T:
    """What `make` returns on rank 0, on every rank: the others wait instead of doing the same work."""
    if not dist.is_initialized():
        return make()
    values = [make() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(values, src=0)
    return values[0]  # type: ignore[return-value]


def compute_sharded(makes: Sequence[Callable[[], T]], ranks: Ranks) -> list[T]:
    """What each of `makes` returns, on every rank: each rank computes its shard of them."""
    if not dist.is_initialized():
        return [make() for make in makes]
    parts = gather_objects([make() for make in makes[shard(len(makes), ranks)]])
    return [value for part in parts for value in part]


def from_rank0(value: int, device: torch.device) -> int:
    """Rank 0's value on every rank, as int64: a float32 would lose the bits above 2**24."""
    if not dist.is_initialized():
        return value
    tensor = torch.tensor([value], dtype=torch.int64, device=device)
    dist.broadcast(tensor, src=0)
    return int(tensor.item())


def shard(count: int, ranks: Ranks) -> slice:
    """This rank's contiguous part of `count` items; parts differ by at most one and cover each item once."""
    start, stop = (count * part // ranks.world_size for part in (ranks.rank, ranks.rank + 1))
    return slice(start, stop)


def shard_size(count: int, ranks: Ranks) -> int:
    """How many of `count` items are this rank's."""
    return len(range(count)[shard(count, ranks)])


def _threads(cores: int) -> int:
    """Threads for this process: what OMP_NUM_THREADS asks for, else its part of the cores.

    The 1 that torchrun sets for several processes is a guess, not a request. More threads than cores are ruinous:
    two processes with two threads each on two cores were measured 30 times slower than with one each.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    alone = os.environ.get("LOCAL_WORLD_SIZE", "1") == "1"
    return int(asked) if asked.isdecimal() and (alone or asked != "1") else cores


def cpu_count() -> int:
    """Cores this process may use: its affinity, and the container's quota where there is one."""
    return max(1, int(min(len(os.sched_getaffinity(0)), cpu_quota())))


def cpu_quota() -> float:
    """Cores' worth of time that the container may use; infinite without a limit."""
    quota_file = Path("/sys/fs/cgroup/cpu.max")
    quota, period = quota_file.read_text().split() if quota_file.exists() else ("max", "100000")
    return math.inf if quota == "max" else int(quota) / int(period)  # "200000 100000" is two cores
