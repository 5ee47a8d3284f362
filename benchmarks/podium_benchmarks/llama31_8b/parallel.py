"""A model spread over all ranks: each keeps a shard of every tensor and gathers a block's when it computes it."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.precision import computes_in_bf16, is_compiled
from podium_benchmarks.llama31_8b.config import Config
from podium_benchmarks.llama31_8b.model import Llama, initialize


def build_model(config: Config, seed: int, ranks: Ranks) -> Llama:
    """The sharded model with its initial weights, of which no rank ever holds more than one whole tensor."""
    _form_group(ranks)
    with torch.device("meta"):
        model = Llama(config)
    # Weights are kept, and gradients summed over ranks, in fp32. Inputs aren't cast: rotations stay in fp32.
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if computes_in_bf16(config.precision, ranks.device) else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
    mesh = init_device_mesh(ranks.device.type, (ranks.world_size,))
    for block in model.blocks:
        if is_compiled(config.compile, ranks.device):
            block.compile()
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    model.to_empty(device=ranks.device)
    initialize(model, config.layers, seed)
    return model


def _form_group(ranks: Ranks) -> None:
    """Shards belong to a group of processes, even if it is one."""
    if not dist.is_initialized():
        cuda = ranks.device.type == "cuda"
        dist.init_process_group("nccl" if cuda else "gloo", store=dist.HashStore(), rank=0, world_size=1,
                                device_id=ranks.device if cuda else None)  # fmt: skip


def release(model: Llama) -> None:
    """Let go of whole tensors that a forward pass without a backward pass has left: they'd outlive the next step."""
    model.reshard()
