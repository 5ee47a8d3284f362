"""Transformer: translation by attention alone."""

from podium_benchmarks.core.benchmark import Benchmark, GpuStep, Performance
from podium_benchmarks.prepare.recipe import Recipe
from podium_benchmarks.transformer.config import PRESETS

BENCHMARK = Benchmark(
    name="transformer",
    task="Transformer big, translation by attention, BLEU",
    presets=PRESETS,
    preparation=Recipe("wmt17", "WMT's corpora: for research", 600_000_000),
    performance=Performance(tiny_seconds=60, gpu=GpuStep("tokens", 12_800, aim=100_000)),
    target_is_percent=True,
)
