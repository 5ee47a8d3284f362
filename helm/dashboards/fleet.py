"""All runs: what is running, what is waiting, how runs ended, and what they cost."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from helm.dashboards.parts import (
    FLEET,
    RUN,
    RUN_OF_POD,
    Panel,
    bars,
    colors,
    empty,
    fill,
    graph,
    labels_of,
    listing,
    number,
    query,
    rows,
    total,
)

_THESE = '{namespace=~"$namespace", benchmark=~"$benchmark"}'
_STATES = {"Running": "blue", "Pending": "yellow", "Suspended": "gray", "Complete": "green", "Failed": "red"}

_RUN_URL = (
    f"/d/{RUN}?var-datasource=${{datasource}}&var-namespace=${{__data.fields.Namespace}}"
    "&var-run=${__value.text}&${__url_time_range}"
)


def _these(*more: str) -> str:
    return f"{_THESE[:-1]}, {', '.join(more)}}}" if more else _THESE


def _increase(counter: str, *more: str) -> str:
    """The increase of a counter over the dashboard's time range."""
    return f"increase({counter}{_these(*more)}[$__range])"


def _rate(counter: str) -> str:
    return f"rate({counter}{_THESE}[$__rate_interval])"


def _runs_by(metric: str) -> str:
    return f"max by (namespace, run, benchmark) ({metric}{_THESE})"


def _gpus_by_benchmark(metric: str) -> str:
    """A metric of dcgm-exporter, joined to the runs by pod name; the pod's label is `pod` or `exported_pod`."""
    plain = f'label_replace({metric}{{namespace=~"$namespace"}}, "run", "$1", "pod", "{RUN_OF_POD}")'
    renamed = (
        f'label_replace({metric}{{exported_namespace=~"$namespace"}}, "run", "$1", "exported_pod", "{RUN_OF_POD}")'
    )
    renamed = f'label_replace({renamed}, "namespace", "$1", "exported_namespace", "(.+)")'
    pods = f"max by (namespace, run, gpu, Hostname) ({renamed} or {plain})"
    return (
        f"avg by (benchmark) ({pods} * on (namespace, run) group_left (benchmark)"
        f" max by (namespace, run, benchmark) (podium_run_info{_THESE}))"
    )


def _totals() -> list[Panel]:
    complete = _increase("podium_runs_finished_total", 'result="Complete"')
    ended = _increase("podium_runs_finished_total", 'result!="Aborted"')
    return [
        number(
            "Success rate",
            "Share of finished runs that are Complete. Runs deleted before they finished are not counted.",
            "percentunit",
            total(f"sum({complete}) / sum({ended})"),
            decimals=0,
        ),
        number(
            "Finished runs",
            "Runs that completed, failed or were deleted in the selected time range.",
            "none",
            total(f"sum({_increase('podium_runs_finished_total')})"),
            decimals=0,
        ),
        number(
            "Accelerator hours",
            "Accelerators held by pods of runs, times hours.",
            "none",
            total(f"sum({_increase('podium_accelerator_seconds_total')}) / 3600"),
            decimals=1,
        ),
        number(
            "Node hours",
            "Nodes held by pods of runs, times hours, with or without accelerators.",
            "none",
            total(f"sum({_increase('podium_node_seconds_total')}) / 3600"),
            decimals=1,
        ),
        number(
            "Cost",
            "Node hours at the price in each run's spec.pricing.",
            "none",
            total(f"sum by (currency) ({_increase('podium_cost_total')})", "{{currency}}"),
            decimals=2,
        ),
        number(
            "Energy",
            "Energy of the finished attempts, as reported in their logs.",
            "joule",
            total(f"sum({_increase('podium_energy_joules_total')})"),
        ),
    ]


def _states() -> list[Panel]:
    is_pending, in_pending = _these('state="Pending"'), _these('phase="pending"')
    return [
        colors(
            graph(
                "Runs by state",
                "Runs that exist now. Finished runs count until they are deleted.",
                "none",
                query(f"sum by (state) (podium_runs{_THESE})", "{{state}}"),
                stacked=True,
            ),
            **_STATES,
        ),
        graph(
            "Queue",
            "Runs without a started pod, and runs whose next attempt is waiting for its pods.",
            "none",
            query(f"sum(podium_runs{is_pending})", "runs pending"),
            query(f"sum(podium_run_attempts{is_pending})", "attempts pending"),
        ),
        graph(
            "Longest wait for pods",
            "Longest time that a current attempt has been waiting.",
            "s",
            query(
                f"max by (benchmark) (podium_run_phase_seconds{in_pending}"
                f" and on (namespace, run) podium_run_attempts{is_pending} > 0)",
                "{{benchmark}}",
            ),
        ),
    ]


