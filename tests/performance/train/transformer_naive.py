"""What the Transformer's training loop is measured against: the loop as one would first write it.

The same network, text, encoding and number of tokens a step; batches of random sentences padded to the longest, logits
for padding too, fp32, Adam as it comes, the loss read at every step.

    python tests/performance/train/transformer_naive.py [--data ../shared/data/multi30k] [--seconds 30]

prints real target tokens (padding not counted) per second of this loop and of the trainer's, in turns. Exits with 1
if the trainer's is not at least twice as fast.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from podium_benchmarks.core.dist import Ranks, cpu_count
from podium_benchmarks.core.optimizers import adam, set_learning_rate
from podium_benchmarks.core.precision import mixed_precision
from podium_benchmarks.transformer import train as trainer
from podium_benchmarks.transformer.config import TINY
from podium_benchmarks.transformer.data import Data, open_corpus

REPOSITORY = Path(__file__).resolve().parents[3]


class Naive:
    """The plain loop; `run` trains for some seconds and returns real target tokens per second."""

    def __init__(self, data_dir: Path, tokens_per_step: float, ranks: Ranks) -> None:
        self.config = dataclasses.replace(TINY, precision="fp32")
        corpus = open_corpus(self.config, data_dir)
        sides = (side.values.long().split(side.lengths.tolist()) for side in (corpus.sources, corpus.targets))
        self.pairs = list(zip(*sides, strict=True))
        mean = sum(len(target) for _, target in self.pairs) / len(self.pairs)
        self.sentences = round(tokens_per_step / mean)
        self.model = trainer.build_model(self.config, self.config.vocab_size, 0, ranks)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def run(self, seconds: float) -> float:
        tokens, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            chosen = random.sample(self.pairs, self.sentences)
            source = pad_sequence([pair[0] for pair in chosen], batch_first=True)
            target = pad_sequence([pair[1] for pair in chosen], batch_first=True)
            logits = self.model(source, target, torch.arange(target.numel()))
            loss = functional.cross_entropy(logits, target.flatten(), ignore_index=0, label_smoothing=0.1)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            assert loss.item() > 0
            tokens += int((target != 0).sum())
        return tokens / (time.perf_counter() - start)


class Ours:
    """The trainer's own batches and step."""

    def __init__(self, data_dir: Path, ranks: Ranks) -> None:
        self.config = TINY
        self.data = Data(self.config, data_dir, ranks)
        self.model = trainer.build_model(self.config, self.config.vocab_size, 0, ranks)
        self.optimizer = adam(self.model, self.config)
        self.autocast = mixed_precision(self.config.precision, ranks.device)
        self._epoch = 0
        self._batches = self.data.epoch(self._epoch)

    def run(self, seconds: float) -> float:
        tokens, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            batch = next(self._batches, None)
            if batch is None:
                self._epoch += 1
                self._batches = self.data.epoch(self._epoch)
                continue
            set_learning_rate(self.optimizer, 1e-3)
            smoothing, scale = self.config.label_smoothing, 1 / batch.global_tokens
            trainer.forward_backward(self.model, batch, smoothing, scale=scale, autocast=self.autocast)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            tokens += batch.global_tokens
        return tokens / (time.perf_counter() - start)


def main() -> int:
    """Measure both, each three times, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / "multi30k")
    parser.add_argument("--seconds", type=float, default=30.0, help="of all measurements together")
    arguments = parser.parse_args()
    torch.set_num_threads(cpu_count())
    torch.manual_seed(0)
    ranks = Ranks(rank=0, world_size=1, device=torch.device("cpu"), cores=cpu_count())
    ours = Ours(arguments.data, ranks)
    tokens_per_step = ours.data.target_tokens / ours.data.steps_per_epoch
    naive = Naive(arguments.data, tokens_per_step, ranks)
    for loop in (naive, ours):
        loop.run(arguments.seconds / 20)  # kernels and buffers
    rates = [(naive.run(arguments.seconds / 6), ours.run(arguments.seconds / 6)) for _ in range(3)]
    slow, fast = (sorted(column)[1] for column in zip(*rates, strict=True))
    print(f"target tokens per second, {tokens_per_step:.0f} a step: naive {slow:,.0f}, trainer {fast:,.0f}, "
          f"{fast / slow:.2f} times")  # fmt: skip
    return 0 if fast >= 2 * slow else 1


if __name__ == "__main__":
    sys.exit(main())
