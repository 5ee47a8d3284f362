"""``podium round``: the rounds as a person reads them."""

from __future__ import annotations

import pytest


def test_list_names_every_round(podium_json, podium_text):
    code, rounds = podium_json("round", "list")
    assert code == 0
    names = [r["name"] for r in rounds]
    assert names[:3] == ["v0.5", "v0.6", "v0.7"]
    ours = "with your image; llama31_8b with Podium's trainer"
    limits = {r["name"]: r["abilities"]["run"] for r in rounds}
    assert (limits["v0.6"], limits["v4.0"], limits["v5.1"], limits["v6.1"]) == ("", "with your image", ours, ours)
    assert "unet3d" in next(r for r in rounds if r["name"] == "v2.0")["benchmarks"]
    code, text = podium_text("round", "list")
    words = " ".join(text.split())
    assert "v4.1 yes (5) yes yes yes yes bert, dlrm_dcnv2, gpt3, ssd," in words
    assert f"(5) with your image (6) {ours}" in words
    assert max(map(len, text.splitlines())) <= 80


def test_show_lists_targets_attempts_and_what_is_tunable(podium_json, podium_text):
    _, round_ = podium_json("round", "show", "0.6")
    assert round_["clock"]["max_init_seconds"] == 1200
    beta = round_["benchmarks"]["transformer"]["tunable"]["opt_adam_beta_1"]
    assert (beta["rule"]["values"], beta["text"], beta["id"]) == ([0.86, 0.9], "0.86 or 0.9", "v0.6.transformer.beta_1")
    assert (beta["source"], beta["reference"]) == ("transformer.yaml:28", 0.9)
    assert round_["benchmarks"]["resnet"]["tunable"]["opt_base_learning_rate"]["text"] == "number, more than 0"
    _, text = podium_text("round", "show", "v0.6", "--benchmark", "maskrcnn")
    assert "model creation  untimed, less than 20 minutes" in text
    assert "maskrcnn   BBOX >= 0.377         5   1+1     1  1 epoch" in text
    assert "SEGM >= 0.339" in text
    assert "v0.6.maskrcnn.candidates, maskrcnn.yaml:23; reference: 2000" in " ".join(text.split())
    assert "mlperf_logging 4.1.68 compliance_checker/training_0.6.0" in text
    assert "v0.6.resnet." not in text
    assert max(map(len, text.splitlines())) <= 80


def test_show_prints_the_formulas_of_v05_and_what_is_fixed(podium_text):
    _, text = podium_text("round", "show", "v0.5", "--benchmark", "resnet")
    words = " ".join(text.split())
    assert "0.1 or 0.128, times a whole number, or that times global_batch_size / 256 v0.5.resnet.rate" in words
    assert "[30, 60, 80, 90], times 1 + k/10 for one whole number k of 0 or more, rounded down" in words
    assert "1 - 1/2^k for a whole number k: 0, 0.5, 0.75, 0.875, ..." in words
    assert "(opt_momentum) fixed: 0.9 v0.5.resnet.momentum, training_rules.adoc:255" in words
    assert "training_rules.adoc: mlcommons/training_policies@a2c358a training_rules.adoc" in words
    assert max(map(len, text.splitlines())) <= 80


def test_a_later_round(podium_text):
    _, text = podium_text("round", "show", "v1.0")
    assert "unet3d mean_dice >= 0.908 40 4+4 4" in " ".join(text.split())
    assert "rnnt wer <= 0.058 10 1+1 1" in " ".join(text.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("v0.4",), "v0.4: no such round; choose one of v0.5, v0.6"),
        (("v0.6", "--benchmark", "bert"), "v0.6 has no benchmark bert; choose one of resnet, ssd"),
    ],
)
def test_wrong_use(podium_text, arguments, sentence):
    code, text = podium_text("round", "show", *arguments)
    assert (code, sentence in text) == (2, True)
