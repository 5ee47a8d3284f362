"""Published closed entries of GNMT, Transformer and NCF: admitted, and trained at the rates their definitions give.

The tables come from the definitions' own code: the reference's WarmupMultiStepLR (mlcommons/training, gnmt), NVIDIA's
InverseSquareRootSchedule (training_results_v0.6, transformer, fairseq), and the reference's get_learning_rate
(mlcommons/training, transformer_main.py). Steps are counted from 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import podium_benchmarks
from podium.api import BenchmarkRunSpec
from podium.mllog import parse, summarize
from podium.rounds import load_rounds
from podium.rules import check_spec, plain_value
from podium_benchmarks.core import cli
from podium_benchmarks.core.settings import RunSettings
from podium_benchmarks.gnmt import train as gnmt
from podium_benchmarks.transformer import train as transformer

ROOT = Path(__file__).resolve().parents[3]
LOGS = next((folder for up in ROOT.parents if (folder := up / "shared/data/mlperf_logs").is_dir()), ROOT / "none")
SPEC = {"system": {"name": "published", "nodes": 1, "acceleratorsPerNode": 8}}

# Hyperparameters as the logs have them, and the rate at some steps
GNMT: dict[str, tuple[dict[str, Any], dict[int, float]]] = {
    "v0.6/NVIDIA/dgx1_ngc19.05_pytorch": (
        {"global_batch_size": 2048, "opt_base_learning_rate": 0.002, "opt_learning_rate_warmup_steps": 200,
         "opt_learning_rate_remain_steps": 6453, "opt_learning_rate_decay_interval": 809, "max_sequence_length": 75},
        {0: 2.04658598e-05, 1: 2.0942571e-05, 49: 6.32455532e-05, 99: 0.0002, 100: 0.000204658598,
         150: 0.000647187314, 198: 0.00195447444, 199: 0.002, 200: 0.002, 201: 0.002, 1000: 0.002, 6451: 0.002,
         6452: 0.001, 6453: 0.001, 7260: 0.001, 7261: 0.0005, 8069: 0.0005, 8070: 0.00025, 8879: 0.000125,
         20000: 0.000125},
    ),
    "v0.6/NVIDIA/dgx2h_n16_ngc19.05_pytorch": (
        {"global_batch_size": 8192, "opt_base_learning_rate": 0.004, "opt_learning_rate_warmup_steps": 200,
         "opt_learning_rate_remain_steps": 2259, "opt_learning_rate_decay_interval": 283, "max_sequence_length": 75},
        {0: 4.09317197e-05, 1: 4.18851419e-05, 49: 0.000126491106, 99: 0.0004, 100: 0.000409317197,
         150: 0.00129437463, 198: 0.00390894888, 199: 0.004, 200: 0.004, 201: 0.004, 1000: 0.004, 2257: 0.004,
         2258: 0.002, 2259: 0.002, 2540: 0.002, 2541: 0.001, 2823: 0.001, 2824: 0.0005, 3107: 0.00025, 20000: 0.00025},
    ),
    "v0.6/NVIDIA/dgx1_n48_ngc19.05_pytorch": (
        {"global_batch_size": 12288, "opt_base_learning_rate": 0.0045, "opt_learning_rate_warmup_steps": 200,
         "opt_learning_rate_remain_steps": 1924, "opt_learning_rate_decay_interval": 241, "max_sequence_length": 75},
        {0: 4.60481847e-05, 1: 4.71207847e-05, 49: 0.000142302495, 99: 0.00045, 100: 0.000460481847,
         150: 0.00145617146, 198: 0.00439756749, 199: 0.0045, 200: 0.0045, 201: 0.0045, 1000: 0.0045, 1922: 0.0045,
         1923: 0.00225, 1924: 0.00225, 2163: 0.00225, 2164: 0.001125, 2404: 0.001125, 2405: 0.0005625,
         2646: 0.00028125, 20000: 0.00028125},
    ),
    # the reference's own settings, with 1,000 steps in each of its 8 epochs
    "reference": (
        {},
        {0: 1.02329299e-05, 1: 1.04712855e-05, 49: 3.16227766e-05, 99: 0.0001, 100: 0.000102329299,
         150: 0.000323593657, 198: 0.000977237221, 199: 0.001, 200: 0.001, 201: 0.001, 5326: 0.001, 5327: 0.0005,
         5328: 0.0005, 5994: 0.0005, 5995: 0.00025, 6663: 0.000125, 6664: 0.000125, 7331: 6.25e-05, 7332: 6.25e-05,
         7999: 6.25e-05},
    ),
}  # fmt: skip
_NVIDIA_64 = {"opt_name": "adam", "opt_base_learning_rate": 0.001976, "opt_learning_rate_warmup_steps": 1000,
              "opt_adam_beta_1": 0.9, "opt_adam_beta_2": 0.98, "opt_adam_epsilon": 1e-9}  # fmt: skip
_NVIDIA_64_RATES = {
    0: 0.0, 1: 1.976e-06, 2: 3.952e-06, 9: 1.7784e-05, 99: 0.000195624, 249: 0.000492024, 499: 0.000986024,
    500: 0.000988, 749: 0.001480024, 998: 0.001972048, 999: 0.001974024, 1000: 0.001976, 1001: 0.00197501274,
    1002: 0.00197402696, 1999: 0.00139759244, 2500: 0.00124973213, 3000: 0.00114084413, 3999: 0.000988123523,
    4000: 0.000988, 7000: 0.000746857799,
}  # fmt: skip
TRANSFORMER: dict[str, tuple[dict[str, Any], dict[int, float]]] = {
    "v0.6/NVIDIA/dgx1_ngc19.05_pytorch": (
        _NVIDIA_64 | {"global_batch_size": 81920, "max_sequence_length": 64}, _NVIDIA_64_RATES,
    ),
    "v0.6/NVIDIA/dgx2h_ngc19.05_pytorch": (
        _NVIDIA_64 | {"global_batch_size": 131072, "max_sequence_length": 80}, _NVIDIA_64_RATES,
    ),
    "v0.6/NVIDIA/dgx1_n60_ngc19.05_pytorch": (
        {"global_batch_size": 614400, "max_sequence_length": 80, "opt_name": "adam", "opt_base_learning_rate": 0.001732,
         "opt_learning_rate_warmup_steps": 550, "opt_adam_beta_1": 0.86, "opt_adam_beta_2": 0.92,
         "opt_adam_epsilon": 1e-9},
        {0: 0.0, 1: 3.14909091e-06, 2: 6.29818182e-06, 9: 2.83418182e-05, 99: 0.00031176, 249: 0.000784123636,
         274: 0.000862850909, 275: 0.000866, 400: 0.00125963636, 548: 0.00172570182, 549: 0.00172885091, 550: 0.001732,
         551: 0.0017304276, 552: 0.00172885947, 1099: 0.00122526601, 1100: 0.00122470895, 1500: 0.00104877808,
         2199: 0.000866196885, 2200: 0.000866, 5000: 0.000574439414},
    ),
    # Google counts sentences per batch; its scale is the reference's
    "v0.6/Google/tpu-v3-128": (
        {"global_batch_size": 512, "max_sequence_length": 80, "opt_name": "adam", "opt_base_learning_rate": 2.0,
         "opt_learning_rate_warmup_steps": 1000, "opt_adam_beta_1": 0.9, "opt_adam_beta_2": 0.98,
         "opt_adam_epsilon": 1e-9},
        {0: 0.0, 1: 1.97642354e-06, 2: 3.95284708e-06, 9: 1.77878118e-05, 99: 0.00019566593, 249: 0.000492129461,
         499: 0.000986235345, 500: 0.000988211769, 749: 0.00148034123, 998: 0.00197247069, 999: 0.00197444711,
         1000: 0.00197642354, 1001: 0.00197543607, 1002: 0.00197445007, 1999: 0.001397892, 2500: 0.00125,
         3000: 0.00114108866, 3999: 0.000988335318, 4000: 0.000988211769, 7000: 0.000747017881},
    ),
    "v0.6/Google/tpu-v3-2048": (
        {"global_batch_size": 2048, "max_sequence_length": 80, "opt_name": "adam", "opt_base_learning_rate": 1.3,
         "opt_learning_rate_warmup_steps": 550, "opt_adam_beta_1": 0.86, "opt_adam_beta_2": 0.92,
         "opt_adam_epsilon": 1e-9},
        {0: 0.0, 1: 3.14955604e-06, 2: 6.29911207e-06, 9: 2.83460043e-05, 99: 0.000311806048, 249: 0.000784239453,
         274: 0.000862978354, 275: 0.00086612791, 400: 0.00125982241, 548: 0.00172595671, 549: 0.00172910626,
         550: 0.00173225582, 551: 0.00173068319, 552: 0.00172911483, 1099: 0.00122544699, 1100: 0.00122488984,
         1500: 0.00104893299, 2199: 0.000866324825, 2200: 0.00086612791, 5000: 0.00057452426},
    ),
    "reference": (
        {},
        {0: 0.0, 1: 3.08816178e-08, 2: 6.17632356e-08, 9: 2.7793456e-07, 99: 3.05728016e-06, 999: 3.08507362e-05,
         3999: 0.000123495589, 7999: 0.000247022061, 8000: 0.000247052942, 11999: 0.000370548532,
         15998: 0.000494044121, 15999: 0.000494075003, 16000: 0.000494105884, 16001: 0.000494090444,
         16002: 0.000494075006, 20000: 0.000441941738, 24000: 0.000403435765, 31999: 0.000349391081,
         32000: 0.000349385621, 39999: 0.000312503906},
    ),
}  # fmt: skip
TABLES = {"gnmt": GNMT, "transformer": TRANSFORMER}
ROWS = [(name, entry) for name, table in TABLES.items() for entry in table]
ENTRIES = sorted(
    str(folder.relative_to(LOGS)) for name in ("gnmt", "transformer", "ncf") for folder in LOGS.glob(f"*/*/*/{name}")
)


def configured(benchmark: str, hyperparameters: dict[str, Any]) -> Any:
    """What the trainer makes of them, as it gets them from the operator."""
    return cli.configure(
        podium_benchmarks.benchmark(benchmark), cli.Request("full", None, hyperparameters, RunSettings())
    )


def refusals(round_: str, benchmark: str, hyperparameters: dict[str, Any]) -> list[str]:
    """What the rules of the closed division have against them."""
    spec = {"round": round_, "benchmark": benchmark, "division": "closed", "hyperparameters": hyperparameters, **SPEC}
    return [finding.message for finding in check_spec(BenchmarkRunSpec.model_validate(spec), load_rounds())]


@pytest.mark.parametrize(("benchmark", "entry"), ROWS)
def test_rates_are_the_definitions(benchmark: str, entry: str) -> None:
    hyperparameters, rates = TABLES[benchmark][entry]
    config = configured(benchmark, hyperparameters)
    assert len(rates) == 20
    if benchmark == "gnmt":
        found = {step: gnmt.learning_rate(config, step, steps_per_epoch=1000) for step in rates}
    else:
        found = {step: transformer.learning_rate(config, step) for step in rates}
    assert found == pytest.approx(rates, rel=1e-6, abs=1e-15)


@pytest.mark.parametrize(("benchmark", "entry"), [row for row in ROWS if row[1] != "reference"])
def test_entries_of_the_table_are_admitted(benchmark: str, entry: str) -> None:
    assert refusals(entry.split("/", maxsplit=1)[0], benchmark, TABLES[benchmark][entry][0]) == []


@pytest.mark.skipif(not ENTRIES, reason="the published logs are not here")
@pytest.mark.parametrize("entry", ENTRIES)
def test_published_logs_are_admitted_and_are_those_of_the_table(entry: str) -> None:
    """Every log of the entry; NCF's rate is constant."""
    round_, org, system, name = entry.split("/")
    benchmark, rules = load_rounds()[round_].benchmarks[name], load_rounds()[round_].log_rules
    names = {"input_batch_size": "global_batch_size", **(rules.keys if rules else {})}
    files = list((LOGS / entry).glob("result_*.txt"))
    assert files
    for file in files:
        events, _ = parse(file.read_text(encoding="utf-8", errors="replace"))
        summary = summarize(events)
        logged = {event.key: event.value for event in events if event.key in names} | summary.hyperparameters
        logged = {names.get(key, key): value for key, value in logged.items()}
        given = {key: plain_value(value, benchmark.tunable[key].type) for key, value in logged.items()
                 if key in benchmark.tunable}  # fmt: skip
        assert len(given) >= 5
        assert refusals(round_, name, given) == []
        config = configured(name, given)
        assert {key: getattr(config, key) for key in given} == given
        if name == "ncf":
            assert given == {"global_batch_size": 1_048_576, "opt_name": "adam", "opt_base_learning_rate": 0.0045,
                             "opt_adam_beta_1": 0.25, "opt_adam_beta_2": 0.5}  # fmt: skip
            assert config.opt_adam_epsilon == logged["opt_hp_Adam_epsilon"]
        else:
            expected = TABLES[name][f"{round_}/{org}/{system}"][0]
            assert {key: value for key, value in given.items() if key in expected} == expected


