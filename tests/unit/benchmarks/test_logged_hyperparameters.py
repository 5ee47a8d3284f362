"""The log's hyperparameters are those of the optimizer at work: read off its groups before every step it takes."""

import math

import pytest
import torch

from podium_benchmarks.resnet.optimizer import Lars

STEPS_PER_EPOCH = 12  # 1,437 digits in batches of 128


@pytest.fixture
def steps(monkeypatch):
    """The groups of parameters, without the parameters, at each step of any optimizer."""
    taken = []
    for kind in (torch.optim.SGD, torch.optim.Adam, Lars):

        def step(self, *args, original=kind.step, **kwargs):
            taken.append(
                [{key: value for key, value in group.items() if key != "params"} for group in self.param_groups]
            )
            return original(self, *args, **kwargs)

        monkeypatch.setattr(kind, "step", step)
    return taken


@pytest.fixture
def logged(launch, log_lines):
    """Runs a trainer; the values of its log by key."""

    def run(benchmark, *settings, target=None):
        words = [word for setting in settings for word in ("--set", setting)]
        done = launch(benchmark, "--seed", "1", *words, *(("--target", target) if target else ()))
        assert done.returncode == 0, done.stderr
        return {line["key"]: line["value"] for line in log_lines(done.stdout)}

    return run


def drops(rates):
    """Places of steps, from 0, that have a tenth of the rate before."""
    return [place for place in range(1, len(rates)) if rates[place] == pytest.approx(rates[place - 1] / 10)]


