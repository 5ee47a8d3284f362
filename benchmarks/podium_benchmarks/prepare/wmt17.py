"""Transformer: WMT17 as plain text, and the byte-level BPE of both languages together."""

from __future__ import annotations

from pathlib import Path

import tokenizers

from podium_benchmarks.core.tokens import BytePairs
from podium_benchmarks.prepare import wmt
from podium_benchmarks.transformer.config import FULL
from podium_benchmarks.transformer.model import RESERVED

CORPORA = (
    (wmt.NEWS_12, "news-commentary-v12.de-en"),
    (wmt.COMMON_CRAWL, "commoncrawl.de-en"),
    (wmt.EUROPARL, "europarl-v7.de-en"),
)
ARCHIVES = (*(archive for archive, _ in CORPORA), wmt.DEV)


def prepare(archives: dict[str, Path], out: Path, workers: int) -> None:
    """OUT/train.{en,de}, OUT/newstest2014.{en,de}, OUT/vocab.json, OUT/merges.txt.

    As the reference does it, a pair with an empty side is left out. Its vocabulary of 33,708 subwords is replaced by
    byte-level BPE of the same size: see docs/how-to/prepare-data.md.
    """
    del workers  # `tokenizers` takes all cores
    pairs = [(english, german) for english, german in wmt.read_pairs(archives, CORPORA) if english and german]
    for place, language in enumerate(wmt.LANGUAGES):
        wmt.write_lines(out / f"train.{language}", [pair[place] for pair in pairs])
    for language, lines in zip(wmt.LANGUAGES, wmt.read_newstest(archives[wmt.DEV.name]), strict=True):
        wmt.write_lines(out / f"newstest2014.{language}", lines)
    print(f"{len(pairs):,} pairs; learning {FULL.vocab_size:,} subwords", flush=True)
    state = BytePairs.learn([line for pair in pairs for line in pair], FULL.vocab_size, RESERVED)
    tokenizers.Tokenizer.from_str(state).model.save(str(out))
