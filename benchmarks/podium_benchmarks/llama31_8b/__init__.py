"""Llama 3.1 8B, pretraining from random weights on a part of C4."""

from podium_benchmarks.core.benchmark import Benchmark, GpuStep, Performance
from podium_benchmarks.llama31_8b.config import PRESETS
from podium_benchmarks.prepare.recipe import Recipe

BENCHMARK = Benchmark(
    name="llama31_8b",
    task="Llama 3.1 8B, language model pretraining, log perplexity",
    presets=PRESETS,
    preparation=Recipe("c4", "C4: ODC-BY, and Common Crawl's terms of use", 96_000_000_000),
    # 64 H200 of round v5.1 reached the target at 9,900 tokens/s each, in FP8; bf16 computes at half of its peak
    performance=Performance(tiny_seconds=60, gpu=GpuStep("tokens", 8192, aim=6000, fits_cpus=False)),
    lower_is_better=True,
)