def _finished() -> list[Panel]:
    return [
        colors(
            graph(
                "Finished runs by result",
                "Runs that finished between two points of the graph.",
                "none",
                query(
                    f"sum by (result) (increase(podium_runs_finished_total{_THESE}[$__rate_interval]))",
                    "{{result}}",
                ),
                stacked=True,
            ),
            Complete="green",
            Aborted="gray",
            AttemptFailed="red",
            ResultInvalid="dark-red",
        ),
        bars(
            "Finished attempts by state",
            "Attempts that finished in the selected time range, retries included.",
            "none",
            total(f"sum by (state) ({_increase('podium_attempts_finished_total')})", "{{state}}"),
        ),
        bars(
            "Mean attempt time by phase",
            "Attempts that finished in the selected time range, in all namespaces.",
            "s",
            total(
                "sum by (phase) (increase(podium_attempt_phase_duration_seconds_sum"
                '{benchmark=~"$benchmark"}[$__range])) / sum by (phase) (increase('
                'podium_attempt_phase_duration_seconds_count{benchmark=~"$benchmark"}[$__range]))',
                "{{phase}}",
            ),
        ),
    ]


def _table() -> Panel:
    return listing(
        "Runs",
        "Runs that exist now.",
        rows(f"max by (namespace, run, benchmark, division, system, accelerator, nodes) (podium_run_info{_THESE})"),
        rows(_runs_by("podium_run_attempt")),
        rows(_runs_by("podium_run_progress_ratio")),
        rows(_runs_by("podium_run_time_to_train_seconds")),
        columns={
            "namespace": "Namespace",
            "run": "Run",
            "benchmark": "Benchmark",
            "division": "Division",
            "system": "System",
            "accelerator": "Accelerator",
            "nodes": "Nodes",
            "Value #B": "Attempt",
            "Value #C": "Progress",
            "Value #D": "Time to train",
        },
        units={"Progress": "percentunit", "Time to train": "s"},
        link=("Run", _RUN_URL),
    )


def _usage() -> list[Panel]:
    return [
        graph(
            "Accelerators in use",
            "Accelerators held by pods of runs.",
            "none",
            query(f"sum by (accelerator) ({_rate('podium_accelerator_seconds_total')})", "{{accelerator}}"),
            stacked=True,
        ),
        graph(
            "GPU utilization",
            "Mean over the GPUs that runs hold. Needs dcgm-exporter.",
            "percent",
            query(_gpus_by_benchmark("DCGM_FI_DEV_GPU_UTIL"), "{{benchmark}}"),
        ),
        bars(
            "Accelerator hours by namespace and benchmark",
            "Total for the selected time range.",
            "none",
            total(
                f"sum by (namespace, benchmark) ({_increase('podium_accelerator_seconds_total')}) / 3600",
                "{{namespace}} {{benchmark}}",
            ),
        ),
        bars(
            "Cost by namespace and benchmark",
            "Total for the selected time range, at the price in each run's spec.pricing.",
            "none",
            total(
                f"sum by (namespace, benchmark, currency) ({_increase('podium_cost_total')})",
                "{{namespace}} {{benchmark}} {{currency}}",
            ),
        ),
    ]


def dashboard() -> Dashboard:
    board = empty(
        FLEET,
        "Fleet",
        "All BenchmarkRuns: states, queue, success rate, accelerator hours, cost and energy.",
        since="now-24h",
        variables=[
            labels_of("namespace", "podium_runs_finished_total", "Namespace"),
            labels_of("benchmark", 'podium_runs_finished_total{namespace=~"$namespace"}', "Benchmark"),
        ],
    )
    return fill(
        board,
        ("Totals", _totals()),
        ("Runs", [*_states(), *_finished(), _table()]),
        ("Usage", _usage()),
    )
