"""One run: quality, speed, and what the run uses."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from helm.dashboards.parts import (
    PODS_OF_RUN,
    RUN,
    Panel,
    bars,
    colors,
    dashed,
    empty,
    fill,
    graph,
    labels_of,
    number,
    query,
    total,
)

_THIS = '{namespace="$namespace", run="$run"}'
PHASES = ("pending", "init", "train", "eval")  # in the order in which they come


def _of(name: str, *by: str) -> str:
    """A metric of the run as one series, whichever replica of the operator reported it."""
    return f"max by ({', '.join(by)}) ({name}{_THIS})" if by else f"max({name}{_THIS})"


def _with_phase(phase: str) -> str:
    return f'{_THIS[:-1]}, phase="{phase}"}}'


def _of_gpus(metric: str) -> str:
    """A metric of dcgm-exporter, averaged over the GPUs of a pod; without honorLabels the label is `exported_pod`."""
    plain = f'{metric}{{namespace="$namespace", pod=~"{PODS_OF_RUN}"}}'
    renamed = f'{metric}{{exported_namespace="$namespace", exported_pod=~"{PODS_OF_RUN}"}}'
    return f"avg by (exported_pod) ({renamed}) or avg by (pod) ({plain})"


def _now() -> list[Panel]:
    return [
        number(
            "Attempt",
            "The current attempt, and how many are planned.",
            "none",
            query(_of("podium_run_attempt"), "attempt"),
            query(_of("podium_run_attempts_planned"), "of"),
        ),
        number(
            "Time remaining",
            "Until the attempt reaches its last epoch; it may converge earlier. Empty unless it is training.",
            "s",
            total(_of("podium_run_eta_seconds")),
        ),
        number(
            "Time to train",
            "The score: mean over the attempts, without the fastest and the slowest.",
            "s",
            query(_of("podium_run_time_to_train_seconds")),
        ),
        number(
            "Accelerator hours",
            "Accelerators held by the run's pods, times hours. Includes failed attempts.",
            "none",
            query(f"{_of('podium_run_accelerator_seconds')} / 3600"),
            decimals=2,
        ),
        number(
            "Cost",
            "Node hours at the price in spec.pricing. Includes failed attempts.",
            "none",
            query(_of("podium_run_cost", "currency"), "{{currency}}"),
            decimals=2,
        ),
        number(
            "Energy",
            "As reported in the logs. Includes failed attempts.",
            "joule",
            query(_of("podium_run_energy_joules")),
        ),
    ]


def _training() -> list[Panel]:
    return [
        dashed(
            graph(
                "Quality against target",
                "Each evaluation of the current attempt. The clock stops at the dashed line.",
                "none",
                query(_of("podium_run_quality", "metric"), "{{metric}}"),
                query(_of("podium_run_quality_target", "metric"), "target {{metric}}"),
            ),
            "target.*",
        ),
        graph(
            "Throughput",
            "Training samples per second, as the trainer reports it.",
            "none",
            query(_of("podium_run_samples_per_second"), "samples/s"),
        ),
        colors(
            graph(
                "Attempt time by phase",
                "Waiting for pods, initialization, training and evaluation of the current attempt.",
                "s",
                *(query(f"max(podium_run_phase_seconds{_with_phase(phase)})", phase) for phase in PHASES),
                stacked=True,
            ),
            pending="gray",
            init="yellow",
            train="blue",
            eval="purple",
        ),
        bars(
            "Time to train per attempt",
            "Attempts that have converged.",
            "s",
            query(_of("podium_run_attempt_time_to_train_seconds", "attempt"), "attempt {{attempt}}"),
        ),
        colors(
            graph(
                "Attempts by state",
                "All attempts so far, retries included.",
                "none",
                query(f"{_of('podium_run_attempts', 'state')} > 0", "{{state}}"),
                stacked=True,
            ),
            Pending="gray",
            Initializing="yellow",
            Training="blue",
            Converged="green",
            NotConverged="orange",
            Failed="red",
            Invalid="dark-red",
        ),
        graph(
            "Progress",
            "Share of its epochs that the current attempt has completed.",
            "percentunit",
            query(_of("podium_run_progress_ratio"), "progress"),
        ),
    ]


def _machines() -> list[Panel]:
    return [
        graph(
            "GPU utilization",
            "Mean over the GPUs of each pod. Needs dcgm-exporter.",
            "percent",
            query(_of_gpus("DCGM_FI_DEV_GPU_UTIL"), "{{pod}}{{exported_pod}}"),
        ),
        graph(
            "GPU power",
            "Mean over the GPUs of each pod. Needs dcgm-exporter.",
            "watt",
            query(_of_gpus("DCGM_FI_DEV_POWER_USAGE"), "{{pod}}{{exported_pod}}"),
        ),
        graph(
            "Energy",
            "As reported in the logs, summed over the attempts.",
            "joule",
            query(_of("podium_run_energy_joules"), "energy"),
        ),
        graph(
            "Time since last log line",
            "Time since rank 0 printed its last MLPerf line, during training.",
            "s",
            query(
                f"time() - {_of('podium_run_progress_last_update_timestamp_seconds')}"
                f' and max(podium_run_attempts{_THIS[:-1]}, state="Training"}}) > 0',
                "time since last line",
            ),
            alert=("PodiumRunStalled", 1800),
        ),
    ]


def dashboard() -> Dashboard:
    board = empty(
        RUN,
        "Run",
        "One BenchmarkRun: quality against target, throughput, time by phase, energy and cost.",
        since="now-3h",
        variables=[
            labels_of("namespace", "podium_run_info", "Namespace", several=False),
            labels_of("run", 'podium_run_info{namespace="$namespace"}', "Run", several=False),
        ],
    )
    return fill(
        board,
        ("Now", _now()),
        ("Training", _training()),
        ("Machines", _machines()),
    )
