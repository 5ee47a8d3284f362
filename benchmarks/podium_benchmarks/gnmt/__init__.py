"""GNMT: translation by LSTMs with attention."""

from podium_benchmarks.core.benchmark import Benchmark, GpuStep, Performance
from podium_benchmarks.gnmt.config import PRESETS
from podium_benchmarks.prepare.recipe import Recipe

BENCHMARK = Benchmark(
    name="gnmt",
    task="GNMT, translation by LSTMs, BLEU",
    presets=PRESETS,
    preparation=Recipe("wmt16", "WMT's corpora: for research", 600_000_000),
    performance=Performance(tiny_seconds=90, gpu=GpuStep("tokens", 25_600, aim=150_000)),
    target_is_percent=True,
)
