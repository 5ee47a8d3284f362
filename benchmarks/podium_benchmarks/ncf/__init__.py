"""Neural collaborative filtering: recommendation from implicit feedback."""

from podium_benchmarks.core.benchmark import Benchmark, GpuRun, Performance
from podium_benchmarks.ncf.config import PRESETS
from podium_benchmarks.prepare.recipe import Recipe

BENCHMARK = Benchmark(
    name="ncf",
    task="neural collaborative filtering, recommendation, HR@10",
    presets=PRESETS,
    preparation=Recipe(
        module="movielens",
        license="GroupLens: research, no passing on without permission, no commercial use",
        result_bytes=550_000_000,
    ),
    performance=Performance(
        tiny_seconds=20,
        gpu=GpuRun(
            epochs=10,
            aim_seconds=90,
            # NVIDIA's settings of round v0.5 for a batch of this size
            hyperparameters={
                "global_batch_size": 1_048_576,
                "opt_base_learning_rate": 0.0045,
                "opt_adam_beta_1": 0.25,
                "opt_adam_beta_2": 0.5,
            },
        ),
    ),
)
