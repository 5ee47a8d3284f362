"""SSD300 with a ResNet-34 backbone, object detection."""

from podium_benchmarks.core.benchmark import Benchmark, GpuStep, Performance
from podium_benchmarks.prepare.recipe import COCO
from podium_benchmarks.ssd.config import PRESETS

BENCHMARK = Benchmark(
    name="ssd",
    task="SSD300 with ResNet-34, object detection, COCO box AP",
    presets=PRESETS,
    preparation=COCO,
    performance=Performance(tiny_seconds=150, gpu=GpuStep("images", 256, aim=1500)),
)
