"""Logs of made-up runs in the three formats, for the tests of the commands."""

from __future__ import annotations

import json
from pathlib import Path

START = 1_560_000_000.0  # June 2019


def mllog(key, value=None, at=0.0, start=START, **metadata):
    """A v0.7 line, `at` seconds after `start`."""
    body = {"namespace": "", "time_ms": int((start + at) * 1000), "event_type": "POINT_IN_TIME", "key": key}
    return ":::MLLOG " + json.dumps({**body, "value": value, "metadata": {"file": "train.py", "lineno": 1, **metadata}})


def mll(key, value=None, at=0.0, **metadata):
    """A v0.6 line."""
    body = {"value": value, "metadata": {"file": "train.py", "lineno": 1, **metadata}}
    return f":::MLL {START + at:.3f} {key}: {json.dumps(body)}"


def mlp(benchmark, key, value="", at=0.0):
    """A v0.5 line; `value` is the text after the colon."""
    return f":::MLPv0.5.0 {benchmark} {START + at:.6f} (train.py:1) {key}" + (f": {value}" if value else "")


def v07_run(benchmark, seconds, quality, status="success", start=START):
    return [
        mllog("submission_benchmark", benchmark, -5, start),
        mllog("submission_org", "ACME", -5, start),
        mllog("run_start", None, 0, start),
        mllog("eval_accuracy", quality, seconds - 1, start, epoch_num=1),
        mllog("run_stop", None, seconds, start, status=status),
    ]


def v06_run(benchmark, seconds, quality, status="success"):
    return [
        mll("submission_benchmark", benchmark, -5),
        mll("run_start"),
        mll("eval_accuracy", quality, seconds - 1, epoch_num=1),
        mll("run_stop", None, seconds, status=status),
    ]


def v05_run(benchmark, seconds, quality, at=0.0, success="true"):
    return [
        mlp(benchmark, "run_start", "", at),
        mlp(benchmark, "eval_accuracy", json.dumps({"epoch": 0, "value": quality}), at + seconds - 1),
        mlp(benchmark, "run_stop", f'{{"success": {success}}}', at + seconds),
        mlp(benchmark, "run_final", "", at + seconds),
    ]


