"""A client of Kubernetes, an informer, a work queue, a Lease, log streams. Nothing here knows of benchmarks."""

from podium.kube.client import Api, ApiError, Object, connect, connect_as_kubectl
from podium.kube.informer import Informer
from podium.kube.lease import Lease, LeaseLostError
from podium.kube.log_stream import LogSink, LogStream
from podium.kube.run_watch import Outage, watch_run
from podium.kube.workqueue import WorkQueue

__all__ = [
    "Api", "ApiError", "Informer", "Lease", "LeaseLostError", "LogSink", "LogStream", "Object", "Outage", "WorkQueue",
    "connect", "connect_as_kubectl", "watch_run",
]  # fmt: skip
