"""The commands on results in a bucket of a real S3 server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from podium.cli.main import app
from podium.stores import open_store
from tests.cluster.parts import REGION, S3
from tests.unit.cli.logs import v06_run
from tests.unit.results.signed import made


@pytest.fixture
def url(server: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """A round in a bucket: five runs, and one of Podium's result documents."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PODIUM_RESULTS_ENDPOINT", server.endpoint)
    monkeypatch.setenv("PODIUM_RESULTS_REGION", REGION)
    url = f"{server.bucket('rounds')}/training_results_v0.6"
    store = open_store(url, endpoint_url=server.endpoint, region=REGION)
    for index, seconds in enumerate((60, 120, 180, 240, 300)):
        log = "\n".join(v06_run("resnet", seconds, 0.76)) + "\n"
        store.put(f"acme/results/box/resnet/result_{index}.txt", log.encode())
    result = {"run": {"namespace": "team", "name": "mine"}, "score": {"timeToTrainMinutes": "3.000", "valid": True}}
    store.put("team/mine-1/result.json", json.dumps(result).encode())
    return url


def run(*arguments: str) -> tuple[int, Any]:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_score_variance_and_history_of_a_bucket(url: str) -> None:
    code, (entry,) = run("score", url)
    assert (code, entry["round"], entry["org"], entry["system"], entry["minutes"]) == (0, "v0.6", "acme", "box", 3.0)
    assert run("score", f"{url}/acme/results/box/resnet")[1][0]["org"] == "acme"
    assert run("variance", url)[1][0]["epochs"]["histogram"] == [{"epochs": 1, "runs": 5}]
    code, history = run("history", url)
    assert (code, [past["name"] for past in history["results"]]) == (0, ["mine"])


def test_one_log_of_a_bucket_is_checked(url: str) -> None:
    code, (log,) = run("check", f"{url}/acme/results/box/resnet/result_2.txt")
    assert (code, log["log"], log["round"]) == (1, "result_2.txt", "v0.6")
    assert "mlperf.init_start.required" in {finding["rule"] for finding in log["findings"]}


def test_the_other_readers_of_a_bucket(url: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    code, (report,) = run("report", url, "--out", str(page))
    assert (code, report["minutes"], "acme" in page.read_text()) == (0, 3.0, True)
    code, review = run("review", url)
    assert (code, review["scores"][0]["minutes"], bool(review["findings"])) == (1, 3.0, True)
    code, compared = run("compare", url, f"{url}/acme/results/box/resnet", "--chips", "box=8")
    assert (code, compared["speedUps"][0]["speedUp"]) == (0, 1.0)
    target = tmp_path / "run.yaml"
    spec = {
        "round": "v0.6",
        "benchmark": "resnet",
        "division": "open",
        "preset": "tiny",
        "system": {"name": "a", "nodes": 1},
    }
    target.write_text(json.dumps({"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "spec": spec}))
    code, borrowed = run("borrow", url, "--to", str(target))
    assert (code, borrowed["findings"][0]["rule"]) == (1, "borrow.nothing")
    system = tmp_path / "box.json"
    system.write_text(json.dumps({"submitter": "acme"}))
    code, package = run("package", url, "--system", str(system), "--out", str(tmp_path / "package"))
    assert (code, package["files"]) == (1, [])
    assert "package.system.missing" in {finding["rule"] for finding in package["findings"]}


def test_a_result_in_a_bucket_is_compared_with_itself(url: str, server: S3, tmp_path: Path) -> None:
    """As in a folder: the same files have the same findings, and a file that is put in has one more."""
    files = made(tmp_path)
    store = open_store(f"{url}/lab/digits-1", endpoint_url=server.endpoint, region=REGION)
    for name, content in files.items():
        store.put(name, content)
    found = {(f["rule"], f["where"], f["message"]) for f in run("review", f"{url}/lab/digits-1")[1]["findings"]}
    local = {(f["rule"], f["where"], f["message"]) for f in run("review", str(tmp_path))[1]["findings"]}
    assert found == local
    # the records are made up: they repeat another log than the one that is stored
    assert any(rule == "review.contradiction" and "evaluations" in text for rule, _, text in found)
    store.put("attempts/002/logs/pod-9.log.gz", files["attempts/002/logs/pod-0.log.gz"])
    store.delete("attempts/001/logs/pod-0.log.gz")
    more = {(f["rule"], f["where"]) for f in run("review", f"{url}/lab/digits-1")[1]["findings"]}
    assert ("review.sums", "attempts/002/logs/pod-9.log.gz") in more
    assert ("review.contradiction", "attempts/001/logs/pod-0.log.gz") in more
