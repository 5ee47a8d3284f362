"""Mask R-CNN with ResNet-50 and a feature pyramid: objects, their boxes and their masks."""

from podium_benchmarks.core.benchmark import Benchmark, GpuStep, Performance
from podium_benchmarks.maskrcnn.config import PRESETS
from podium_benchmarks.prepare.recipe import COCO

BENCHMARK = Benchmark(
    name="maskrcnn",
    task="Mask R-CNN with ResNet-50 FPN, object detection, COCO box AP and mask AP",
    presets=PRESETS,
    preparation=COCO,
    performance=Performance(tiny_seconds=240, gpu=GpuStep("images", 16, aim=40)),
    qualities=("box AP", "mask AP"),
    other_keys={"opt_learning_rate_decay_boundary_steps": "opt_learning_rate_decay_steps"},  # v0.5
)
