"""BLEU of the evaluation set, translated by beam search."""

from __future__ import annotations

import torch

from podium_benchmarks.core.beam import BeamSettings, beam_search
from podium_benchmarks.core.bleu import bleu_over_ranks
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.text import evaluation_batches
from podium_benchmarks.gnmt.config import Config
from podium_benchmarks.gnmt.data import Data
from podium_benchmarks.gnmt.model import BEGIN, END, GNMT


@torch.inference_mode()
def evaluate(model: GNMT, data: Data, config: Config, ranks: Ranks, autocast: torch.autocast) -> float:
    """BLEU 0..1 over all sentences, the same on every rank; each sentence is translated on one rank."""
    model.eval()
    mine: dict[int, str] = {}
    for rows in evaluation_batches(data.eval_sources.lengths, ranks, config.eval_sentences_at_once):
        lengths = data.eval_sources.lengths_of(rows)
        with autocast:
            translations = translate(model, data.eval_sources.padded(rows), lengths, config)
        mine |= {row: data.decode(ids) for row, ids in zip(rows.tolist(), translations, strict=True)}
    model.train()
    return bleu_over_ranks(mine, data.references)


def translate(model: GNMT, source: torch.Tensor, lengths: torch.Tensor, config: Config) -> list[list[int]]:
    """The ids of each translation; source (B, S), lengths (B,) on the CPU."""
    memory, state = model.start(source, lengths, config.beam_size)
    first = torch.full((len(source),), BEGIN, device=source.device)
    return beam_search(
        model.step,
        first=first,
        end=END,
        memory=memory,
        state=state,
        limits=torch.full_like(first, config.max_decode_length),
        settings=BeamSettings(config.beam_size, config.length_power, config.coverage, counts_begin=True),
    )
