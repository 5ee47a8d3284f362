"""Published closed entries of v0.5 and v0.6 are admitted as they are, and train by the definition's rates."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.unit.benchmarks.conftest import REPOSITORY
from tests.unit.reconcile import examples as ex

import podium_benchmarks
from podium.mllog import parse
from podium.rounds import load_rounds
from podium.rules import check_spec
from podium_benchmarks.core import cli
from podium_benchmarks.core.settings import RunSettings

TABLE = Path(__file__).with_name("published_entries.yaml")
ENTRIES: dict[str, dict[str, Any]] = {row.pop("entry"): row for row in yaml.safe_load(TABLE.read_text())}
LOGS = next(
    (place for folder in (REPOSITORY, *REPOSITORY.parents) if (place := folder / "shared/data/mlperf_logs").exists()),
    Path("/nowhere"),
)
IMAGENET = 1_281_167
GNMT_STEPS = 1000  # in an epoch, as the table of the reference's own rates counts
# The checker of v0.6 asks for more than 0
REFUSED = [name for name, row in ENTRIES.items() if name.startswith("v0.6") and name.endswith("/maskrcnn")
           and row["logged"]["opt_learning_rate_warmup_factor"] == 0]  # fmt: skip
# What can't be in the table, and why
DEFERRED = "its log has identifiers instead of learning rates (DEFERRED), and no warm-up"
ONE_WORKER = "its log has the batch of one worker, and no warm-up"
LEFT_OUT = {
    "v0.5/Google/8xV100/resnet": "its log has rates of the first steps only, and no decay",
    "v0.5/Google/tpuv2-8/resnet": DEFERRED,
    "v0.5/Google/tpuv2-512/resnet": DEFERRED,
    "v0.5/Google/tpuv3-8/resnet": DEFERRED,
    "v0.5/Google/tpuv3-32/resnet": DEFERRED,
    "v0.5/Google/tpuv3-512/resnet": DEFERRED,
    "v0.5/Google/tpuv2-8/ssd": DEFERRED,
    "v0.5/Google/tpuv3-8/ssd": DEFERRED,
    "v0.5/Google/tpuv3-32/ssd": DEFERRED,
    "v0.5/Google/tpuv2-8/gnmt": "its log has neither warm-up nor decay",
    "v0.5/Google/tpuv3-8/gnmt": "its log has neither warm-up nor decay",
    "v0.5/Google/tpuv3-32/gnmt": "its log has neither warm-up nor decay",
    "v0.5/Intel/skx_8180_2s_1x/resnet": ONE_WORKER,
    "v0.5/Intel/skx_8180_2s_8x/resnet": ONE_WORKER,
    "v0.5/Intel/skx_8180_4s_4x/resnet": ONE_WORKER,
    "v0.5/Intel/skx8180/ncf": "its log has no batch size, and its epsilon is not the reference's, which the rules fix",
    "v0.6/Alibaba/sinian/resnet": "its log has no hyperparameters of the optimizer",
}
# Most epochs, or models of MiniGo, that a published run of v0.5 or v0.6 took. ResNet, SSD: NVIDIA's n130 and n30 in
# v0.6; Mask R-CNN: the longest of v0.6; NCF: NVIDIA's DGX-1 in v0.5
LONGEST = {"resnet": 86, "ssd": 71, "maskrcnn": 18, "gnmt": 9, "transformer": 6, "ncf": 19, "minigo": 21}
COCO_IMAGES = 117_266  # with boxes
# Closed entries in mlcommons/training_results_v0.5 and _v0.6
PUBLISHED = {
    "v0.5": {"resnet": 14, "ssd": 8, "maskrcnn": 5, "gnmt": 8, "transformer": 4, "ncf": 4, "minigo": 4},
    "v0.6": {"resnet": 14, "ssd": 13, "maskrcnn": 9, "gnmt": 11, "transformer": 12, "minigo": 4},
}


def configured(name: str) -> Any:
    """The trainer's settings for an entry, as the operator passes them: over the round's own defaults."""
    round_, _, _, benchmark = name.split("/")
    row = ENTRIES[name]
    asked = {**row["logged"], **row.get("chosen", {}), **row.get("trained", {})}
    hyperparameters = {**load_rounds()[round_].benchmarks[benchmark].defaults, **asked}
    request = cli.Request("full", None, hyperparameters, RunSettings())
    return cli.configure(podium_benchmarks.benchmark(benchmark), request)


def learning_rate(benchmark: str, config: Any, step: int) -> float:
    """The trainer's rate of a step, counted from 0."""
    if benchmark == "ncf":  # constant: the optimizer is made with it
        module = podium_benchmarks.benchmark("ncf").load("optimizer")
        return float(module.build_optimizer(torch.nn.Linear(1, 1), config).param_groups[0]["lr"])
    more = {"resnet": (math.ceil(IMAGENET / config.global_batch_size),), "gnmt": (GNMT_STEPS,)}
    rate = podium_benchmarks.benchmark(benchmark).load("train").learning_rate
    return float(rate(config, step, *more.get(benchmark, ())))


