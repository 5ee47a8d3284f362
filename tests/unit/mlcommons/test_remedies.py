"""A remedy says what to do, for every test of MLCommons' rules."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from podium.mlcommons import checker
from podium.mlcommons.process import Ruleset
from podium.mlcommons.remedies import remedy_for_line

compliance = pytest.importorskip("mlperf_logging.compliance_checker.mlp_compliance")
RULES = Path(compliance.__file__).parent

TESTS = [
    ("submission_status", "v['value'] in ['cloud', 'onprem', 'research']", "log one of 'cloud', 'onprem', 'research'"),
    ("submission_org", "v['value'] != ''", "log a value that is not empty"),
    ("opt_adam_beta_2", "v['value'] == 0.999", "log 0.999"),
    ("opt_weight_decay", "is_integer(math.log2(v['value'] / 0.0001))", "log a value that passes this test"),
    ("cache_clear", "( v['value'] == True ) and ( s['init_started'] == False )",
     "clear the caches before init_start, and log cache_clear with the value true"),
    ("run_stop", "s['run_started']  and not s['in_eval']",
     "log it after run_start and the last eval_stop, with the status success in its metadata"),
    ("eval_accuracy", "('epoch_num' in v['metadata']) | ('samples_count' in v['metadata'])",
     "add epoch_num or samples_count to its metadata"),
    ("block_start", "'first_epoch_num' in v['metadata'] if 'epoch_count' in v['metadata'] else True",
     "log it after run_start and the block_stop before it, with the first_epoch_num and the epoch_count"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "test", "remedy"), TESTS)
def test_a_remedy_says_what_to_log(key, test, remedy):
    assert remedy_for_line(key, test, "0.6.0") == f"{remedy} (MLCommons' rules for 0.6.0)"


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("Failed checks for eval_accuracy : v['value'] > 0.75", "train until it passes, and log each evaluation"),
        ("failed test: s['sgd'] == 1\ncurrent context[s]={}",
         "log every line that this test counts, as often as it says"),
        ("Failed executing CHECK code:\nv['value'] > 0\ntriggered by line:\n7\ncurrent context[s]={}",
         "log numbers as numbers, and in the metadata what the rules read there, such as epoch_num and status"),
    ],
)  # fmt: skip
def test_other_messages_have_remedies_too(monkeypatch, message, remedy):
    said = {"refused": [], "messages": [message]}
    monkeypatch.setattr(checker, "worker", lambda: SimpleNamespace(ask=lambda *_, **__: said))
    (finding,) = checker.Official(Ruleset("0.6.0", frozenset(), frozenset())).check([], "result_0.txt", "resnet")
    assert finding.remedy == f"{remedy} (MLCommons' rules for 0.6.0)"


def test_every_rule_has_a_remedy_that_begins_with_what_to_do():
    verbs = {"log", "add", "clear"}
    seen = 0
    for file in RULES.glob("training_[0-5].?.?/*.yaml"):
        for record in yaml.load(file.read_text(), Loader=yaml.CBaseLoader) or ():
            key = record.get("KEY", {})
            tests = key.get("CHECK", [])
            for test in [tests] if isinstance(tests, str) else tests:
                remedy = remedy_for_line(key["NAME"], test, "1.0.0")
                assert remedy.split()[0] in verbs, (file, remedy)
                seen += 1
    assert seen > 1000
