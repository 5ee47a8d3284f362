"""MiniGo runs from the first log line to the last: alone, on two ranks, on recorded games."""

import dataclasses
import re

import pytest
import torch

from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.minigo.config import TINY
from podium_benchmarks.minigo.networks import build_model, save_weights

SMALL = ("--set", "width=4", "--set", "blocks=1", "--set", "features=4", "--set", "games_per_generation=10",
         "--set", "readouts=8", "--set", "eval_readouts=8", "--set", "eval_games=6", "--set", "max_epochs=2",
         "--set", "global_batch_size=48", "--set", "gate_games=0", "--seed", "5")  # fmt: skip
# 21 positions a step don't divide by two, nor does the last batch
SHARED = (*SMALL, "--target", "1", "--set", "global_batch_size=21", "--set", "sync_bn=true", "--set", "max_epochs=1",
          "--set", "games_per_generation=20", "--set", "games_at_a_time=1", "--set", "eval_games=2",
          "--set", "opt_base_learning_rate=0.002", "--set", "stats_interval_seconds=0")  # fmt: skip
GENERATION = (
    "epoch_start( tracked_stats)+ actual_selfplay_games_per_generation training_positions( tracked_stats)+ save_model"
)


def test_a_log_tells_what_the_rules_ask_for(launch, log_lines, tmp_path, official_complaints):
    checkpoints = tmp_path / "models"
    run = launch("minigo", *SMALL, "--target", "1e-9", "--set", f"checkpoint_dir={checkpoints}",
                 "--set", "eval_games=40", "--set", "opt_base_learning_rate=0.0001")  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = log_lines(run.stdout)
    keys = [line["key"] for line in lines]
    start = keys.index("run_start")
    assert keys[start - 1] == "init_stop"
    logged = " ".join(keys[start + 1 :])
    evaluation = "( eval_start eval_accuracy eval_stop)+ eval_result run_stop"
    assert re.fullmatch(rf"train_samples eval_samples( {GENERATION} epoch_stop)+{evaluation}", logged), logged
    result = next(line["metadata"] for line in lines if line["key"] == "eval_result")
    saved = {line["value"]["iteration"]: line["time_ms"] for line in lines if line["key"] == "save_model"}
    assert result["timestamp"] == (saved[result["iteration"]] - lines[start]["time_ms"]) / 1000
    assert [file.name for file in sorted(checkpoints.iterdir())] == ["000001.pt", "000002.pt"]
    assert lines[-1]["metadata"]["status"] == "success"

    # The checker of v0.7 wants its own number of games and the official target, which so short a run can't have.
    for line in lines:
        if line["key"].endswith("selfplay_games_per_generation"):
            line["value"] = 8192
        if line["key"] == "eval_accuracy":
            line["value"] = 0.6
    complaints = official_complaints(lines)
    assert all("cache_clear" in line or "block_" in line for line in complaints), complaints


def test_a_folder_of_checkpoints_is_where_a_run_starts_and_what_it_has_to_beat(launch, log_lines, tmp_path):
    shape = {"width": 4, "blocks": 1, "features": 4}
    for number, name in enumerate(("start", "opponent"), 1):
        model = build_model(dataclasses.replace(TINY, **shape), number, Ranks(0, 1, torch.device("cpu"), 1))
        save_weights(model, tmp_path / f"{name}.pt")
    settings = ("--set", f"checkpoint_dir={tmp_path}/models", "--set", "opt_base_learning_rate=1e-9")
    run = launch("minigo", *SMALL, "--set", "max_epochs=1", "--target", "1", *settings, "--data", str(tmp_path))
    assert log_lines(run.stdout)[-1]["key"] == "run_stop", run.stderr
    before, after = (torch.load(tmp_path / name, weights_only=True) for name in ("start.pt", "models/000001.pt"))
    assert torch.allclose(before["moves.weight"], after["moves.weight"], atol=1e-6)  # not the seed's random ones


