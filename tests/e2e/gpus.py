"""dcgm-exporter's page for real pods, for machines without GPUs: its documented metrics and labels, made-up readings."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.cluster.fixtures import Kubectl

READINGS = {
    "DCGM_FI_DEV_GPU_UTIL": ("GPU utilization (in %).", 93),
    "DCGM_FI_DEV_POWER_USAGE": ("Power draw (in W).", 612.5),
}


class GpuExporter:
    """Serves the GPU of each trainer pod of a namespace. Pods of `renamed` are labeled as by a Prometheus without
    honorLabels stores them: as exported_pod, beside the exporter's own pod."""

    def __init__(self, kubectl: Kubectl, namespace: str, renamed: str) -> None:
        self._kubectl, self._namespace, self._renamed = kubectl, namespace, renamed
        self._pods: list[str] = []
        self._read_at = 0.0
        exporter = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(exporter.page().encode())

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def page(self) -> str:
        lines = []
        for name, (text, value) in READINGS.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
            lines += [f"{name}{{{self._labels(number, pod)}}} {value}" for number, pod in enumerate(self._running())]
        return "\n".join(lines) + "\n"

    def _labels(self, gpu: int, pod: str) -> str:
        labels = {
            "gpu": str(gpu),
            "UUID": f"GPU-604ac76c-d9cf-fef3-62e9-d92044ab6e5{gpu}",
            "pci_bus_id": f"00000000:{gpu:02X}:00.0",
            "device": f"nvidia{gpu}",
            "modelName": "NVIDIA H100 80GB HBM3",
            "Hostname": "node-1",
        }
        workload = {"container": "trainer", "namespace": self._namespace, "pod": pod}
        if pod.startswith(self._renamed):
            exporter = {"container": "dcgm-exporter", "namespace": "monitoring", "pod": "dcgm-exporter-x2b7k"}
            workload = exporter | {f"exported_{key}": value for key, value in workload.items()}
        return ",".join(f'{key}="{value}"' for key, value in (labels | workload).items())

    def _running(self) -> list[str]:
        if time.monotonic() - self._read_at > 3:
            found = json.loads(self._kubectl("-n", self._namespace, "get", "pods", "-o", "json"))["items"]
            self._pods = sorted(p["metadata"]["name"] for p in found if p["status"]["phase"] == "Running")
            self._read_at = time.monotonic()
        return self._pods
