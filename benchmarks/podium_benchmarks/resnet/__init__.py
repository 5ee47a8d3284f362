"""ResNet-50 v1.5 image classification."""

from podium_benchmarks.core.benchmark import Benchmark, GpuStep, Performance
from podium_benchmarks.prepare.recipe import Recipe
from podium_benchmarks.resnet.config import PRESETS

BENCHMARK = Benchmark(
    name="resnet",
    task="ResNet-50 v1.5, image classification, top-1",
    presets=PRESETS,
    preparation=Recipe(
        module="imagenet",
        license="ImageNet's terms of access: research and education, no passing on",
        result_bytes=155_000_000_000,
        by_hand="sign up at https://image-net.org, then download the archives of ILSVRC 2012, tasks 1 and 2",
    ),
    performance=Performance(tiny_seconds=30, gpu=GpuStep("images", 512, aim=3000)),
)
