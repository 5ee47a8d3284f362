"""The chart as Helm reads it: lint, snapshots, and its errors for wrong values. Needs no cluster."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from helm.generate import generated

from podium.api import Submission
from podium.launch import Allow, PodDefaults, StageCredentials, StageDefaults, TrainerDefaults
from tests.cluster.charts import CHART, helm, template
from tests.cluster.fixtures import ROOT, needed_parts

DATA = ROOT / "tests/data/chart"
CASES = sorted(file.stem for file in DATA.glob("*.yaml"))
URL = "results.url=s3://results/podium"


@pytest.fixture(autouse=True, scope="module")
def helm_is_there():
    with needed_parts():
        helm("version")


def objects(text: str) -> list[dict]:
    return [document for document in yaml.safe_load_all(text) if document]


def the(kind: str, text: str) -> dict:
    [found] = [document for document in objects(text) if document["kind"] == kind]
    return found


def crds(text: str) -> list[dict]:
    return [document for document in objects(text) if document["kind"] == "CustomResourceDefinition"]


def test_what_is_generated_is_committed():
    for file, text in generated().items():
        assert file.read_text() == text, f"{file.relative_to(ROOT)} is out of date: run `make generate`"


@pytest.mark.parametrize("case", CASES)
def test_lint_has_nothing_to_say(case):
    said = helm("lint", "--strict", CHART, "-f", DATA / f"{case}.yaml", "--set", "serviceMonitor.enabled=false")
    assert "0 chart(s) failed" in said
    assert "WARNING" not in said


@pytest.mark.parametrize("case", CASES)
def test_manifests_are_as_recorded(case, pytestconfig):
    """`pytest tests/api/test_chart.py --renew` records them anew."""
    made = template("-f", DATA / f"{case}.yaml", "--set", "crds.enabled=false")
    expected = DATA / "expected" / f"{case}.yaml"
    if pytestconfig.getoption("renew"):
        expected.write_text(made)
    assert objects(made) == objects(expected.read_text())


def test_the_crd_is_the_committed_one_and_is_kept():
    committed = [yaml.safe_load(file.read_text()) for file in sorted((ROOT / "crds").glob("*.yaml"))]
    assert len(committed) == 2
    made = crds(template("--set", URL))
    assert [crd["metadata"].pop("annotations") for crd in made] == [{"helm.sh/resource-policy": "keep"}] * 2
    assert made == committed
    assert crds(template("--set", f"{URL},crds.keep=false")) == committed
    without = objects(template("--set", f"{URL},crds.enabled=false"))
    assert "CustomResourceDefinition" not in [document["kind"] for document in without]


def test_with_watched_namespaces_no_object_is_cluster_scoped():
    made = objects(template("-f", DATA / "namespaced.yaml"))
    assert not [document["kind"] for document in made if "namespace" not in document["metadata"]]
    roles = {document["metadata"]["namespace"] for document in made if document["kind"] == "Role"}
    assert roles == {"podium", "lab", "night"}


# ---- the operator's settings ----


def test_trainer_values_are_the_operators_model():
    trainer = yaml.safe_load((CHART / "values.yaml").read_text())["trainer"]
    for values, model in (
        (trainer | {"network": {}}, TrainerDefaults),  # from networkPolicy.trainers
        (trainer["allow"], Allow),
        (trainer["submission"], Submission),
        (trainer["pod"], PodDefaults),
        (trainer["stage"], StageDefaults),
        (trainer["stage"]["credentials"], StageCredentials),
    ):
        assert set(values) == {field.alias or name for name, field in model.model_fields.items()}


@pytest.mark.parametrize("case", CASES)
def test_the_operator_reads_its_trainer_defaults(case):
    made = objects(template("-f", DATA / f"{case}.yaml"))
    [text] = [o["data"]["trainer.yaml"] for o in made if o["kind"] == "ConfigMap" and "trainer.yaml" in o["data"]]
    values = yaml.safe_load((DATA / f"{case}.yaml").read_text())
    given = values.get("trainer", {"image": "podium-trainer:0.1.0"})
    if network := values.get("networkPolicy", {}).get("trainers"):
        dns = yaml.safe_load((CHART / "values.yaml").read_text())["networkPolicy"]["trainers"]["dns"]
        given = {**given, "network": {"dns": dns, **network}}
    assert TrainerDefaults.model_validate(yaml.safe_load(text)) == TrainerDefaults.model_validate(given)


def test_a_changed_setting_rolls_the_operator():
    def checksums(*words: str) -> dict[str, str]:
        made = the("Deployment", template("-f", DATA / "namespaced.yaml", *words))
        return made["spec"]["template"]["metadata"]["annotations"]

    before = checksums()
    after = checksums("--set", "trainer.pod.schedulerName=gangs")
    assert before["checksum/config"] != after["checksum/config"]
    assert before["checksum/secret"] == after["checksum/secret"]
    assert before["checksum/secret"] != checksums("--set", "results.secretAccessKey=new")["checksum/secret"]


def test_rules_and_dashboards_are_taken_as_they_are(tmp_path):
    """Braces in them belong to Prometheus and Grafana."""
    import shutil

    chart = shutil.copytree(CHART, tmp_path / "podium")
    rules = {
        "groups": [{"name": "podium", "rules": [{"alert": "A", "expr": "up", "annotations": {"s": "{{ $value }}"}}]}]
    }
    board = {"title": "Runs", "legend": "{{run}}"}
    (chart / "alerts").mkdir(exist_ok=True)
    (chart / "dashboards").mkdir(exist_ok=True)
    (chart / "alerts/podium.yaml").write_text("# made\n" + yaml.safe_dump(rules))
    (chart / "dashboards/runs.json").write_text(json.dumps(board, indent=1))
    switched_on = "prometheusRule.enabled=true,dashboards.enabled=true,dashboards.annotations.grafana_folder=Podium"
    made = helm(
        "template", "podium", chart, "--set", f"{URL},{switched_on}", "--api-versions", "monitoring.coreos.com/v1"
    )
    assert the("PrometheusRule", made)["spec"] == rules
    [config] = [o for o in objects(made) if o["metadata"]["name"] == "podium-runs"]
    assert json.loads(config["data"]["runs.json"]) == board
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config["metadata"]["annotations"] == {"grafana_folder": "Podium"}


def test_how_to_speak_to_the_store(tmp_path):
    def options(*words: object) -> set[str]:
        (container,) = the("Deployment", template("--set", URL, *words))["spec"]["template"]["spec"]["containers"]
        return {word for word in container["args"] if word.startswith(("--results-checksum", "--results-addressing"))}

    (tmp_path / "values.yaml").write_text("results: {checksum: off, addressing: virtual}\n")  # YAML reads off as false
    both = {"--results-checksum=off", "--results-addressing=virtual"}
    assert options() == set()
    assert options("--values", tmp_path / "values.yaml") == both
    assert options("--set", "results.checksum=off,results.addressing=virtual") == both


def test_the_store_is_reached_through_the_network_policy():
    def ports(*words: str) -> list[int]:
        made = the("NetworkPolicy", template("--set", f"{URL},networkPolicy.enabled=true", *words))
        return [port["port"] for port in made["spec"]["egress"][1]["ports"]]

    assert ports() == [443, 6443]
    assert ports("--set", "results.endpoint=http://minio:9000") == [443, 6443, 9000]
    assert ports("--set", "results.endpoint=http://minio") == [443, 6443, 80]


# ---- errors ----

REFUSED = {
    "no results URL": ([], "results.url is missing: set where results are stored, for example --set results.url=s3://my-bucket/podium"),
    "a bucket of Google": (["results.url=gs://bucket/x"], "write s3://bucket/x, set results.endpoint=https://storage.googleapis.com, and put HMAC keys in"),
    "a wrong scheme": (["results.url=https://bucket"], 'results.url "https://bucket" is not a supported results URL: write s3://bucket/prefix, or file:///folder'),
    "a relative folder": (["results.url=file://results"], "write s3://bucket/prefix, or file:///folder with a claim"),
    "a folder in the pod": (["results.url=file:///results"], "would be lost with the operator's pod: set results.existingClaim to a volume claim"),
    "a region for a folder": (["results.url=file:///r,results.existingClaim=c,results.region=x"], "results.region needs an s3:// URL, but results.url is \"file:///r\": remove it, or change the URL"),
    "a claim for a bucket": ([URL, "results.existingClaim=c"], "results.existingClaim needs a file:// URL, but results.url is \"s3://results/podium\": remove the claim"),
    "an endpoint without scheme": ([URL, "results.endpoint=minio:9000"], 'results.endpoint "minio:9000": write the store\'s address, such as https://minio.example.org:9000'),
    "a checksum": ([URL, "results.checksum=md5"], "at '/results/checksum': value must be one of 'auto', 'off', false"),
    "an addressing": ([URL, "results.addressing=host"], "at '/results/addressing': value must be one of 'auto', 'path', 'virtual'"),
    "half of the credentials": ([URL, "results.accessKeyId=a"], "results.accessKeyId and results.secretAccessKey must be set together: set both, or neither"),
    "credentials twice": ([URL, "results.existingSecret=s,results.accessKeyId=a,results.secretAccessKey=b"], "results.existingSecret and results.accessKeyId are alternative credentials for the store: keep one of them"),
    "no role": ([URL, "results.webIdentity.roleArn=podium"], "write a role such as arn:aws:iam::123456789012:role/podium-results"),
    "a key without its public key": ([URL, "results.signing.existingSecret=podium-signing"], "set both, from podium keygen, or neither"),
    "no public key": ([URL, "results.signing.existingSecret=s,results.signing.publicKey=podium.pub"], "pass the file with --set-file results.signing.publicKey=podium.pub"),
    "no certificate": ([URL, "results.caCertificate=ca.crt"], "pass the file with --set-file results.caCertificate=ca.crt"),
    "nobody's account": ([URL, "serviceAccount.create=false"], "set serviceAccount.name to an existing account"),
    "two monitors": ([URL, "serviceMonitor.enabled=true,podMonitor.enabled=true"], "so metrics would be scraped twice: disable one of them"),
    "a round's name": ([URL, r"rounds.own\.yaml=x"], "use a file name like v1.0.yaml; the operator ignores others"),
    "a round that is none": ([URL, r"rounds.v1\.yaml=x"], 'rounds["v1.yaml"] is not a YAML mapping'),
    "a claim without its namespace": ([URL, "trainer.allow.writableClaims[0]=scratch"], "at '/trainer/allow/writableClaims/0': 'scratch' does not match pattern"),
    "an unknown key": ([URL, "replicaCount=2"], "additional properties 'replicaCount' not allowed"),
    "an unknown key below": ([URL, "results.bucket=x"], "at '/results': additional properties 'bucket' not allowed"),
    "no replicas": ([URL, "replicas=0"], "at '/replicas': minimum: got 0, want 1"),
    "a word for a number": ([URL, "replicas=two"], "at '/replicas': got string, want integer"),
    "a number for a text": ([URL, "trainer.pod.env[0].name=A,trainer.pod.env[0].value=1"], "at '/trainer/pod/env/0/value': got number, want string"),
    "a level of logs": ([URL, "log.level=loud"], "at '/log/level': value must be one of 'debug', 'info', 'warning', 'error'"),
    "a digest": ([URL, "image.digest=latest"], "write sha256: and 64 hexadecimal digits; put a tag in image.tag"),
    "a namespace's name": ([URL, "watchNamespaces={Lab}"], "\"Lab\" is not a valid namespace name: use lowercase letters, digits and dashes"),
    "no list of namespaces": ([URL, "watchNamespaces=lab"], "at '/watchNamespaces': got string, want array"),
    "an unknown trainer setting": ([URL, "trainer.pod.privileged=true"], "at '/trainer/pod': additional properties 'privileged' not allowed"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_value_is_refused_with_a_sentence(case):
    settings, sentence = REFUSED[case]
    words = [word for setting in settings for word in ("--set", setting)]
    said = helm("template", "podium", CHART, "--api-versions", "monitoring.coreos.com/v1", *words, refused=True)
    assert sentence in said


def test_monitors_without_their_operator_are_refused():
    said = helm("template", "podium", CHART, "--set", f"{URL},serviceMonitor.enabled=true", refused=True)
    assert (
        "serviceMonitor.enabled: this cluster does not serve monitoring.coreos.com/v1. Install the Prometheus" in said
    )
    assert "or set serviceMonitor.enabled=false" in said


def test_the_schema_is_a_schema_and_the_defaults_fit_it():
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load((CHART / "values.yaml").read_text()), schema)


def test_the_notes_end_with_three_commands(tmp_path: Path):
    said = helm("install", "podium", CHART, "--namespace", "bench", "--set", URL, "--dry-run=client")
    notes = said[said.index("NOTES:") :]
    assert "Podium 0.1.0 is installed; results go to s3://results/podium" in notes
    assert "kubectl -n bench rollout status deployment/podium" in notes
    assert "kubectl -n default apply -f - <<END" in notes
    assert "kubectl -n default get benchmarkruns -w" in notes
