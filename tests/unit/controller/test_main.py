"""The operator's process: what it loads, and its page of metrics."""

from __future__ import annotations

import re
import subprocess
import sys

import aiohttp
import pytest

from podium.controller.main import OperatorOptions, OperatorProcess
from podium.controller.pods import JobSnapshot
from podium.controller.reconciler import Controller
from podium.controller.status_writer import status_document
from podium.kube import POD_GROUPS, ApiError
from podium.launch import Inputs
from podium.reconcile import ObservedJob
from podium.rounds import load_rounds
from tests.unit.controller.test_observation import pod
from tests.unit.controller.test_reconciler import UID, body
from tests.unit.reconcile import examples as ex


@pytest.mark.parametrize(("module", "also"), [("podium.controller.main", ()), ("podium.cli.operator", ("podium.cli",))])
def test_it_loads_nothing_of_what_people_do_with_results(module, also):
    program = f"import sys, {module}; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "podium.controller.reconciler" in loaded
    unwanted = (
        "podium.submissions",
        "podium.mlcommons",
        "podium.report",
        "podium.local",
        "podium.cli",
        "podium.staging",
    )
    # what the synchronous client of Kubernetes needs, signing, S3, and the command line
    others = ("mlperf_logging", "numpy", "scipy", "pandas", "torch", "jinja2", "rich", "boto3", "cryptography", "requests",
              "oauthlib", "urllib3", "websocket")  # fmt: skip
    found = [name for name in loaded if name.startswith(unwanted) or name.partition(".")[0] in others]
    assert [name for name in found if not name.startswith(also)] == []
    assert bool(also) == ("typer" in loaded)


def test_what_is_left_out_of_the_client_of_kubernetes_is_imported_when_asked_for():
    program = "import podium.kube, kubernetes; print(kubernetes.aio.client, kubernetes.watch); kubernetes.no_such_part"
    asked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ("kubernetes.aio.client" in asked.stdout, "kubernetes.watch" in asked.stdout) == (True, True)
    assert asked.stderr.endswith("AttributeError: module 'kubernetes' has no attribute 'no_such_part'\n")


@pytest.fixture
def process(tmp_path, monkeypatch):
    """Leads, with a run whose two pods have held their nodes since second 1; the time is second 100."""
    process = OperatorProcess(OperatorOptions(results_url=str(tmp_path), listen="127.0.0.1:0"))
    process.metrics.leads(leads=True)
    process.metrics._since = 0.0
    monkeypatch.setattr("time.time", lambda: process.now)
    monkeypatch.setattr("podium.metrics.operator._PAGE_SECONDS", 0.0)  # every scrape gets a new page
    process.now = 100.0
    controller = Controller(None, None, None, Inputs(load_rounds()), process.metrics, clock=lambda: process.now)
    controller.run_changed(body(), deleted=False)
    job = JobSnapshot("lab", UID, ex.FIRST, ObservedJob("j1", created=0.0))
    controller.states[UID].observation.update([job], [pod(0), pod(1)], 100.0)
    controller.count_occupied()
    process._controller = controller
    return process


async def get(process):
    """The page of metrics without what the library finds out about any process."""
    server = await process._serve()
    try:
        port = server.addresses[0][1]
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
            return re.sub(r"(?m)^(# \w+ )?process_.*\n", "", await response.text())
    finally:
        await server.cleanup()


def total(page):
    return float(re.search(r"podium_node_seconds_total\{.*\} (.*)", page).group(1))


async def test_a_status_with_odd_numbers_hides_no_other_run(process):
    odd = body(status=status_document(ex.status(ex.converged(1, 40).model_copy(update={"energy_joules": "much"}))))
    odd["metadata"] |= {"uid": "odd", "name": "odd"}
    process._controller.run_changed(odd, deleted=False)
    page = await get(process)
    assert 'run="digits"' in page
    assert 'run="odd"' not in page


async def test_reading_the_metrics_changes_nothing(process):
    first = await get(process)
    assert total(first) == 2 * 99
    assert await get(process) == first
    process.now = 150.0
    assert total(await get(process)) == 2 * 99  # a scrape counts nothing, whatever time has passed
    process._controller.count_occupied()
    assert total(await get(process)) == 2 * 149


def test_as_many_files_may_be_open_as_are_allowed():
    code = (
        "import resource; from podium.controller.main import _allow_open_files;"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard));"
        "_allow_open_files(); print(resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"


class Discovery:
    """An API server that answers the question for PodGroups with each of `answers` in turn."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def serves(self, _resource):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            [aiohttp.ClientConnectionError("no route"), ApiError(429, "", "later"), ApiError(503, "", "later"), True],
            True,
        ),
        ([ApiError(403, "Forbidden", "discovery is not for everybody")], False),
    ],
    ids=["out of reach", "refused"],
)
async def test_discovery_never_stops_the_operator(process, monkeypatch, answers, expected):
    monkeypatch.setattr("podium.controller.main._CRD_RETRY_SECONDS", 0.0)
    assert await process._has(Discovery(*answers), POD_GROUPS) is expected
