"""Training throughput of the full models on one GPU: steps, epochs, evaluations (aims are for one H200-class GPU).

    resnet, ssd            images per second, and their share of the GPU's peak
    maskrcnn               images per second
    gnmt, transformer      target tokens per second
    llama31_8b             tokens per second, and their share of the GPU's peak
    ncf                    seconds to 10 epochs: a whole run on generated ratings of ml-20m's size

    python tests/performance/train_gpu.py [BENCHMARK ...] [--out docs/performance/gpu.json] [--device cuda]

The step is the trainer's own on made-up input, with forward and backward pass and the optimizer: bf16, channels last,
compiled. Its time is the median of five measurements of some seconds each, after compilation. Then a run of the trainer
has two epochs on generated data of the real format (train/real_format.py), and says how fast the second was and how
long its evaluation took; not Llama's, which has no epochs. Each result goes to --out as soon as it is there, beside
those of an earlier call on the same machine. Without a GPU this ends with 2 and one sentence; `--tiny` tries the command
itself on a CPU, with the tiny models, and no aim is applied. Exits with 1 if an aim is missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]

import podium_benchmarks  # noqa: E402
from podium_benchmarks import benchmarks  # noqa: E402
from podium_benchmarks.core.benchmark import Benchmark, GpuRun, GpuStep  # noqa: E402
from tests.performance.train import real_format  # noqa: E402

REPEATS = 5
# Peak of dense bf16 matrix products in operations per second, from NVIDIA's data sheets
PEAKS = {"A100": 312e12, "H100": 989.4e12, "H200": 989.4e12, "B200": 2250e12}

CASES = {record.name: record.performance.gpu for record in benchmarks() if record.performance.gpu is not None}
STEPS = {name: case for name, case in CASES.items() if isinstance(case, GpuStep)}
RUNS = {name: case for name, case in CASES.items() if isinstance(case, GpuRun)}


def measure(benchmark: str, preset: str, amount: int, device: torch.device, seconds: float) -> dict[str, Any]:
    """One benchmark's rate, its spread, memory, and the time to build, compile and warm up."""
    record = podium_benchmarks.benchmark(benchmark)
    config = record.presets[preset]
    if getattr(config, "num_classes", None) == 0:  # the tiny detectors take them from their data
        config = dataclasses.replace(config, num_classes=real_format.SCENE_CLASSES)
    start = time.perf_counter()
    model, step, done = record.load("train").synthetic_step(config, device, amount)
    for _ in range(3):
        loss = step()
    wait(device)
    ready_seconds = time.perf_counter() - start
    rates = [done / step_seconds(step, device, seconds) for _ in range(REPEATS)]
    assert torch.isfinite(loss).all(), f"{benchmark}: the loss is {loss}"
    return {
        "per_second": round(statistics.median(rates), 1),
        **utilization(record, statistics.median(rates), device),
        "slowest": round(min(rates), 1),
        "fastest": round(max(rates), 1),
        "step": done,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "ready_seconds": round(ready_seconds, 1),
        "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if device.type == "cuda" else None,
    }


def utilization(record: Benchmark[Any], per_second: float, device: torch.device) -> dict[str, float]:
    """MLPerf's: operations of matrix products that the model's definition needs, over the GPU's peak.

    Nothing for a model that doesn't count them, or a GPU whose peak isn't known here.
    """
    model = record.load("model")
    count = getattr(model, "tensor_flops_per_token", None) or getattr(model, "tensor_flops_per_image", None)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    peak = next((peak for gpu, peak in PEAKS.items() if gpu in name), None)
    if count is None or peak is None:
        return {}
    return {"utilization": round(count(record.presets["full"]) * per_second / peak, 4)}