def test_resnet_with_lars(logged, steps):
    log = logged(
        "resnet", "max_epochs=5", "epochs_between_evals=5", "eval_offset_epochs=0", "global_batch_size=128",
        "opt_name=lars", "opt_base_learning_rate=2", "opt_learning_rate_warmup_epochs=1", "decay_end_epoch=4",
        "opt_learning_rate_decay_poly_power=2", "lars_opt_end_learning_rate=0.01", "lars_opt_weight_decay=0.0003",
        "lars_epsilon=0.00001", "opt_momentum=0.8", "opt_learning_rate_decay_boundary_epochs=2,3",
    )  # fmt: skip
    assert len(steps) == 5 * STEPS_PER_EPOCH
    rates = [groups[0]["lr"] for groups in steps]
    first, rest = steps[0]
    assert log["opt_base_learning_rate"] == log["lars_opt_base_learning_rate"] == max(rates)
    warmup = rates.index(max(rates)) + 1
    assert log["opt_learning_rate_warmup_epochs"] == warmup / STEPS_PER_EPOCH
    assert log["lars_opt_end_learning_rate"] == min(rates[warmup:]) == rates[-1]
    length = rates.index(rates[-1], warmup) + 1 - warmup
    assert log["lars_opt_learning_rate_decay_steps"] == length == 3 * STEPS_PER_EPOCH
    middle = (rates[warmup + length // 2 - 1] - rates[-1]) / (max(rates) - rates[-1])
    assert log["lars_opt_learning_rate_decay_poly_power"] == pytest.approx(math.log(middle) / math.log(0.5))
    assert log["lars_opt_weight_decay"] == log["opt_weight_decay"] == first["weight_decay"]
    assert rest["weight_decay"] == 0
    assert log["lars_opt_momentum"] == first["momentum"] == rest["momentum"]
    assert log["lars_epsilon"] == first["epsilon"]
    assert not [key for key in log if "boundary" in key]


def test_resnet_with_sgd_and_boundaries(logged, steps):
    log = logged(
        "resnet", "max_epochs=4", "epochs_between_evals=4", "eval_offset_epochs=0", "global_batch_size=128",
        "opt_base_learning_rate=0.1", "opt_learning_rate_warmup_epochs=1", "sgd_opt_weight_decay=0.0003",
        "opt_learning_rate_decay_boundary_epochs=2,3",
    )  # fmt: skip
    rates = [groups[0]["lr"] for groups in steps]
    boundaries = [place / STEPS_PER_EPOCH for place in drops(rates)]
    assert log["opt_learning_rate_decay_boundary_epochs"] == boundaries == [2, 3]
    assert log["opt_base_learning_rate"] == max(rates)
    assert log["sgd_opt_weight_decay"] == steps[0][0]["weight_decay"]
    assert log["sgd_opt_momentum"] == steps[0][0]["momentum"]
    assert not [key for key in log if "poly" in key or "decay_steps" in key or "end_learning_rate" in key]


def test_ssd(logged, steps):
    """The boundary is after one iteration of 32 images: eight of four."""
    log = logged(
        "ssd", "width=4", "train_scenes=24", "eval_scenes=2", "global_batch_size=4", "precision=fp32", "max_epochs=2",
        "epochs_between_evals=2", "opt_base_learning_rate=0.016", "opt_learning_rate_warmup_steps=3",
        "opt_learning_rate_warmup_factor=1", "decay_iterations=1", "opt_weight_decay=0.0003", "opt_momentum=0.8",
    )  # fmt: skip
    rates = [groups[0]["lr"] for groups in steps]
    assert log["opt_base_learning_rate"] == max(rates)
    assert log["opt_learning_rate_warmup_steps"] == rates.index(max(rates))
    assert log["opt_learning_rate_warmup_factor"] == pytest.approx(-math.log2(1 - rates[0] / max(rates)))
    assert log["opt_learning_rate_decay_boundary_steps"] == drops(rates) == [8]
    assert [log["opt_weight_decay"], log["opt_momentum"]] == [steps[0][0]["weight_decay"], steps[0][0]["momentum"]]


@pytest.mark.parametrize("method", ["linear", "mlperf_linear"])
def test_maskrcnn(logged, steps, method):
    factor = {"linear": 0.25, "mlperf_linear": 0.002}[method]
    log = logged(
        "maskrcnn", "width=4", "fpn_channels=8", "box_features=16", "mask_channels=8", "min_image_size=64",
        "train_scenes=12", "eval_scenes=2", "global_batch_size=4", "precision=fp32", "max_epochs=3",
        "epochs_between_evals=3", "opt_base_learning_rate=0.008", "opt_learning_rate_warmup_steps=4",
        f"opt_learning_rate_warmup_method={method}", f"opt_learning_rate_warmup_factor={factor}",
        "decay_iterations=2", "opt_weight_decay=0.0003", "opt_momentum=0.8",
    )  # fmt: skip
    rates = [groups[0]["lr"] for groups in steps]
    others, biases = steps[0]
    assert log["opt_base_learning_rate"] == max(rates)
    warmup = rates.index(max(rates)) + 1
    assert (log["opt_learning_rate_warmup_method"], log["opt_learning_rate_warmup_steps"]) == (method, warmup)
    rise = rates[1] - rates[0]
    start = (rates[0] - rise) / max(rates)  # of the step before the first
    assert log["opt_learning_rate_warmup_factor"] == pytest.approx({"linear": start, "mlperf_linear": rise}[method])
    assert log["opt_learning_rate_decay_steps"] == [place + 1 for place in drops(rates)] == [8]
    assert log["opt_learning_rate_decay_factor"] == pytest.approx(rates[-1] / max(rates))
    assert [log["opt_weight_decay"], log["opt_momentum"]] == [others["weight_decay"], others["momentum"]]
    assert (biases["weight_decay"], biases["lr"]) == (0, 2 * others["lr"])


def test_minigo(logged, steps):
    log = logged(
        "minigo", "width=4", "blocks=1", "features=4", "games_per_generation=10", "readouts=8", "max_epochs=1",
        "eval_readouts=8", "eval_games=2", "gate_games=0", "global_batch_size=16", "opt_base_learning_rate=0.02",
        "opt_learning_rate_warmup_steps=3", "opt_learning_rate_warmup_factor=1",
        "opt_learning_rate_decay_boundary_steps=5,7", "opt_weight_decay=0.0003", "opt_momentum=0.8",
    )  # fmt: skip
    rates = [groups[0]["lr"] for groups in steps]
    assert log["opt_base_learning_rate"] == max(rates)
    assert log["opt_learning_rate_warmup_steps"] == rates.index(max(rates))
    assert log["opt_learning_rate_warmup_factor"] == pytest.approx(-math.log2(1 - rates[0] / max(rates)))
    boundaries = drops(rates)  # the step that equals a boundary still has the rate before it
    assert log["opt_learning_rate_decay_boundary_steps"] == log["lr_boundaries"] == [place - 1 for place in boundaries]
    assert log["lr_rates"] == pytest.approx([rates[boundaries[0] - 1], *(rates[place] for place in boundaries)])
    decayed, rest = steps[0]
    assert log["opt_weight_decay"] == decayed["weight_decay"]
    assert (rest["weight_decay"], rest["lr"]) == (0, decayed["lr"])
    assert log["opt_momentum"] == decayed["momentum"] == rest["momentum"]


WITH_ADAM = {
    "gnmt": ("hidden_size=16", "layers=2", "toy_pairs=900", "global_batch_size=31", "max_decode_length=10",
             "opt_learning_rate_warmup_steps=5", "opt_learning_rate_remain_steps=8",
             "opt_learning_rate_decay_interval=3", "max_epochs=2"),
    "transformer": ("hidden_size=16", "filter_size=32", "layers=1", "toy_pairs=900", "global_batch_size=600",
                    "opt_base_learning_rate=0.001976", "opt_learning_rate_warmup_steps=5", "max_epochs=2"),
    "ncf": ("generated_users=300", "generated_items=200", "global_batch_size=6000", "opt_adam_beta_1=0.25",
            "opt_adam_beta_2=0.5", "opt_base_learning_rate=0.0045", "max_epochs=2"),
}  # fmt: skip


def logged_rate(benchmark, log, step):
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


@pytest.mark.parametrize("benchmark", sorted(WITH_ADAM))
def test_trainers_with_adam(logged, steps, benchmark):
    log = logged(benchmark, "precision=fp32", *WITH_ADAM[benchmark], target="1.0")
    assert len(steps) >= 10
    for step, (group,) in enumerate(steps):
        assert group["lr"] == pytest.approx(logged_rate(benchmark, log, step), rel=1e-6)
        assert (*group["betas"], group["eps"]) == (
            log["opt_adam_beta_1"], log["opt_adam_beta_2"], log["opt_adam_epsilon"],
        )  # fmt: skip
    assert log["opt_name"] == "adam"
