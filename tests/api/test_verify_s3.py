"""Signed results in a bucket of a real S3 server, over https, of runs that an operator followed on a real API server.

The key is the one that the chart keeps in its ConfigMap and the operator in each run's status. The pods are fake.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from podium.cli.main import app
from podium.stores import Store, open_store
from tests.api.test_crd import run
from tests.cluster import kwok
from tests.cluster.charts import CHART, helm
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import kubectl_for, needed_parts
from tests.cluster.parts import REGION, S3, Operator
from tests.performance.controller.load import SPEC, training_log
from tests.unit.results.signed import KEY, PUBLIC


@dataclass(frozen=True)
class Stored:
    """The results of two runs, `one` and `other`, and where the public key was found."""

    url: str
    folders: dict[str, str]  # below `url`, by run
    keys: dict[str, Path]
    store: Store


@pytest.fixture(scope="module")
def stored(server: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    folder = tmp_path_factory.mktemp("verify")
    (folder / "training.log").write_text(training_log())
    (folder / "podium.key").write_bytes(KEY.private_pem)
    (folder / "podium.pub").write_text(KEY.public_pem)
    url = f"{server.bucket('signed')}/podium"
    plane = ControlPlane(folder / "plane")
    with needed_parts():
        try:
            plane.up(scheduler=True)
            kwok.start_nodes(plane, 2, pod_seconds=4.0, replay=folder / "training.log")
            yield _run(server, plane, folder, url)
        finally:
            plane.down()


def _run(server: S3, plane: ControlPlane, folder: Path, url: str) -> Stored:
    """Install the chart with a key, and let the operator that it describes follow two runs."""
    kubectl = kubectl_for(plane.kubeconfig)
    kubectl("create", "namespace", "podium")
    kubectl("-n", "podium", "create", "secret", "generic", "podium-signing", f"--from-file={folder / 'podium.key'}")
    signing = ("--set", "results.signing.existingSecret=podium-signing")
    signing += ("--set-file", f"results.signing.publicKey={folder / 'podium.pub'}")
    where = ("--set", f"results.url={url},results.endpoint={server.endpoint},results.region={REGION}")
    helm("install", "podium", CHART, "--namespace", "podium", *where, *signing, kubeconfig=plane.kubeconfig)
    deployment = json.loads(kubectl("-n", "podium", "get", "deployment", "podium", "-o", "json"))
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--signing-key=/etc/podium/signing/podium.key" in arguments
    options = [*("--results-url", url), *("--results-endpoint", server.endpoint), *("--results-region", REGION)]
    options += ["--signing-key", str(folder / "podium.key")]
    operator = Operator(plane.kubeconfig, folder, options, server.environment)
    operator.start()
    try:
        for name in ("one", "other"):
            kubectl("-n", "default", "apply", "-f", "-", stdin=run(SPEC, name))
        for name in ("one", "other"):
            kubectl("-n", "default", "wait", f"benchmarkrun/{name}", "--for=condition=Complete", "--timeout=90s")
        runs = {name: json.loads(kubectl("get", "benchmarkrun", name, "-o", "json")) for name in ("one", "other")}
    finally:
        assert operator.stop() == 0
    keys = {"status": folder / "status.pub", "ConfigMap": folder / "configmap.pub"}
    keys["status"].write_text(runs["one"]["status"]["result"]["publicKey"])
    path = r"jsonpath={.data.podium\.pub}"
    keys["ConfigMap"].write_text(kubectl("-n", "podium", "get", "configmap", "podium-public-key", "-o", path))
    folders = {name: one["status"]["result"]["uri"].removeprefix(f"{url}/") for name, one in runs.items()}
    return Stored(url, folders, keys, _opened(server, url))


def _opened(server: S3, url: str) -> Store:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        return open_store(url, endpoint_url=server.endpoint, region=REGION)


@pytest.fixture(autouse=True)
def environment(server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PODIUM_RESULTS_ENDPOINT", server.endpoint)
    monkeypatch.setenv("PODIUM_RESULTS_REGION", REGION)


@pytest.fixture
def changed(stored: Stored) -> Iterator[Callable[[str, bytes | None], None]]:
    """Replaces an object, or removes it; afterwards it is there again."""
    before: dict[str, bytes] = {}

    def change(key: str, content: bytes | None) -> None:
        before.setdefault(key, stored.store.get(key))
        stored.store.put(key, content) if content is not None else stored.store.delete(key)

    yield change
    for key, content in before.items():
        stored.store.put(key, content)


def verified(*words: object) -> tuple[int, Any]:
    done = CliRunner().invoke(app, ["verify", *map(str, words), "--json"])
    return done.exit_code, json.loads(done.stdout)


def findings(document: Any) -> list[tuple[str, str, str]]:
    each = [finding for kind in ("results", "chains") for one in document[kind] for finding in one["findings"]]
    return [(finding["rule"], finding["where"], finding["message"]) for finding in each]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("source", ["status", "ConfigMap"])
def test_the_result_of_an_operator_is_proven_with_the_key_of_the_cluster(stored: Stored, source: str) -> None:
    code, document = verified(f"{stored.url}/{stored.folders['one']}", "--key", stored.keys[source])
    assert (code, findings(document)) == (0, [])
    (result,) = document["results"]
    assert result["signedBy"] == PUBLIC.keyid
    assert result["sentence"].startswith(f"Proven: the holder of key {PUBLIC.keyid} signed its ")
    assert "with the only try that was made" in result["sentence"]


def test_all_results_and_the_chain_over_their_runs(stored: Stored) -> None:
    code, document = verified(stored.url, "--key", stored.keys["status"])
    assert (code, findings(document)) == (0, [])
    assert [one["path"] for one in document["results"]] == sorted(stored.folders.values())
    (chain,) = document["chains"]
    sentence = "The chain over all runs has 2 lines and no gap; the results of 2 of them are here."
    assert (chain["path"], chain["sentence"]) == ("ledger/default", sentence)


def test_objects_that_are_wrong_missing_or_added(stored: Stored, changed: Callable[[str, bytes | None], None]) -> None:
    folder, key = stored.folders["one"], stored.keys["status"]
    log, record = f"{folder}/attempts/001/result.txt", f"{folder}/attempts/001/attempt.json"
    changed(log, stored.store.get(log).replace(b'"eval_accuracy"', b'"eval_Accuracy"', 1))
    changed(record, None)
    code, document = verified(f"{stored.url}/{folder}", "--key", key)
    found = {(rule, where) for rule, where, _ in findings(document)}
    assert code == 1
    assert {("verify.files", "attempts/001/result.txt"), ("verify.files", "attempts/001/attempt.json")} <= found
    messages = [message for _, _, message in findings(document)]
    assert "is not the file that SHA256SUMS lists: one of them was changed" in messages
    assert "is missing; SHA256SUMS lists it" in messages
    stored.store.put(f"{folder}/notes.txt", b"x")
    code, document = verified(f"{stored.url}/{folder}", "--key", key)
    stored.store.delete(f"{folder}/notes.txt")
    assert ("verify.files", "notes.txt", "was added: SHA256SUMS does not list it") in findings(document)


def test_a_signature_of_another_key(stored: Stored, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["keygen", "--out", str(tmp_path)]).exit_code == 0
    code, document = verified(f"{stored.url}/{stored.folders['one']}", "--key", tmp_path / "podium.pub")
    (rule, where, message) = findings(document)[0]
    assert (code, rule, where) == (1, "verify.signature", "statement.dsse.json")
    assert message.endswith(f"it names {PUBLIC.keyid}")


def test_a_run_that_was_left_out(stored: Stored, changed: Callable[[str, bytes | None], None]) -> None:
    for key in stored.store.list(f"{stored.folders['other']}/"):
        changed(key, None)
    message = f"a run was made whose result is not here: {stored.folders['other']} (resnet, Complete)"
    assert findings(verified(stored.url)[1]) == [("verify.chain", "ledger/default", message)]
    chain = f"{stored.url}/ledger/default"
    code, document = verified(f"{stored.url}/{stored.folders['one']}", "--chain", chain, "--key", stored.keys["status"])
    assert (code, findings(document)) == (1, [("verify.chain", chain, message)])
