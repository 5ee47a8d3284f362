"""What is stored of a run has no credentials, and everything else."""

from __future__ import annotations

import pytest

from podium.api.credentials import CREDENTIAL, REDACTED, without_credentials

LONG = "s3cr3t-0123456789"
GITHUB = "ghp_" + "a" * 36


def template(**fields):
    return {"round": "v0.6", "template": fields}


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        GITHUB,
        "github_pat_" + "a1_" * 10,
        "hf_" + "A" * 34,
        "glpat-" + "a" * 20,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dGVzdA",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_credential_is_known_by_its_form_wherever_it_is(text):
    spec = {
        **template(env=[{"name": "PLAIN", "value": f"x {text} y"}], args=[f"--x={text}"], command=["sh", "-c", text]),
        "hyperparameters": {"comment": [text]},
    }
    assert repr(text)[1:-1] not in str(without_credentials(spec))
    assert without_credentials(spec)["template"]["env"][0]["value"] == f"x {REDACTED} y"
    assert spec["hyperparameters"]["comment"] == [text]  # the run itself is not changed


@pytest.mark.parametrize("text", ["1e-3", "s3://bucket/key", "sha256:" + "a" * 64, "resnet50-v1.5", "TOKENIZERS"])
def test_other_words_are_none(text):
    assert not CREDENTIAL.search(text)


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("HF_TOKEN", LONG, REDACTED),
        ("WANDB_API_KEY", LONG, REDACTED),
        ("AWS_SECRET_ACCESS_KEY", LONG, REDACTED),
        ("db_password", LONG, REDACTED),
        ("key", LONG, REDACTED),
        ("wandbApiKey", LONG, REDACTED),
        ("HTTPS_PROXY", "http://me:hunter2@proxy:3128", f"http://{REDACTED}@proxy:3128"),
        ("HTTPS_PROXY", "http://proxy:3128", "http://proxy:3128"),
        ("DATABASE", "postgres://me:$(PASS)@db/x", "postgres://me:$(PASS)@db/x"),
        ("maxTokens", LONG, LONG),
        ("MAX_TOKENS", "1000000000", "1000000000"),
        ("TOKENIZERS_PARALLELISM", "false-or-true", "false-or-true"),
        ("SORT_KEY", "2", "2"),
        ("SEED_KEY", "123456789012", "123456789012"),
        ("MONKEY", LONG, LONG),
        ("NCCL_DEBUG", LONG, LONG),
    ],
)
def test_variables_by_their_names(name, value, stored):
    assert without_credentials(template(env=[{"name": name, "value": value}])) == template(
        env=[{"name": name, "value": stored}]
    )


@pytest.mark.parametrize(
    ("words", "stored"),
    [
        (["train", f"--api-key={LONG}", "--epochs=3"], ["train", f"--api-key={REDACTED}", "--epochs=3"]),
        (["--token", LONG, LONG], ["--token", REDACTED, LONG]),
        (["--token", "--epochs", LONG], ["--token", "--epochs", LONG]),
        (["--tokens", LONG], ["--tokens", LONG]),
        (["-c", "print('key')"], ["-c", "print('key')"]),
    ],
)
def test_flags_by_their_names(words, stored):
    assert without_credentials(template(args=words))["template"]["args"] == stored
    assert without_credentials(template(command=words))["template"]["command"] == stored


def test_a_run_without_a_template():
    assert without_credentials({"round": "v0.6", "template": None}) == {"round": "v0.6", "template": None}


def test_assignments_in_a_shells_command():
    command = ["sh", "-c", f"export HF_HUB_TOKEN={LONG}; train --db-password={LONG} --lr=0.123456789 LAYERS=resnet-50"]
    stored = without_credentials(template(command=command))["template"]["command"][2]
    assert stored == f"export HF_HUB_TOKEN={REDACTED}; train --db-password={REDACTED} --lr=0.123456789 LAYERS=resnet-50"


def test_annotations_by_their_names():
    stored = without_credentials(template(annotations={"example.com/token": LONG, "example.com/rack": LONG}))
    assert stored["template"]["annotations"] == {"example.com/token": REDACTED, "example.com/rack": LONG}