def test_every_published_entry_is_in_the_table_or_left_out_for_a_reason() -> None:
    names = [name for name in (*ENTRIES, *LEFT_OUT) if name.split("/")[1] != "reference"]
    for round_, counts in PUBLISHED.items():
        found = Counter(name.rpartition("/")[2] for name in names if name.startswith(f"{round_}/"))
        assert found == counts
    assert not set(ENTRIES) & set(LEFT_OUT)
    assert {str(folder.relative_to(LOGS)) for folder in LOGS.glob("v*/*/*/*")} <= set(ENTRIES)


@pytest.mark.parametrize("name", ENTRIES)
def test_the_round_admits_the_entry(name: str) -> None:
    round_, _, _, benchmark = name.split("/")
    row = ENTRIES[name]
    hyperparameters = {**row["logged"], **row.get("chosen", {})}
    closed = {"division": "closed", "preset": "full", "quality": None}
    spec = ex.spec(round=round_, benchmark=benchmark, hyperparameters=hyperparameters, **closed)
    found = check_spec(spec, load_rounds())
    assert [finding.rule for finding in found] == (["v0.6.maskrcnn.warmup_step"] if name in REFUSED else [])


@pytest.mark.parametrize("name", ENTRIES)
def test_the_trainer_takes_the_entry_on_as_many_ranks(name: str) -> None:
    row, config = ENTRIES[name], configured(name)
    asked = {**row["logged"], **row.get("chosen", {}), **row.get("trained", {})}
    for key, value in asked.items():
        taken = getattr(config, key, value)  # lars_* have another name there
        assert taken == (
            value if not isinstance(taken, tuple) else tuple(value) if isinstance(value, list) else (value,)
        )
    if "ranks" in row and "model_bn_span" in row["logged"]:
        shard = config.global_batch_size // row["ranks"]
        shared = row["logged"]["model_bn_span"] // shard
        assert config.bn_ranks(row["ranks"]) == (0 if shared == 1 else shared)


@pytest.mark.parametrize("name", ENTRIES)
def test_the_rates_are_the_definitions(name: str) -> None:
    benchmark, config = name.rpartition("/")[2], configured(name)
    rates = ENTRIES[name]["rates"]
    assert len(rates) == 20
    found = {number: learning_rate(benchmark, config, number - 1) for number in rates}
    assert found == pytest.approx(rates, rel=1e-6, abs=1e-15)


@pytest.mark.parametrize("name", ENTRIES)
def test_the_trainer_goes_on_for_as_long_as_a_published_run_did(name: str) -> None:
    benchmark, config = name.rpartition("/")[2], configured(name)
    epochs = config.max_epochs
    if benchmark == "ssd":  # ends with its last evaluation, which is counted in images
        steps_per_epoch = math.ceil(COCO_IMAGES / config.global_batch_size)
        epochs = max(config.evaluation_steps(steps_per_epoch)) / steps_per_epoch
    assert epochs >= LONGEST[benchmark]