def write(folder: Path, runs) -> Path:
    """result_0.txt, result_1.txt, ... of `runs`, each a list of lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, lines in enumerate(runs):
        (folder / f"result_{index}.txt").write_text("\n".join(lines) + "\n")
    return folder


def v05_log():
    """A complete v0.5 log of NCF."""
    line = lambda key, value="", at=0.0: mlp("ncf", key, value, at)  # noqa: E731
    return [
        line("run_clear_caches", "", -9),
        line("run_start"),
        line("run_set_random_seed", "7"),
        line("preproc_hp_num_eval", "999"),
        line("preproc_hp_sample_eval_replacement", "true"),
        line("input_batch_size", "2048"),
        line("input_hp_num_neg", "4"),
        line("input_hp_sample_train_replacement"),
        line("input_step_train_neg_gen"),
        line("input_step_eval_neg_gen"),
        line("eval_hp_num_users", "138493"),
        line("eval_hp_num_neg", "999"),
        line("model_hp_mf_dim"),
        line("model_hp_mlp_layer_sizes", "[256, 256, 128, 64]"),
        line("opt_name", '"Adam"'),
        line("opt_learning_rate", "0.001"),
        line("opt_hp_Adam_beta1", "0.9"),
        line("train_loop", "", 1),
        line("train_epoch", "0", 2),
        line("eval_start", "0", 3),
        line("eval_size", "1000", 3),
        line("eval_target", "0.635", 3),
        line("eval_accuracy", '{"epoch": 0, "value": 0.64}', 4),
        line("eval_stop", "0", 4),
        line("run_stop", '{"success": true}', 5),
        line("run_final", "", 6),
    ]


def v06_log():
    """A complete v0.6 log of Transformer."""
    return [
        *(mll(f"submission_{k}", v, -90) for k, v in (
            ("benchmark", "transformer"), ("org", "ACME"), ("division", "closed"), ("status", "onprem"),
            ("platform", "box"), ("entry", "{}"), ("poc_name", "A. Person"))),
        mll("cache_clear", True, -80),
        mll("init_start", None, -70),
        mll("global_batch_size", 1024, -60),
        mll("opt_name", "adam", -60),
        mll("opt_base_learning_rate", 2.0, -60),
        mll("opt_learning_rate_warmup_steps", 1000, -60),
        mll("opt_adam_beta_1", 0.9, -60),
        mll("opt_adam_beta_2", 0.997, -60),
        mll("opt_adam_epsilon", 1e-9, -60),
        mll("max_sequence_length", 256, -60),
        mll("init_stop", None, -10),
        mll("run_start"),
        mll("block_start", None, 1, first_epoch_num=1, epoch_count=1),
        mll("epoch_start", None, 1, epoch_num=1),
        mll("epoch_stop", None, 20, epoch_num=1),
        mll("eval_start", None, 20, epoch_num=1),
        mll("eval_accuracy", "25.4", 25, epoch_num=1),
        mll("eval_stop", None, 25, epoch_num=1),
        mll("block_stop", None, 26, first_epoch_num=1),
        mll("run_stop", None, 26, status="success"),
    ]  # fmt: skip


def without(lines, key):
    return [line for line in lines if f" {key}:" not in line and not line.endswith(f" {key}")]


def changed(lines, old, new):
    assert any(old in line for line in lines)
    return [line.replace(old, new) for line in lines]


def lora_run(
    *,
    at=0.0,
    seed=1,
    division="closed",
    train_samples=3901,
    eval_samples=173,
    evaluations=5,
    noise=0.0,
    pace=1.0,
    stretches=None,
    eval_stretches=None,
    drop=(),
    seconds_per_sample=0.125,
):
    """A v5.1 log of Llama 2 70B LoRA that MLCommons' checker accepts: `evaluations`, from 1,536 samples on.

    Edits: `pace` scales all stamps, `stretches` and `eval_stretches` those between two evaluations and those of
    evaluations, and `drop` leaves out evaluations. The throughput stays that of the honest log.
    """
    line = lambda key, value=None, t=0.0, **metadata: mllog(key, value, at + t * pace, **metadata)  # noqa: E731
    settings = {
        "submission_benchmark": "llama2_70b_lora", "submission_org": "acme", "submission_division": division,
        "submission_status": "onprem", "submission_platform": "box", "global_batch_size": 8,
        "train_samples": train_samples, "eval_samples": eval_samples, "opt_learning_rate_warmup_factor": 0.0,
        "opt_adamw_weight_decay": 0.0001, "opt_gradient_clip_norm": 0.3, "gradient_accumulation_steps": 1,
        "opt_learning_rate_training_steps": 1024, "opt_base_learning_rate": 0.0004, "lora_rank": 16, "lora_alpha": 32,
    }  # fmt: skip
    lines = [mllog("cache_clear", True, at - 61), mllog("init_start", None, at - 60)]
    lines += [mllog(key, value, at - 60) for key, value in settings.items()]
    lines += [mllog("seed", seed, at - 60)] if seed is not None else []
    lines += [mllog("init_stop", None, at - 1), mllog("run_start", None, at)]
    time, before = 0.0, 0
    for number in range(evaluations):
        samples = 1536 + 384 * number
        lines.append(line("block_start", None, time, samples_count=before))
        time += (samples - before) * seconds_per_sample * (stretches or {}).get(number, 1.0)
        lines += [
            line("tracked_stats", {"throughput": 1 / seconds_per_sample}, time, step=samples),
            line("block_stop", None, time, samples_count=samples),
        ]
        loss = 0.9239 + 0.004 * (evaluations - 1 - number) + noise
        if number not in drop:
            lines.append(line("eval_start", None, time, samples_count=samples))
            time += 5 * (eval_stretches or {}).get(number, 1.0)
            lines += [
                line("eval_accuracy", loss, time, samples_count=samples),
                line("eval_stop", None, time, samples_count=samples),
            ]
        before = samples
    return [*lines, line("run_stop", None, time + 0.01, status="success")]