@pytest.mark.parametrize("benchmark", ["gnmt", "transformer"])
def test_the_example_is_the_published_entry_it_names(benchmark: str) -> None:
    text = (ROOT / f"examples/{benchmark}.yaml").read_text()
    assert "v0.6, dgx1_ngc19.05_pytorch" in text
    given = yaml.safe_load(text)["spec"]["hyperparameters"]
    expected = TABLES[benchmark]["v0.6/NVIDIA/dgx1_ngc19.05_pytorch"][0]
    assert {key: given[key] for key in expected} == expected


# ---- what a log says is what the optimizer does

TINY_RUNS = {
    "gnmt": ("hidden_size=16", "layers=2", "toy_pairs=900", "global_batch_size=31", "max_decode_length=10",
             "opt_learning_rate_warmup_steps=5", "opt_learning_rate_remain_steps=8",
             "opt_learning_rate_decay_interval=3", "max_epochs=2"),
    "transformer": ("hidden_size=16", "filter_size=32", "layers=1", "toy_pairs=900", "global_batch_size=600",
                    "opt_base_learning_rate=0.001976", "opt_learning_rate_warmup_steps=5", "max_epochs=2"),
    "ncf": ("generated_users=300", "generated_items=200", "global_batch_size=6000", "opt_adam_beta_1=0.25",
            "opt_adam_beta_2=0.5", "opt_base_learning_rate=0.0045", "max_epochs=2"),
}  # fmt: skip


