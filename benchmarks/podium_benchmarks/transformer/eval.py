"""BLEU of the evaluation set, translated by beam search."""

from __future__ import annotations

import torch

from podium_benchmarks.core.beam import BeamSettings, beam_search
from podium_benchmarks.core.bleu import bleu_over_ranks
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.text import evaluation_batches
from podium_benchmarks.transformer.config import Config
from podium_benchmarks.transformer.data import Data
from podium_benchmarks.transformer.model import END, PAD, Transformer


@torch.inference_mode()
def evaluate(model: Transformer, data: Data, config: Config, ranks: Ranks, autocast: torch.autocast) -> float:
    """BLEU 0..1 over all sentences, the same on every rank; each sentence is translated on one rank."""
    model.eval()
    mine: dict[int, str] = {}
    for rows in evaluation_batches(data.eval_sources.lengths, ranks, config.eval_sentences_at_once):
        lengths = data.eval_sources.lengths_of(rows).to(ranks.device)
        with autocast:
            translations = translate(model, data.eval_sources.padded(rows), lengths, config)
        mine |= {row: data.decode(ids) for row, ids in zip(rows.tolist(), translations, strict=True)}
    model.train()
    return bleu_over_ranks(mine, data.references)


def translate(model: Transformer, source: torch.Tensor, lengths: torch.Tensor, config: Config) -> list[list[int]]:
    """The ids of each translation; source (B, S), lengths (B,)."""
    memory, state = model.start(source, config.beam_size)
    return beam_search(
        model.step,
        first=torch.full_like(lengths, PAD),  # its embedding is the zero vector that the decoder starts from
        end=END,
        memory=memory,
        state=state,
        limits=lengths + config.extra_decode_length,
        settings=BeamSettings(config.beam_size, config.length_power),
    )
