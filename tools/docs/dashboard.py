"""``python -m tools.docs.dashboard OUT.png``: draw the Run dashboard for the documentation, from a real run.

Runs examples/resnet-digits.yaml on this machine, serves its metrics as the operator does, lets Prometheus scrape them
every second, and draws the dashboard. Needs prometheus and chromium (Debian packages). A local run has no pods, so
machine time and cost stay empty.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from helm.dashboards.picture import Source, page, screenshot
from tests.cluster.parts import Prometheus

from podium.cli.files import read_run_file
from podium.local.runner import LocalRun
from podium.metrics import Metrics, run_sample
from podium.rounds import load_rounds
from podium.rules import goal_for
from podium.stores import open_store

EXAMPLE = Path(__file__).parents[2] / "examples/resnet-digits.yaml"


def serve(benchmark: LocalRun, goal: object) -> ThreadingHTTPServer:
    """Serve the metrics of a local run on a free port of this machine."""
    metrics = Metrics(lambda: [run_sample(benchmark.run, benchmark.observed(), goal, time.time())], lambda: 0.0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(metrics.page())

        def log_message(self, *_: object) -> None:
            """Log nothing: the terminal shows the run's progress."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main(out: Path) -> None:
    name, spec = read_run_file(EXAMPLE)
    with tempfile.TemporaryDirectory() as folder:
        benchmark = LocalRun(name, spec, open_store(f"{folder}/result"), load_rounds())
        server = serve(benchmark, goal_for(spec, load_rounds()))
        prometheus = Prometheus(Path(folder) / "prometheus", f"127.0.0.1:{server.server_port}")
        prometheus.start()
        try:
            began = time.time()
            ended = asyncio.run(benchmark.execute(lambda *_: None))
            time.sleep(5)  # so that Prometheus scrapes the score a few times
            source = Source(prometheus.url, began, time.time())
            screenshot(*page("run", source, {"namespace": ended.namespace, "run": name}), out)
        finally:
            prometheus.stop()
            server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