def logged_rate(benchmark: str, log: dict[str, Any], step: int) -> float:
    """The rate of a step by the definition, from what the log says alone."""
    base = log["opt_base_learning_rate"]
    if benchmark == "ncf":
        return base
    warmup = log["opt_learning_rate_warmup_steps"]
    if benchmark == "transformer":
        return base * step / warmup if step < warmup else base * (warmup / step) ** 0.5
    number, remain = step + 1, log["opt_learning_rate_remain_steps"]
    if number <= warmup:
        return base * 0.01 ** (1 - number / warmup)
    decays = 0 if number < remain else (number - remain) // log["opt_learning_rate_decay_interval"] + 1
    return base * log["opt_learning_rate_decay_factor"] ** min(decays, log["opt_learning_rate_decay_steps"])


@pytest.mark.parametrize("benchmark", sorted(TINY_RUNS))
def test_a_log_has_the_values_that_the_optimizer_uses(
    benchmark: str,
    launch: Callable[..., Any],
    log_lines: Callable[[str], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[dict[str, Any]] = []
    original = torch.optim.Adam.step

    def watched(self: torch.optim.Adam, *arguments: Any) -> Any:
        steps.append(dict(self.param_groups[0]))
        return original(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    settings = itertools.chain.from_iterable(("--set", setting) for setting in TINY_RUNS[benchmark])
    run = launch(benchmark, "--target", "1.0", "--seed", "5", "--set", "precision=fp32", *settings)
    assert run.returncode == 0, run.stderr
    log = {line["key"]: line["value"] for line in log_lines(run.stdout)}
    assert len(steps) >= 10
    for step, group in enumerate(steps):
        assert group["lr"] == pytest.approx(logged_rate(benchmark, log, step), rel=1e-6)
        assert (*group["betas"], group["eps"]) == (
            log["opt_adam_beta_1"], log["opt_adam_beta_2"], log["opt_adam_epsilon"],
        )  # fmt: skip
    assert log["opt_name"] == "adam"
