"""All runs: what is going on, what waits, what did it come to, and what did it cost?"""

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
    """Over the dashboard's time."""
    return f"increase({counter}{_these(*more)}[$__range])"


def _rate(counter: str) -> str:
    return f"rate({counter}{_THESE}[$__rate_interval])"


def _runs_by(metric: str) -> str:
    return f"max by (namespace, run, benchmark) ({metric}{_THESE})"


def _gpus_by_benchmark(metric: str) -> str:
    """dcgm-exporter's, joined to the runs by the names of the pods, in both ways that the pod's label is called."""
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
            "Share of the runs that came to their end, and were not deleted before, as Complete.",
            "percentunit",
            total(f"sum({complete}) / sum({ended})"),
            decimals=0,
        ),
        number(
            "Runs that ended",
            "Complete, failed and deleted ones.",
            "none",
            total(f"sum({_increase('podium_runs_finished_total')})"),
            decimals=0,
        ),
        number(
            "Accelerator hours",
            "Time for which pods of runs held accelerators.",
            "none",
            total(f"sum({_increase('podium_accelerator_seconds_total')}) / 3600"),
            decimals=1,
        ),
        number(
            "Node hours",
            "Time for which pods of runs held nodes, those without accelerators included.",
            "none",
            total(f"sum({_increase('podium_node_seconds_total')}) / 3600"),
            decimals=1,
        ),
        number(
            "Cost",
            "Node hours at the price of the runs' spec.pricing.",
            "none",
            total(f"sum by (currency) ({_increase('podium_cost_total')})", "{{currency}}"),
            decimals=2,
        ),
        number(
            "Energy",
            "Of the attempts that ended, as their logs tell it.",
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
                "Those that exist; a finished one until it is deleted.",
                "none",
                query(f"sum by (state) (podium_runs{_THESE})", "{{state}}"),
                stacked=True,
            ),
            **_STATES,
        ),
        graph(
            "Queue",
            "Runs of which no pod has run yet, and runs whose next attempt waits for its pods.",
            "none",
            query(f"sum(podium_runs{is_pending})", "runs pending"),
            query(f"sum(podium_run_attempts{is_pending})", "attempts pending"),
        ),
        graph(
            "Longest wait for pods",
            "Of the attempts that wait now.",
            "s",
            query(
                f"max by (benchmark) (podium_run_phase_seconds{in_pending}"
                f" and on (namespace, run) podium_run_attempts{is_pending} > 0)",
                "{{benchmark}}",
            ),
        ),
    ]


def _ends() -> list[Panel]:
    return [
        colors(
            graph(
                "Ends of runs",
                "By result, in the time between two points.",
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
            "Ends of attempts",
            "By state, in the time shown; retries included.",
            "none",
            total(f"sum by (state) ({_increase('podium_attempts_finished_total')})", "{{state}}"),
        ),
        bars(
            "Mean time of an attempt by phase",
            "Of the attempts that ended in the time shown, in all namespaces.",
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
        "Those that exist now.",
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


def _use() -> list[Panel]:
    return [
        graph(
            "Accelerators in use",
            "Held by pods of runs.",
            "none",
            query(f"sum by (accelerator) ({_rate('podium_accelerator_seconds_total')})", "{{accelerator}}"),
            stacked=True,
        ),
        graph(
            "GPU utilisation",
            "Mean over the GPUs that runs hold, from dcgm-exporter where it runs.",
            "percent",
            query(_gpus_by_benchmark("DCGM_FI_DEV_GPU_UTIL"), "{{benchmark}}"),
        ),
        bars(
            "Accelerator hours by namespace and benchmark",
            "In the time shown.",
            "none",
            total(
                f"sum by (namespace, benchmark) ({_increase('podium_accelerator_seconds_total')}) / 3600",
                "{{namespace}} {{benchmark}}",
            ),
        ),
        bars(
            "Cost by namespace and benchmark",
            "In the time shown, at the price of the runs' spec.pricing.",
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
        "All BenchmarkRuns: states, queue, success, accelerator hours, cost and energy.",
        since="now-24h",
        variables=[
            labels_of("namespace", "podium_runs_finished_total", "Namespace"),
            labels_of("benchmark", 'podium_runs_finished_total{namespace=~"$namespace"}', "Benchmark"),
        ],
    )
    return fill(
        board,
        ("In the time shown", _totals()),
        ("Runs", [*_states(), *_ends(), _table()]),
        ("Use", _use()),
    )