@pytest.mark.parametrize("name", [name for name in ENTRIES if (LOGS / name).exists()])
def test_no_log_has_more_epochs_than_the_longest(name: str) -> None:
    round_, _, _, benchmark = name.split("/")
    log_rules = load_rounds()[round_].log_rules
    keys = log_rules.keys if log_rules else {}
    events = [event for file in (LOGS / name).iterdir()
              for event in parse(file.read_text(encoding="utf-8", errors="replace"))[0]]  # fmt: skip
    evaluated = [event for event in events if keys.get(event.key, event.key) == "eval_accuracy"]
    assert 1 <= max(event.metadata["epoch_num"] for event in evaluated) <= LONGEST[benchmark]


@pytest.mark.parametrize("name", [name for name in ENTRIES if (LOGS / name).exists()])
def test_the_table_says_what_the_logs_say(name: str) -> None:
    round_ = load_rounds()[name.split("/", maxsplit=1)[0]]
    keys = round_.log_rules.keys if round_.log_rules else {}
    logged: dict[str, dict[str, Any]] = {}
    for file in (LOGS / name).iterdir():
        for event in parse(file.read_text(encoding="utf-8", errors="replace"))[0]:
            value = event.value.lower() if isinstance(event.value, str) else event.value
            logged.setdefault(keys.get(event.key, event.key), {})[str(value)] = value
    wanted = ENTRIES[name]["logged"]
    compared = {key: list(logged[key].values()) for key in wanted if key in logged}
    assert set(compared) == set(wanted) if round_.name == "v0.6" else {"opt_base_learning_rate"} <= set(compared)
    assert compared == {key: [pytest.approx(wanted[key])] for key in compared}


@pytest.mark.parametrize(
    ("example", "entry"),
    [
        ("resnet", "v0.6/NVIDIA/dgx1_ngc19.05_mxnet/resnet"),
        ("kueue", "v0.6/NVIDIA/dgx1_ngc19.05_mxnet/resnet"),
        ("resnet-run", "v0.6/NVIDIA/dgx2_ngc19.05_mxnet/resnet"),
        ("ssd", "v0.6/NVIDIA/dgx1_ngc19.05_pytorch/ssd"),
        ("maskrcnn", "v0.6/NVIDIA/dgx1_ngc19.05_pytorch/maskrcnn"),
        ("gnmt", "v0.6/NVIDIA/dgx1_ngc19.05_pytorch/gnmt"),
        ("transformer", "v0.6/NVIDIA/dgx1_ngc19.05_pytorch/transformer"),
    ],
)
def test_an_example_carries_the_entry_that_it_names(example: str, entry: str) -> None:
    file = REPOSITORY / "examples" / f"{example}.yaml"
    spec = yaml.safe_load(file.read_text())["spec"]
    row = ENTRIES[entry]
    published = {**row["logged"], **row.get("chosen", {})}
    assert spec["hyperparameters"].items() <= published.items()
    assert set(published) - set(spec["hyperparameters"]) <= {"model_bn_span", "lars_opt_end_learning_rate"}
    assert spec["system"]["nodes"] * spec["system"]["acceleratorsPerNode"] == row["ranks"]
    assert entry.split("/")[2] in file.read_text() or "as in resnet.yaml" in file.read_text()


def test_full_resnet_is_the_entry_that_reached_the_target_of_v06_in_56_to_60_epochs() -> None:
    """No hyperparameter set, on 8 ranks."""
    full = podium_benchmarks.benchmark("resnet").presets["full"]
    entry = configured("v0.6/NVIDIA/dgx1_ngc19.05_mxnet/resnet")
    assert full.decay_steps(math.ceil(IMAGENET / full.global_batch_size)) == 51590
    assert dataclasses.replace(entry, opt_learning_rate_decay_steps=0, model_bn_span=0) == full


@pytest.mark.parametrize(("example", "images"), [("resnet", 7_500), ("ssd", 3_000), ("maskrcnn", 180)])
def test_an_example_has_the_cpus_to_decode_for_fast_gpus(example: str, images: int) -> None:
    """A CPU decodes about 500 images a second (docs/performance/resnet.md), an H200 trains on that many."""
    spec = yaml.safe_load((REPOSITORY / "examples" / f"{example}.yaml").read_text())["spec"]
    cpus = int(spec["template"]["resources"]["requests"]["cpu"])
    assert cpus * 500 >= spec["system"]["acceleratorsPerNode"] * images
