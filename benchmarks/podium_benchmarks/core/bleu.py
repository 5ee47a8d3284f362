"""BLEU as both translation benchmarks define it, exact for any number of ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU

from podium_benchmarks.core import dist

ORDERS = 4  # of n-grams


def bleu_over_ranks(mine: Mapping[int, str], references: Sequence[str]) -> float:
    """BLEU 0..1 of all ranks' translations, each given by the index of its sentence; every rank gets the same number.

    Uncased, with mteval-v14's international tokenization: `sacrebleu -lc --tokenize intl`. The Transformer's own script
    (tensor2tensor's bleu_hook.py) lower-cases, splits and smooths in the same way.
    """
    counts = np.zeros(2 * ORDERS + 2, dtype=np.int64)
    indices: list[int] = []
    for places, part in dist.gather_objects((list(mine), count_n_grams(mine, references))):
        indices += places
        counts += part
    values, times = np.unique(np.array(indices, dtype=np.int64), return_counts=True)
    twice = values[times > 1].tolist()
    assert not twice, f"sentences translated twice: {twice[:5]}"
    missing = set(range(len(references))) - set(values.tolist())
    assert not missing, f"sentences not translated: {sorted(missing)[:5]}"
    right, found, (length, reference_length) = np.split(counts, [ORDERS, 2 * ORDERS])
    score = BLEU.compute_bleu(right.tolist(), found.tolist(), int(length), int(reference_length), smooth_method="exp")
    return float(score.score) / 100


def count_n_grams(translations: Mapping[int, str], references: Sequence[str]) -> NDArray[np.int64]:
    """(10,) whole numbers, which add up over sentences: right n-grams and all of them for n from 1 to 4, words of the
    translations and of the references.
    """
    if not translations:
        return np.zeros(2 * ORDERS + 2, dtype=np.int64)
    given = list(translations.values()), [[references[index] for index in translations]]
    score = BLEU(lowercase=True, tokenize="intl").corpus_score(*given)
    return np.array([*score.counts, *score.totals, score.sys_len, score.ref_len], dtype=np.int64)
