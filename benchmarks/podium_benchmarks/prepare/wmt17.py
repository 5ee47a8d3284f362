"""Transformer: WMT17 as token ids, in the reference's vocabulary, and the reference's own newstest2014."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from podium_benchmarks.core.ids import EVALUATION, REFERENCES
from podium_benchmarks.core.text import read_parallel
from podium_benchmarks.prepare import wmt
from podium_benchmarks.prepare.archives import Archive
from podium_benchmarks.prepare.token_ids import Encoding, same_file, write_ids
from podium_benchmarks.transformer.data import SYMBOLS, VOCABULARY, read_vocabulary

CORPORA = (
    (wmt.NEWS_12, "news-commentary-v12.de-en"),
    (wmt.COMMON_CRAWL, "commoncrawl.de-en"),
    (wmt.EUROPARL, "europarl-v7.de-en"),
)
_GITHUB = "https://raw.githubusercontent.com"
_REFERENCE = f"{_GITHUB}/mlcommons/training/aa344c7fb900e82ed19fb94aebfed50c63ab2204/retired_benchmarks/transformer"
_MODELS = f"{_GITHUB}/tensorflow/models/ee6901ff35fa4a978f0e8e5483d00cd01e0497ff/official/transformer/test_data"
_ORIGIN = "the reference (mlcommons/training, transformer, verify_dataset.sh)"
# What the reference adds to the corpora; 33,708 subwords, also in NVIDIA's entries (reference_dictionary.ende.txt)
VOCABULARY_FILE = Archive(VOCABULARY, f"{_REFERENCE}/tensorflow/transformer/vocab/{VOCABULARY}", 324_027,
                          "sha256:225ebf82d880e64f0fff2e77b80e5ef7d0ebdf1284bb76ae70bab8ddd3a08232",
                          "the file in mlcommons/training")  # fmt: skip
NEWSTEST = (
    Archive(EVALUATION, f"{_MODELS}/{EVALUATION}", None, "md5:dabf51a9c02b2235632f3cee75c72d49", _ORIGIN),
    Archive(REFERENCES, f"{_MODELS}/{REFERENCES}", None, "md5:f6c3818b477e4a25cad68b61cc883c17", _ORIGIN),
)
ARCHIVES = (*(archive for archive, _ in CORPORA), *NEWSTEST, VOCABULARY_FILE)
REFERENCE_PAIRS = 4_590_101  # in the logs of the published entries


def prepare(archives: dict[str, Path], out: Path, workers: int) -> None:
    """OUT with token ids of all pairs, those with an empty side included: the reference leaves none out."""
    write(out, wmt.read_pairs(archives, CORPORA, tidy=str.strip), archives, workers)


def adopt(source: Path, out: Path, workers: int) -> bool:
    """Encode `source` where it has train.{en,de}, newstest2014.{en,de} and the vocabulary."""
    files = {name: source / name for name in (EVALUATION, REFERENCES, VOCABULARY, "train.en", "train.de")}
    if not all(file.is_file() for file in files.values()):
        return False
    write(out, zip(*read_parallel(files["train.en"], files["train.de"]), strict=True), files, workers)
    return True


def write(out: Path, pairs: Iterable[tuple[str, str]], files: dict[str, Path], workers: int) -> None:
    """OUT, from the pairs and the other three files."""
    for name in (VOCABULARY, REFERENCES):
        shutil.copyfile(files[name], out / name)
    reference = {
        archive.name: same_file(files[archive.name], archive.digest) for archive in (*NEWSTEST, VOCABULARY_FILE)
    }
    source, _ = read_parallel(files[EVALUATION], files[REFERENCES])
    encoding = Encoding("transformer", out / VOCABULARY, read_vocabulary, SYMBOLS)
    count = write_ids(out, encoding, pairs, source, workers=workers, reference=reference)
    print(f"{count:,} pairs; the reference has {REFERENCE_PAIRS:,}", flush=True)
