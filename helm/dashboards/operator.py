"""The operator: whether it works, keeps up, and what slows it down."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from helm.dashboards.parts import OPERATOR, Panel, empty, fill, graph, labels_of, number, query, total

_JOB = '{job=~"$job"}'
_OURS = f"on (job, instance) podium_build_info{_JOB}"  # every program has process_* metrics


def _rate(counter: str, *by: str, only: str = "") -> str:
    return f"sum by ({', '.join(by)}) (rate({counter}{_JOB[:-1]}{only and ', '}{only}}}[$__rate_interval]))"


def _quantile(share: float, histogram: str, *by: str) -> str:
    return f"histogram_quantile({share}, {_rate(f'{histogram}_bucket', 'le', *by)})"


def _now() -> list[Panel]:
    return [
        number(
            "Leaders",
            "Replicas that lead. Exactly one should; the others are on standby.",
            "none",
            query(f"sum(podium_leader{_JOB})"),
            levels={None: "red", 1: "green", 2: "red"},
        ),
        number("Replicas", "Replicas that Prometheus scrapes.", "none", query(f"count(podium_leader{_JOB})")),
        number(
            "Version",
            "Version of the operator.",
            "none",
            total(f"count by (version) (podium_build_info{_JOB})", "{{version}}"),
            name=True,
        ),
        number("Runs", "Runs that the operator knows about.", "none", query(f"sum(podium_runs{_JOB})")),
        number(
            "Queue",
            "Runs that are waiting for a reconciliation or are in one.",
            "none",
            query(f"max(podium_queue_depth{_JOB})"),
        ),
        number(
            "Failed uploads",
            "In the selected time range. Failed uploads are retried.",
            "none",
            total(f'sum(increase(podium_result_upload_total{_JOB[:-1]}, result="error"}}[$__range]))'),
            decimals=0,
            levels={None: "green", 0.5: "red"},
        ),
    ]


def _reconciliation() -> list[Panel]:
    return [
        graph(
            "Reconciliations",
            "Per second, by result. Failures are retried.",
            "ops",
            query(_rate("podium_reconcile_total", "result"), "{{result}}"),
        ),
        graph(
            "Reconciliation time",
            "Waits at most 10 s for an upload.",
            "s",
            *(
                query(_quantile(share, "podium_reconcile_duration_seconds"), f"p{share * 100:.0f}")
                for share in (0.5, 0.95, 0.99)
            ),
        ),
        graph(
            "Queue depth",
            "Runs that are waiting for a reconciliation or are in one.",
            "none",
            query(f"max by (instance) (podium_queue_depth{_JOB})", "{{instance}}"),
        ),
        graph(
            "Watch age",
            "Time since the last event, bookmark (about once a minute) or list (every five minutes).",
            "s",
            query(f"time() - max by (resource) (podium_watch_last_event_timestamp_seconds{_JOB})", "{{resource}}"),
            alert=("PodiumWatchDead", 600),
        ),
    ]


def _api_server() -> list[Panel]:
    return [
        graph(
            "Requests",
            "Per second, by verb and resource.",
            "reqps",
            query(_rate("podium_kube_api_requests_total", "verb", "resource"), "{{verb}} {{resource}}"),
            width=8,
        ),
        graph(
            "Failed requests",
            "Per second, by status code. 409: the object exists or has changed; 0: no response.",
            "reqps",
            query(
                _rate("podium_kube_api_requests_total", "code", "resource", only='code!~"2.."'),
                "{{code}} {{resource}}",
            ),
            width=8,
        ),
        graph(
            "Request time, p95",
            "Until the first byte of the response.",
            "s",
            query(_quantile(0.95, "podium_kube_api_request_duration_seconds", "verb"), "{{verb}}"),
            width=8,
        ),
    ]


def _result_store() -> list[Panel]:
    return [
        graph(
            "Uploads",
            "Per second, by result. Failures are retried.",
            "ops",
            query(_rate("podium_result_upload_total", "result"), "{{result}}"),
            width=8,
        ),
        graph(
            "Upload time, p95",
            "Time to store the files of an attempt, or a result.",
            "s",
            query(_quantile(0.95, "podium_result_upload_duration_seconds"), "p95"),
            width=8,
        ),
        graph(
            "Waiting to be stored",
            "Time since a finished attempt of the run has been waiting to be stored.",
            "s",
            query(
                f"time() - max by (namespace, run) (podium_run_unstored_since_timestamp_seconds{_JOB})",
                "{{namespace}}/{{run}}",
            ),
            alert=("PodiumResultNotStored", 600),
            width=8,
        ),
    ]


def _process() -> list[Panel]:
    return [
        graph(
            "CPU",
            "CPU cores in use.",
            "none",
            query(f"rate(process_cpu_seconds_total[$__rate_interval]) and {_OURS}", "{{instance}}"),
        ),
        graph(
            "Memory",
            "Resident memory.",
            "bytes",
            query(f"process_resident_memory_bytes and {_OURS}", "{{instance}}"),
        ),
    ]


def dashboard() -> Dashboard:
    board = empty(
        OPERATOR,
        "Operator",
        "The operator: reconciliations, requests to the API server, watches and uploads.",
        since="now-3h",
        variables=[labels_of("job", "podium_leader", "Job")],
    )
    return fill(
        board,
        ("Now", _now()),
        ("Reconciliation", _reconciliation()),
        ("API server", _api_server()),
        ("Result store", _result_store()),
        ("Process", _process()),
    )