def test_a_run_with_games_of_before_trains_on_them_first(launch, log_lines, tmp_path):
    config = dataclasses.replace(TINY, width=4, blocks=1, features=4)
    model = build_model(config, 1, Ranks(0, 1, torch.device("cpu"), 1))
    for name in ("start.pt", "opponent.pt"):
        save_weights(model, tmp_path / name)
    momentum = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    torch.save({"step": torch.tensor(2), "momentum": momentum}, tmp_path / "training.pt")
    (tmp_path / "golden").mkdir()
    for number, count in enumerate((30, 20)):
        planes = torch.randint(0, 2, (count, 17, 25), dtype=torch.uint8)
        chunk = {"planes": planes, "chances": torch.full((count, 26), 1 / 26), "winners": torch.ones(count)}
        torch.save(chunk, tmp_path / f"golden/{number:02}.pt")
    run = launch("minigo", *SMALL, "--target", "1", "--set", "published_start=true", "--data", str(tmp_path),
                 "--set", "opt_base_learning_rate=0.1,0.05", "--set", "opt_learning_rate_decay_boundary_steps=3",
                 "--set", "stats_interval_seconds=0", "--set", "window_generations=2")  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = log_lines(run.stdout)
    positions = [line["value"] for line in lines if line["key"] == "training_positions"]
    assert positions[0] == 50
    played = [line["metadata"]["epoch_num"] for line in lines if line["key"] == "actual_selfplay_games_per_generation"]
    assert played == [2]
    assert positions[1] > 20  # of the latest chunk and of the games played since


def test_a_target_that_no_model_reaches_aborts_the_run(launch, log_lines):
    run = launch("minigo", *SMALL, "--target", "1", "--set", "gate_games=4", "--set", "gate_win_rate=1")
    lines = log_lines(run.stdout)
    assert lines[-1]["metadata"]["status"] == "aborted"
    assert next(line["metadata"]["timestamp"] for line in lines if line["key"] == "eval_result") == 0
    gates = [line["value"] for line in lines if line["key"] == "gate_win_rate"]
    assert len(gates) == 2
    evaluated = [line for line in lines if line["key"] == "eval_accuracy"]
    assert len(evaluated) == sum(share == 1 for share in gates)


def test_one_and_two_ranks_give_the_same_loss_curve(launch, launch_process, log_lines):
    losses, samples = [], []
    for run in (launch("minigo", *SHARED), launch_process("minigo", *SHARED, ranks=2)):
        assert run.returncode == 0, run.stderr
        lines = log_lines(run.stdout)
        losses.append([x["value"]["loss"] for x in lines if x["key"] == "tracked_stats" and "loss" in x["value"]])
        samples.append(next(line["value"] for line in lines if line["key"] == "training_positions"))
    assert samples[0] == samples[1]
    assert samples[0] % 21
    assert len(losses[0]) >= 20
    assert losses[1][:20] == pytest.approx(losses[0][:20], rel=1e-4)


def test_v0_5_predicts_recorded_moves_on_the_clock(tmp_path, launch, log_lines):
    (tmp_path / "game.sgf").write_text("(;SZ[5];B[cc];W[dd];B[cd];W[bb])")
    run = launch("minigo", *SMALL, "--set", "quality=pro_moves", "--set", "network=v0.5", "--data", str(tmp_path),
                 "--target", "1", "--set", "c_puct=1.38", "--set", "c_puct_base=0")  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = log_lines(run.stdout)
    shares = [line["value"] for line in lines if line["key"] == "eval_accuracy"]
    assert len(shares) == 2
    assert all(share in {0, 0.25, 0.5, 0.75, 1} for share in shares)
    assert "eval_result" not in {line["key"] for line in lines}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "quality=pro_moves"), "quality pro_moves needs recorded games: give --data DIR; expected .sgf"),
        (
            ("--data", "."),
            "start_checkpoint start.pt is not a file; for win_rate, --data DIR holds start.pt and opponent",
        ),
        (("--set", "board_size=4"), "board_size must be 5 to 19, not 4"),
        (("--set", "start_checkpoint=nowhere.pt"), "start_checkpoint nowhere.pt is not a file"),
        (("--set", "quality=pro_moves", "--data", "{tmp_path}"), "--data {tmp_path} contains no games"),
        (("--set", "quality=pro_moves", "--data", "{bad}"), "{bad}, line 2: move 2 is illegal: C3 is taken"),
    ],
)
def test_what_can_t_be_run_is_reported_before_anything_starts(arguments, message, tmp_path, launch):
    bad = tmp_path / "game" / "bad.sgf"
    if "{bad}" in arguments:
        bad.parent.mkdir()
        bad.write_text("(;SZ[5];B[cc]\n;W[cc])")
    names = {"tmp_path": tmp_path, "bad": bad}
    run = launch("minigo", *(argument.format(**names) for argument in arguments))
    assert run.returncode == 2
    assert run.stderr.startswith(f"minigo: {message.format(**names)}"), run.stderr
    assert "run_start" not in run.stdout
