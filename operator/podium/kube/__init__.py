"""A Kubernetes client, informer, work queue, Lease and log streams. Nothing here knows about benchmarks."""

import podium.kube.lean_import  # noqa: F401 - before anything imports Kubernetes's client
from podium.kube.backoff import WatchPace, backoff
from podium.kube.client import (
    EVENTS,
    JOBS,
    LEASES,
    NETWORK_POLICIES,
    NODES,
    POD_GROUPS,
    PODS,
    SERVICES,
    Api,
    ApiError,
    FencedError,
    Object,
    Resource,
)
from podium.kube.connection import connect, connect_as_kubectl
from podium.kube.informer import Informer, object_name
from podium.kube.lease import Lease, LeaseLostError
from podium.kube.log_lines import LineCutter, read_line
from podium.kube.log_sink import LogSink
from podium.kube.log_stream import LogStream
from podium.kube.patience import patient_session
from podium.kube.receipts import Receipts
from podium.kube.run_watch import Outage, watch_run
from podium.kube.workqueue import WorkQueue

__all__ = [
    "EVENTS", "JOBS", "LEASES", "NETWORK_POLICIES", "NODES", "PODS", "POD_GROUPS", "SERVICES",
    "Api", "ApiError", "FencedError", "Informer", "Lease", "LeaseLostError", "LineCutter", "LogSink", "LogStream",
    "Object", "Outage", "Receipts", "Resource", "WatchPace", "WorkQueue", "backoff", "connect", "connect_as_kubectl",
    "object_name", "patient_session", "read_line", "watch_run",
]  # fmt: skip
