"""Memory of full-size training steps on a CPU: the trainers' own step on made-up input, at two sizes.

    python tests/performance/train/memory.py [BENCHMARK ...] [--out FILE]

The peak is the resident memory of a process that imports torch, builds the network and its optimizer, and takes two
steps. The larger size is that of one GPU of NVIDIA's DGX-1 in v0.6, or a part of it where a step would take minutes. NCF
is built for the users and items of ml-20m. Llama is too large: its step is taken without memory (on the meta device),
and the bytes that its training keeps are counted. Exits with 1 if a peak is above 10 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import ENVIRONMENT, environment, keep

from podium_benchmarks import benchmark
from podium_benchmarks.core.dist import Ranks, cpu_count
from podium_benchmarks.core.precision import mixed_precision

AIM_MB = 10_000
CPU = torch.device("cpu")
SIZES = {
    "resnet": ("images", 16, 32),  # of 208
    "ssd": ("images", 16, 32),  # of 120
    "maskrcnn": ("images", 3, 6),
    "gnmt": ("tokens", 3_200, 6_400),  # 256 sentences
    "transformer": ("tokens", 2_560, 10_240),
    "ncf": ("samples", 65_536, 131_072),  # an eighth of 1,048,576
}
ML_20M = {"users": 138_493, "items": 26_744}


def ncf_step(samples: int) -> tuple[torch.nn.Module, Callable[[], torch.Tensor]]:
    """The full network and a step on random pairs."""
    train, config = benchmark("ncf").load("train"), benchmark("ncf").presets["full"]
    model = train.build_model(config, **ML_20M, seed=0, ranks=Ranks(rank=0, world_size=1, device=CPU, cores=1))
    optimizer, autocast = train.build_optimizer(model, config), mixed_precision(config.precision, CPU)
    users, items = (torch.randint(ML_20M[side], (samples,)) for side in ("users", "items"))
    labels = torch.randint(2, (samples,)).float()

    def step() -> torch.Tensor:
        loss_sum = train.forward_backward(model, users, items, labels, scale=1 / samples, autocast=autocast)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss_sum

    return model, step


def measure_here(name: str, amount: int) -> dict[str, Any]:
    """Of this process, which has done nothing else."""
    torch.set_num_threads(cpu_count())
    torch.manual_seed(0)
    record = benchmark(name)
    if name == "ncf":
        model, step = ncf_step(amount)
    else:
        model, step, amount = record.load("train").synthetic_step(record.presets["full"], CPU, amount)
    step()
    loss = step()
    assert torch.isfinite(loss).all(), f"{name}: the loss is {loss}"
    return {
        "amount": amount,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
    }


def llama() -> dict[str, Any]:
    """Shapes of a whole step, and bytes of weights, gradients and both moments, all of them in fp32."""
    record = benchmark("llama31_8b")
    config = record.presets["full"]
    with torch.device("meta"):
        model = record.load("model").full_model(config)
        ids = torch.randint(config.vocab_size, (1, config.max_sequence_length + 1))
        model(ids[:, :-1], ids[:, 1:]).backward()
    sizes = [parameter.numel() for parameter in model.parameters() if parameter.grad is not None]
    assert len(sizes) == len(list(model.parameters()))
    return {"parameters": sum(sizes), "state_mb": round(sum(sizes) * 4 * 4 / 1e6), "device": "meta"}


def measure(name: str) -> dict[str, Any]:
    """Both sizes, each in a process of its own."""
    unit, *amounts = SIZES[name]
    steps = []
    for amount in amounts:
        command = [sys.executable, __file__, name, "--step", str(amount)]
        run = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
        steps.append(json.loads(run.stdout))
    (parameters,) = {step.pop("parameters") for step in steps}
    small, large = steps
    slope = (large["peak_memory_mb"] - small["peak_memory_mb"]) / (large["amount"] - small["amount"])
    return {"parameters": parameters, "unit": unit, "steps": steps, "mb_per_unit": round(slope, 3)}


def main() -> int:
    """Measure each benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", default=[], metavar="BENCHMARK", help="all, if none is given")
    parser.add_argument("--step", type=int, metavar="AMOUNT", help="take steps of one benchmark here, and print JSON")
    parser.add_argument("--out", type=Path, help="file for the results")
    arguments = parser.parse_args()
    names = [*SIZES, "llama31_8b"]
    if unknown := set(arguments.benchmarks) - set(names):
        parser.error(f"unknown benchmark {min(unknown)}: choose from {', '.join(names)}")
    if arguments.step:
        print(json.dumps(measure_here(arguments.benchmarks[0], arguments.step)))
        return 0
    good = True
    for name in arguments.benchmarks or names:
        result = llama() if name == "llama31_8b" else measure(name)
        print(f"{name}: {json.dumps(result)}", flush=True)
        if arguments.out:
            keep(arguments.out, "memory", name, {"environment": environment(), **result})
        good &= all(step["peak_memory_mb"] <= AIM_MB for step in result.get("steps", ()))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
