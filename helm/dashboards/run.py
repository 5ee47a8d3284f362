"""One run: is it getting there, how fast, and what does it take?"""

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
    """A metric of the run: one series, whichever operator told it."""
    return f"max by ({', '.join(by)}) ({name}{_THIS})" if by else f"max({name}{_THIS})"


def _with_phase(phase: str) -> str:
    return f'{_THIS[:-1]}, phase="{phase}"}}'


def _of_gpus(metric: str) -> str:
    """dcgm-exporter's, averaged over the GPUs of a pod. Scraped without honorLabels it calls the pod exported_pod."""
    plain = f'{metric}{{namespace="$namespace", pod=~"{PODS_OF_RUN}"}}'
    renamed = f'{metric}{{exported_namespace="$namespace", exported_pod=~"{PODS_OF_RUN}"}}'
    return f"avg by (exported_pod) ({renamed}) or avg by (pod) ({plain})"


def _now() -> list[Panel]:
    return [
        number(
            "Attempt",
            "The attempt in progress, and how many there are to be.",
            "none",
            query(_of("podium_run_attempt"), "attempt"),
            query(_of("podium_run_attempts_planned"), "of"),
        ),
        number(
            "Done in",
            "Until the attempt has used its epochs. It may converge earlier; dash: it does not train.",
            "s",
            total(_of("podium_run_eta_seconds")),
        ),
        number(
            "Time to train",
            "The score: mean over the attempts without the fastest and the slowest.",
            "s",
            query(_of("podium_run_time_to_train_seconds")),
        ),
        number(
            "Accelerator hours",
            "Time for which the run's pods have held accelerators, failed attempts included.",
            "none",
            query(f"{_of('podium_run_accelerator_seconds')} / 3600"),
            decimals=2,
        ),
        number(
            "Cost",
            "Node hours at the price of spec.pricing, failed attempts included.",
            "none",
            query(_of("podium_run_cost", "currency"), "{{currency}}"),
            decimals=2,
        ),
        number(
            "Energy",
            "As the logs tell it, failed attempts included.",
            "joule",
            query(_of("podium_run_energy_joules")),
        ),
    ]


def _training() -> list[Panel]:
    return [
        dashed(
            graph(
                "Quality against target",
                "Each evaluation of the attempt in progress; the clock stops at the dashed line.",
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
                "Where the time of the attempt goes",
                "Waiting for pods, initialisation, training and evaluation of the attempt in progress.",
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
            "Time to train of each attempt",
            "Of the attempts that have converged.",
            "s",
            query(_of("podium_run_attempt_time_to_train_seconds", "attempt"), "attempt {{attempt}}"),
        ),
        colors(
            graph(
                "Attempts by state",
                "Every try that was made, retries included.",
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
            "Share of its epochs that the attempt has done.",
            "percentunit",
            query(_of("podium_run_progress_ratio"), "progress"),
        ),
    ]


def _machines() -> list[Panel]:
    return [
        graph(
            "GPU utilisation",
            "Mean over the GPUs of each pod, from dcgm-exporter where it runs.",
            "percent",
            query(_of_gpus("DCGM_FI_DEV_GPU_UTIL"), "{{pod}}{{exported_pod}}"),
        ),
        graph(
            "GPU power",
            "Mean over the GPUs of each pod, from dcgm-exporter where it runs.",
            "watt",
            query(_of_gpus("DCGM_FI_DEV_POWER_USAGE"), "{{pod}}{{exported_pod}}"),
        ),
        graph(
            "Energy",
            "As the log tells it; it adds up over the attempts.",
            "joule",
            query(_of("podium_run_energy_joules"), "energy"),
        ),
        graph(
            "Silence",
            "Time since rank 0 printed its last MLPerf line, while the run trains.",
            "s",
            query(
                f"time() - {_of('podium_run_progress_last_update_timestamp_seconds')}"
                f' and max(podium_run_attempts{_THIS[:-1]}, state="Training"}}) > 0',
                "silent for",
            ),
        ),
    ]


def dashboard() -> Dashboard:
    board = empty(
        RUN,
        "Run",
        "One BenchmarkRun: quality against target, throughput, where the time goes, energy and cost.",
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
