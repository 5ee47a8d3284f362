"""What a trainer package says about itself in its BENCHMARK record; importing a record never imports torch."""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

from podium_benchmarks.prepare.recipe import Recipe


class TrainerConfig(Protocol):
    """What all trainers' configs have in common: a frozen dataclass with a target."""

    @property
    def target(self) -> float | tuple[float, ...]: ...


C = TypeVar("C", bound=TrainerConfig)


@dataclass(frozen=True)
class GpuStep:
    """A full-size training step on one GPU, made by `train.synthetic_step`."""

    unit: str  # what a step consumes: images or tokens
    amount: int  # units per step
    aim: float  # units per second
    fits_cpus: bool = True  # whether the machine of a person who tries the command has the memory


@dataclass(frozen=True)
class GpuRun:
    """A whole full-size run on one GPU, on generated data."""

    epochs: int
    aim_seconds: float  # on the run's own clock
    hyperparameters: Mapping[str, float]


@dataclass(frozen=True)
class Performance:
    """What tests/performance measures: the tiny preset to its target on two cores, the full one on a GPU."""

    tiny_seconds: float  # aim: from starting the process to its end
    gpu: GpuStep | GpuRun | None = None


@dataclass(frozen=True)
class Benchmark(Generic[C]):
    """One trainer, in the package `podium_benchmarks.<name>`. What needs torch is in modules of that package:

    model.full_model(config)              the network that a preset describes, at the full data set's size
    data.check_data(config, data_dir)     raises UsageError for a data set that can't be trained on
    train.train(config, settings)         the run, from its first log line to the last

    For utilization, model.tensor_flops_per_token(config), or per_image, may say what a step computes.
    """

    name: str  # of its package, and MLPerf's
    task: str  # one line: model, task, quality metric
    presets: Mapping[str, C]  # "tiny" and "full"
    preparation: Recipe
    performance: Performance
    qualities: tuple[str, ...] = ("quality",)  # names of the targets, in their order
    target_is_percent: bool = False  # a target above 1 is in percent: 24.0 is 0.24
    lower_is_better: bool = False  # the quality is a loss, which has no upper bound
    other_keys: Mapping[str, str] = dataclasses.field(default_factory=dict)  # a round's other name for a key

    @property
    def description(self) -> str:
        """What the package's docstring says."""
        return importlib.import_module(f"podium_benchmarks.{self.name}").__doc__ or ""

    @property
    def tunables(self) -> dict[str, Any]:
        """The keys that --set accepts, with their types."""
        (kind,) = {type(preset) for preset in self.presets.values()}
        return {name: hint for name, hint in typing.get_type_hints(kind).items() if name != "target"}

    def load(self, part: str) -> ModuleType:
        """One module of the trainer's package, e.g. "train"; takes seconds where it needs torch."""
        return importlib.import_module(f"podium_benchmarks.{self.name}.{part}")

    def parameter_count(self) -> int:
        """Trainable parameters of the full model, which is built without memory for them."""
        import torch  # noqa: PLC0415 - takes seconds, which listing benchmarks shouldn't

        with torch.device("meta"):
            model = self.load("model").full_model(self.presets["full"])
        return sum(parameter.numel() for parameter in model.parameters())
