"""`python -m podium_benchmarks.minigo predict`: the quality of v0.5, for a checkpoint and recorded games."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from podium_benchmarks.core import dist
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.minigo import sgf
from podium_benchmarks.minigo.config import FULL, NETWORKS
from podium_benchmarks.minigo.eval import predicted_ratio
from podium_benchmarks.minigo.features import evaluator
from podium_benchmarks.minigo.networks import build_model


def predict(argv: Sequence[str]) -> int:
    """Print for each file or archive, and for all together, how many of the moves the search would have made."""
    parser = argparse.ArgumentParser(
        prog="python -m podium_benchmarks.minigo predict",
        description="Share of recorded moves that the search finds (the quality of MiniGo in v0.5).",
    )
    parser.add_argument("--data", type=Path, required=True, help=f"folder or file; {sgf.LAYOUT}")
    parser.add_argument("--checkpoint", default="", help="weights of a run (checkpoint_dir); default: random ones")
    parser.add_argument("--readouts", type=int, default=1, help="leaves searched per move; 1: the network alone")
    parser.add_argument("--network", choices=NETWORKS, default=FULL.network)
    for name in ("board_size", "width", "blocks", "features"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(FULL, name))
    arguments = parser.parse_args(argv)
    try:
        config = dataclasses.replace(
            FULL, network=arguments.network, board_size=arguments.board_size, width=arguments.width,
            blocks=arguments.blocks, features=arguments.features, eval_readouts=arguments.readouts,
            start_checkpoint=arguments.checkpoint,
        )  # fmt: skip
        sgf.check_folder(arguments.data)
        ranks = dist.join()
        model = build_model(config, 0, ranks).eval()
        records = sgf.read_games(arguments.data, config.board_size)
    except (UsageError, ValueError) as error:
        print(f"minigo predict: {error}", file=sys.stderr)
        return 2
    evaluate = evaluator(model, ranks.device, torch.autocast(ranks.device.type, torch.bfloat16, enabled=False))
    sources = sorted({record.name.split(":")[0] for record in records})
    for source in sources:
        some = [record for record in records if record.name.split(":")[0] == source]
        report(source, predicted_ratio(config, evaluate, some, ranks), sum(len(record.moves) for record in some))
    if len(sources) > 1:
        moves = sum(len(record.moves) for record in records)
        report("all", predicted_ratio(config, evaluate, records, ranks), moves)
    return 0


def report(name: str, ratio: float, moves: int) -> None:
    print(f"{name}: {100 * ratio:.2f} % of {moves:,} moves predicted", flush=True)
