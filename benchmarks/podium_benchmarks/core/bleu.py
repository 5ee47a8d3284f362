"""BLEU as both translation benchmarks define it, exact for any number of ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sacrebleu

from podium_benchmarks.core import dist


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Uncased BLEU, 0..1, with mteval-v14's international tokenization: `sacrebleu -lc --tokenize intl`.

    The Transformer's own script (tensor2tensor's bleu_hook.py) lower-cases, splits and smooths in the same way.
    """
    return sacrebleu.corpus_bleu(hypotheses, [references], lowercase=True, tokenize="intl").score / 100


def bleu_over_ranks(mine: Mapping[int, str], references: Sequence[str]) -> float:
    """BLEU of all ranks' translations, each given by the index of its sentence; every rank gets the same number."""
    translations: dict[int, str] = {}
    for part in dist.gather_objects(dict(mine)):
        twice = translations.keys() & part.keys()
        assert not twice, f"sentences translated twice: {sorted(twice)[:5]}"
        translations |= part
    missing = set(range(len(references))) - translations.keys()
    assert not missing, f"sentences not translated: {sorted(missing)[:5]}"
    return corpus_bleu([translations[index] for index in range(len(references))], references)
