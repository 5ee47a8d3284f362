"""Beam search for many sentences at once (tensor2tensor's, with the coverage penalty of GNMT, arXiv:1609.08144 §7).

Finished translations leave the beam, so that they never take the place of one that may still end better. A sentence
is done when no translation still open can beat its best finished one; it then leaves the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F

Tensors = Sequence[torch.Tensor]


class Step(Protocol):
    """One decoding step of N sentences with `beam` hypotheses each.

    words (N * beam,) are the last of each hypothesis and `position` how many came before; memory tensors have a row
    per sentence, state tensors one per hypothesis. Returns logits (N * beam, V), the new state, and the attention
    (N * beam, S) that this step paid to the source, or None.
    """

    def __call__(
        self, words: torch.Tensor, position: int, memory: Tensors, state: Tensors
    ) -> tuple[torch.Tensor, Tensors, torch.Tensor | None]: ...


@dataclass(frozen=True)
class BeamSettings:
    """score = log p / ((5 + length) / 6)^length_power + coverage * sum over source words of log(min(attention, 1))."""

    beam: int
    length_power: float
    coverage: float = 0.0
    counts_begin: bool = False  # whether the begin symbol counts in the length, as in GNMT's reference

    def length_norm(self, words: torch.Tensor) -> torch.Tensor:
        """Of translations with so many words, the end symbol included."""
        return ((5.0 + words + self.counts_begin) / 6.0) ** self.length_power


@torch.inference_mode()
def beam_search(
    step: Step, *, first: torch.Tensor, end: int, memory: Tensors, state: Tensors, limits: torch.Tensor,
    settings: BeamSettings,
) -> list[list[int]]:  # fmt: skip
    """The best translation of each sentence, without begin and end symbols.

    first (N,) are the begin symbols, limits (N,) the most words of each translation with its end symbol; state has
    N * beam rows. A sentence for which nothing ended within its limit gets its best unfinished translation.
    """
    beam, device = settings.beam, first.device
    translations: list[list[int]] = [[] for _ in range(len(first))]
    sentences = torch.arange(len(first), device=device)  # which sentence each row of the batch is
    words = first.view(-1, 1, 1).expand(-1, beam, 1)  # (N, beam, length)
    log_p = torch.zeros(len(first), beam, device=device)
    log_p[:, 1:] = -torch.inf  # all hypotheses are still the same: only one may grow
    best_score = torch.full((len(first),), -torch.inf, device=device)
    best_words = words[:, 0, 1:]  # (N, length), filled up with end symbols
    attended: torch.Tensor | None = None  # (N, beam, S)
    for length in range(1, int(limits.max()) + 1 if len(first) else 0):
        logits, state, attention = step(words[:, :, -1].flatten(), length - 1, memory, state)
        if settings.coverage and attention is not None:
            attention = attention.float().view(len(sentences), beam, -1)
            attended = attention if attended is None else attended + attention
        candidates, sources, chosen = _extend(logits, log_p)
        ends = chosen == end
        # Among those that end here, the best one of each sentence
        scores = candidates / settings.length_norm(torch.tensor(float(length), device=device))
        if attended is not None:
            scores = scores + settings.coverage * _coverage(attended).gather(1, sources)
        score, place = scores.masked_fill(~ends, -torch.inf).max(1)
        ended = _hypotheses(words, sources.gather(1, place.unsqueeze(1))).squeeze(1)[:, 1:]
        better = score > best_score
        best_score = torch.where(better, score, best_score)
        best_words = F.pad(torch.where(better.unsqueeze(1), ended, best_words), (0, 1), value=end)
        # The others go on
        log_p, place = candidates.masked_fill(ends, -torch.inf).topk(beam)
        sources = sources.gather(1, place)
        words = torch.cat([_hypotheses(words, sources), chosen.gather(1, place).unsqueeze(2)], dim=2)
        rows = (torch.arange(len(sentences), device=device).unsqueeze(1) * beam + sources).flatten()
        if attended is not None:
            attended = attended.flatten(0, 1)[rows].view_as(attended)
        done = (best_score >= log_p[:, 0] / settings.length_norm(limits)) | (length >= limits)
        if done.any():
            result = torch.where(best_score.isfinite().unsqueeze(1), best_words, words[:, 0, 1:])
            for sentence, translation in zip(sentences[done].tolist(), result[done].tolist(), strict=True):
                translations[sentence] = translation[: translation.index(end)] if end in translation else translation
            if done.all():
                break
            keep = (~done).nonzero().squeeze(1)
            rows = rows.view(-1, beam)[keep].flatten()
            memory = [tensor[keep] for tensor in memory]
            sentences, words, log_p, limits = sentences[keep], words[keep], log_p[keep], limits[keep]
            best_score, best_words = best_score[keep], best_words[keep]
            attended = None if attended is None else attended[keep]
        state = [tensor[rows] for tensor in state]
    return translations


def _extend(logits: torch.Tensor, log_p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The most probable extensions by one word: log p, the hypothesis extended and the word, each (N, 2 beam).

    Of twice as many as the beam, at least `beam` do not end.
    """
    count, beam = log_p.shape
    extended = (F.log_softmax(logits.float(), dim=1).view(count, beam, -1) + log_p.unsqueeze(2)).flatten(1)
    vocabulary = logits.shape[1]
    candidates, flat = extended.topk(min(2, vocabulary) * beam)
    return candidates, flat // vocabulary, flat % vocabulary


def _hypotheses(words: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
    """The words (N, k, length) of the hypotheses numbered by sources (N, k)."""
    return words.gather(1, sources.unsqueeze(2).expand(-1, -1, words.shape[2]))


def _coverage(attended: torch.Tensor) -> torch.Tensor:
    """(N, beam) sum of log(min(attention, 1)); a position that never got any is padding."""
    return attended.clamp(max=1).log().masked_fill(attended == 0, 0.0).sum(2)