def step_seconds(step: Callable[[], torch.Tensor], device: torch.device, seconds: float) -> float:
    """Seconds of one step, over at least `seconds` of them."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(3):  # the device is asked seldom enough that it never waits for the question
            step()
        wait(device)
        count += 3
    return (time.perf_counter() - start) / count


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_run(benchmark: str, case: GpuRun, *, tiny: bool) -> dict[str, Any]:
    """A whole run of the full network on generated data, timed by its own log: evaluations included."""
    command = [sys.executable, "-m", f"podium_benchmarks.{benchmark}"]
    hyperparameters = {**case.hyperparameters, "max_epochs": case.epochs}
    path = os.pathsep.join(filter(None, [str(REPOSITORY / "benchmarks"), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        if not tiny:
            subprocess.run([*command, "generate", "--out", folder], env=environment, check=True)
        generated_seconds = time.perf_counter() - start
        settings = [word for key, value in hyperparameters.items() for word in ("--set", f"{key}={value}")]
        # No target that can be reached, so that all epochs are run
        size = ["--set", "max_epochs=2"] if tiny else ["--preset", "full", "--data", folder, *settings]
        run = subprocess.run([*command, "--target", "1", "--seed", "1", *size], env=environment,
                             stdout=subprocess.PIPE, text=True, check=True)  # fmt: skip
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in run.stdout.splitlines()]
    timed = ("run_start", "run_stop", "epoch_start", "epoch_stop")
    times = {key: [line["time_ms"] for line in lines if line["key"] == key] for key in timed}
    epochs = [stop - start for start, stop in zip(times["epoch_start"], times["epoch_stop"], strict=True)]
    samples = next(line["value"] for line in lines if line["key"] == "train_samples")
    return {
        "seconds": round((times["run_stop"][0] - times["run_start"][0]) / 1000, 2),
        "epochs": len(epochs),
        "samples_per_second": round(samples / statistics.median(epochs) * 1000),
        "evaluation_seconds": real_format.read_log(lines)["evaluation_seconds"],
        "hit_rates": [line["value"] for line in lines if line["key"] == "eval_accuracy"],
        "generated_seconds": round(generated_seconds, 1),
        "settings": hyperparameters,
    }


def environment(device: torch.device) -> dict[str, Any]:
    """What the numbers depend on."""
    packages = {name: importlib.metadata.version(name) for name in ("torch", "torchvision")}
    found: dict[str, Any] = {"python": platform.python_version(), **packages, "device": device.type}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": properties.name,
            "gpu_memory_gb": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def keep(out: Path, device: torch.device, name: str, result: dict[str, Any]) -> None:
    """Add a result to the file; those of another machine go."""
    content = json.loads(out.read_text()) if out.exists() else {}
    if content.get("environment") != environment(device):
        content = {"environment": environment(device), "results": {}}
    content["results"] = dict(sorted((content["results"] | {name: result}).items()))
    out.write_text(json.dumps(content, indent=2) + "\n")


def throughput(name: str, device: torch.device, arguments: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """The result of one of STEPS, printed, and whether it meets its aim."""
    case, preset = STEPS[name], "tiny" if arguments.tiny else "full"
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    result = measure(name, preset, getattr(arguments, case.unit) or case.amount, device, arguments.seconds)
    aim = f"(aim {case.aim:,.0f} on a GPU)" if device.type == "cpu" else f"(aim {case.aim:,.0f})"
    print(f"{name:11} {result['per_second']:>11,.1f} {case.unit} a second {aim}, {result['step']} a step, ready after "
          f"{result['ready_seconds']:.0f} s"
          + (f", {result['utilization']:.1%} of peak" if "utilization" in result else ""), flush=True)  # fmt: skip
    return {"unit": case.unit, "aim": case.aim, "preset": preset, **result}, result["per_second"] >= case.aim


def epoch(name: str, device: torch.device, arguments: argparse.Namespace) -> dict[str, Any]:
    """The second epoch and the evaluation of a run on data of the real format, printed; nothing for Llama and NCF."""
    if name not in real_format.CASES:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        preset = "tiny" if arguments.tiny else "full"
        found = real_format.measure(name, preset, Path(folder), cpu=device.type == "cpu")
    print(f"{name:11} {found['samples_per_second']:>11,.1f} samples a second in an epoch of {found['epoch_seconds']} s, "
          f"evaluated in {found['evaluation_seconds']} s", flush=True)  # fmt: skip
    return {"real_format": found}


def main() -> int:
    """Measure, print a table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", default=[], metavar="BENCHMARK", help="all, if none is given")
    parser.add_argument("--out", type=Path, help="file for the result")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="try it on a CPU: tiny models, little data, no aims")
    parser.add_argument("--images", type=int, help="of a step")
    parser.add_argument("--tokens", type=int, help="of a step")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each of the five measurements")
    arguments = parser.parse_args()
    known = [*CASES, *(name for name in real_format.CASES if name not in CASES)]
    if unknown := set(arguments.benchmarks) - set(known):
        parser.error(f"unknown benchmark {min(unknown)}: choose from {', '.join(known)}")
    if arguments.tiny:
        arguments.device, arguments.seconds = "cpu", min(arguments.seconds, 0.1)
        arguments.images, arguments.tokens = arguments.images or 2, arguments.tokens or 200
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("there is no GPU that torch can use: run this on a machine that has one, or try the command itself with "
              "--tiny", file=sys.stderr)  # fmt: skip
        return 2
    device = torch.device(arguments.device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    good = True
    # A run at full size takes a quarter of an hour on a CPU: only where it is asked for
    small = [name for name, case in STEPS.items() if case.fits_cpus]
    here = known if device.type == "cuda" or arguments.tiny else small
    for name in arguments.benchmarks or here:
        if name in RUNS:
            case = RUNS[name]
            result = {"unit": "seconds", "aim": case.aim_seconds, **measure_run(name, case, tiny=arguments.tiny)}
            met = result["seconds"] <= case.aim_seconds
            print(f"{name:11} {result['seconds']:>11,.1f} seconds to {result['epochs']} epochs (aim {case.aim_seconds}), "
                  f"{result['samples_per_second']:,} samples a second", flush=True)  # fmt: skip
        else:
            result, met = throughput(name, device, arguments) if name in STEPS else ({}, True)
            if device.type == "cuda" or arguments.tiny:
                result |= epoch(name, device, arguments)
        if arguments.out:
            keep(arguments.out, device, name, result)
        good &= met or device.type == "cpu"
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
