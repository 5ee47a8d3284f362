"""MiniGo: a network learns Go by playing against itself."""

from podium_benchmarks.core.benchmark import Benchmark, Performance
from podium_benchmarks.minigo.config import PRESETS
from podium_benchmarks.prepare.recipe import Recipe

BENCHMARK = Benchmark(
    name="minigo",
    task="MiniGo, Go by self-play, games won or moves predicted",
    presets=PRESETS,
    preparation=Recipe("go", "Apache-2.0, of mlcommons/training", 10_000),
    performance=Performance(tiny_seconds=180),
)
