"""NCF: training samples per second beside a Dataset that makes one pair at a time and a DataLoader (aim: 20 times), and
with --ml-20m the size of ml-20m: seconds to generate it (aim: 60), an epoch and a full evaluation of the full network,
and their peak memory (aim: 16 GB).

    python tests/performance/train/ncf.py [--ml-20m]

Exits with 1 if an aim is missed.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time

import torch
from timing import ENVIRONMENT
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from podium_benchmarks.core.dist import Ranks, cpu_count
from podium_benchmarks.core.precision import mixed_precision
from podium_benchmarks.ncf import train as trainer
from podium_benchmarks.ncf.config import TINY
from podium_benchmarks.ncf.data import Data, generate
from podium_benchmarks.ncf.optimizer import build_optimizer
from podium_benchmarks.ncf.ratings import Ratings

AIM_TIMES, AIM_GENERATED_SECONDS, AIM_BYTES = 20, 60, 16e9


class Pairs(Dataset[tuple[int, int, float]]):
    """One pair at a time: a positive, or an item drawn until the user has not rated it."""

    def __init__(self, ratings: Ratings) -> None:
        self.users, self.items = ratings.train_users.tolist(), ratings.train_items.tolist()
        self.known, self.count = set(zip(self.users, self.items, strict=True)), ratings.items

    def __len__(self) -> int:
        return len(self.users) * (1 + TINY.negatives)

    def __getitem__(self, index: int) -> tuple[int, int, float]:
        place, negative = divmod(index, 1 + TINY.negatives)
        user, item = self.users[place], self.items[place]
        while negative and (user, item) in self.known:
            item = random.randrange(self.count)
        return user, item, float(not negative)


def naive_rate(ratings: Ratings, ranks: Ranks, seconds: float) -> float:
    """Samples per second of the plain loop: default collation, fp32, the loss read at every step."""
    model = trainer.build_model(TINY, ratings.users, ratings.items, 1, ranks)
    optimizer = torch.optim.Adam(model.parameters(), lr=TINY.opt_base_learning_rate)
    samples, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for users, items, labels in DataLoader(Pairs(ratings), TINY.global_batch_size, shuffle=True):
            loss = functional.binary_cross_entropy_with_logits(model(users, items), labels.float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert loss.item() > 0
            samples += len(users)
            if time.perf_counter() - start >= seconds:
                break
    return samples / (time.perf_counter() - start)


def loader_rates(ratings: Ratings, ranks: Ranks, seconds: float) -> tuple[float, float]:
    """Samples per second of the batches alone: the plain loader's, and the trainer's."""
    data, epoch = Data(TINY, ratings, 1, ranks), 0
    samples, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        epoch += 1
        samples += sum(count for *_, count in data.epoch(epoch))
    ours = samples / (time.perf_counter() - start)
    samples, start = 0, time.perf_counter()
    for users, _, _ in DataLoader(Pairs(ratings), TINY.global_batch_size, shuffle=True):
        samples += len(users)
        if time.perf_counter() - start >= seconds:
            break
    return samples / (time.perf_counter() - start), ours


def trainer_rate(ratings: Ratings, ranks: Ranks, seconds: float) -> float:
    """Samples per second of the trainer's batches and step, drawing negatives included."""
    model = trainer.build_model(TINY, ratings.users, ratings.items, 1, ranks)
    optimizer, autocast = build_optimizer(model, TINY), mixed_precision(TINY.precision, ranks.device)
    data = Data(TINY, ratings, 1, ranks)
    samples, epoch, start = 0, 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        epoch += 1
        for users, items, labels, count in data.epoch(epoch):
            trainer.forward_backward(model, users, items, labels, scale=1 / count, autocast=autocast)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            samples += count
    return samples / (time.perf_counter() - start)


def at_full_size() -> bool:
    """Generate ratings like ml-20m's; one epoch and one evaluation of the full network on them."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [sys.executable, "-m", "podium_benchmarks.ncf"]
        subprocess.run([*command, "generate", "--out", folder], env=ENVIRONMENT, check=True)
        generated_seconds = time.perf_counter() - start
        settings = ["--preset", "full", "--data", folder, "--set", "max_epochs=1", "--target", "1", "--seed", "1",
                    "--set", "global_batch_size=1048576", "--set", "opt_base_learning_rate=0.0045"]  # fmt: skip
        start = time.perf_counter()
        subprocess.run([*command, *settings], env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)
        run_seconds = time.perf_counter() - start
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"ncf at ml-20m's size: generated in {generated_seconds:.0f} s (aim {AIM_GENERATED_SECONDS}); one epoch and "
          f"evaluation {run_seconds:.0f} s, peak memory {peak_bytes / 1e9:.1f} GB (aim {AIM_BYTES / 1e9:.0f})")  # fmt: skip
    return generated_seconds <= AIM_GENERATED_SECONDS and peak_bytes <= AIM_BYTES


def main() -> int:
    """Measure the two loops in turns, and on request the full size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ml-20m", action="store_true", help="also at ml-20m's size: about a quarter of an hour")
    arguments = parser.parse_args()
    good = True
    torch.set_num_threads(cpu_count())
    ranks, ratings = Ranks(rank=0, world_size=1, device=torch.device("cpu"), cores=cpu_count()), generate(TINY)
    for what, measured in (
        ("batches alone", [loader_rates(ratings, ranks, 3) for _ in range(3)]),
        ("training", [(naive_rate(ratings, ranks, 4), trainer_rate(ratings, ranks, 4)) for _ in range(3)]),
    ):
        slow, fast = (sorted(column)[1] for column in zip(*measured, strict=True))
        print(
            f"ncf samples per second, {what}: naive {slow:,.0f}, trainer {fast:,.0f}, {fast / slow:.1f} times",
            flush=True,
        )
        good &= fast >= AIM_TIMES * slow
    if arguments.ml_20m:
        good &= at_full_size()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
