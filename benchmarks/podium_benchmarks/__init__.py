"""MLPerf-Training-style trainers in PyTorch, launched by torchrun."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium_benchmarks.core.benchmark import Benchmark

TRAINERS = (  # a trainer is a package with a BENCHMARK record, and its line here
    "resnet",
    "ssd",
    "maskrcnn",
    "gnmt",
    "transformer",
    "ncf",
    "minigo",
    "llama31_8b",
)


def benchmark(name: str) -> Benchmark[Any]:
    """The record of one of TRAINERS."""
    record: Benchmark[Any] = importlib.import_module(f"podium_benchmarks.{name}").BENCHMARK
    return record


def benchmarks() -> list[Benchmark[Any]]:
    """The records of all trainers; importing them doesn't import torch."""
    return [benchmark(name) for name in TRAINERS]
