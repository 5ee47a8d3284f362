"""A trainer is its package and its line in podium_benchmarks.TRAINERS: nothing else knows it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from podium_benchmarks import TRAINERS, benchmarks
from podium_benchmarks.resnet import BENCHMARK as RESNET

PACKAGE = Path(__file__).resolve().parents[3] / "benchmarks" / "podium_benchmarks"
COIN = {
    "__init__.py": '''"""A coin that learns to land on its edge."""

from podium_benchmarks.coin.config import PRESETS
from podium_benchmarks.core.benchmark import Benchmark, Performance
from podium_benchmarks.prepare.recipe import Recipe

BENCHMARK = Benchmark(
    name="coin", task="coins, tossing, edge rate", presets=PRESETS,
    preparation=Recipe("coins", "CC0", 1), performance=Performance(tiny_seconds=1), target_is_percent=True,
)
''',
    "__main__.py": """import sys

from podium_benchmarks.coin import BENCHMARK
from podium_benchmarks.core import cli

if __name__ == "__main__":
    sys.exit(cli.run(BENCHMARK))
""",
    "config.py": """from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Config:
    target: float
    max_epochs: int
    sides: int


FULL = Config(target=0.5, max_epochs=9, sides=1000)
TINY = replace(FULL, sides=3)
PRESETS = {"tiny": TINY, "full": FULL}
""",
    "data.py": "def check_data(config, data_dir): pass\n",
    "model.py": """from torch import nn


def full_model(config):
    return nn.Linear(config.sides, 2)
""",
    "train.py": """from podium_benchmarks.core import clock, dist


def train(config, settings):
    ranks = dist.join()
    log = clock.open_log(ranks, "coin", settings, config.max_epochs)
    clock.log_hyperparameters(log, settings.seed, {"sides": config.sides})
    clock.start(log, ranks, config.max_epochs)
    quality = clock.evaluation(log, 1, lambda: 1 / config.sides)
    clock.stop(log, ranks, settings, reached=quality >= config.target, epoch=1)
""",
}


@pytest.fixture(scope="module")
def with_coin(tmp_path_factory):
    """Runs a module of a copy of the package to which the coin has been added."""
    folder = tmp_path_factory.mktemp("with-coin")
    copy = folder / "podium_benchmarks"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "coin").mkdir()
    for name, text in COIN.items():
        (copy / "coin" / name).write_text(text)
    listing = (copy / "__init__.py").read_text()
    (copy / "__init__.py").write_text(listing.replace('    "minigo",\n', '    "minigo",\n    "coin",\n'))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PODIUM_")}

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run([sys.executable, "-m", *words], env=environment | {"PYTHONPATH": str(folder)},
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    return run


def test_a_new_trainer_is_listed_counted_and_prepared(with_coin):
    assert "  coin        coins, tossing, edge rate" in with_coin("podium_benchmarks")
    assert "  coin        coins, tossing, edge rate" in with_coin("podium_benchmarks", "--help")
    counts = json.loads(with_coin("podium_benchmarks", "params", "--json"))
    assert (counts["coin"], counts["resnet"]) == (2002, 25_557_032)
    assert "coin" in with_coin("podium_benchmarks", "prepare", "--help").split("}")[0]


def test_a_new_trainer_runs_by_the_same_command_line(with_coin, log_lines):
    usage = with_coin("podium_benchmarks.coin", "--help")
    assert "A coin that learns to land on its edge." in usage
    assert "keys for --set: max_epochs, sides" in usage
    assert "a number above 0 and up to 1 (or up to 100, in percent)" in " ".join(usage.split())
    lines = log_lines(with_coin("podium_benchmarks.coin", "--seed", "5", "--target", "10", "--set", "sides=7"))
    assert [line["key"] for line in lines if not line["key"].startswith("submission_")] == [
        "number_of_ranks", "cache_clear", "init_start", "seed", "sides", "init_stop", "run_start", "eval_start",
        "eval_accuracy", "eval_stop", "run_stop",
    ]  # fmt: skip
    assert (lines[0]["value"], lines[-1]["metadata"]["status"]) == ("coin", "success")
    refusal = with_coin("podium_benchmarks.coin", "--set", "side=7", code=2)
    assert "coin: unknown hyperparameter 'side'; did you mean sides? known are max_epochs, sides" in refusal


def test_every_package_is_listed_under_its_own_name():
    assert sorted(TRAINERS) == sorted(file.parent.name for file in PACKAGE.glob("*/__main__.py"))
    assert [record.name for record in benchmarks()] == list(TRAINERS)


def test_tunables_are_the_settings_but_the_target():
    assert {"global_batch_size", "opt_name"} <= set(RESNET.tunables)
    assert "target" not in RESNET.tunables


def test_listing_benchmarks_imports_no_torch():
    program = "import sys; from podium_benchmarks import __main__; __main__.main(); sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "minigo" in done.stdout) == (0, True), done.stderr
