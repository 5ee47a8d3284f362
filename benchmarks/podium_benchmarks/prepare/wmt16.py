"""GNMT: WMT16 in Moses' words, cut into subwords by BPE of both languages together, in subword-nmt's spelling."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import tokenizers
from tokenizers import models, pre_tokenizers, trainers
from tqdm import tqdm

from podium_benchmarks.gnmt.config import FULL
from podium_benchmarks.gnmt.data import WMT as FILES
from podium_benchmarks.gnmt.model import RESERVED
from podium_benchmarks.prepare import wmt
from podium_benchmarks.prepare.moses import tokenize, tokenize_pairs

CORPORA = (
    (wmt.EUROPARL, "europarl-v7.de-en"),
    (wmt.COMMON_CRAWL, "commoncrawl.de-en"),
    (wmt.NEWS_11, "news-commentary-v11.de-en"),
)
ARCHIVES = (*(archive for archive, _ in CORPORA), wmt.DEV)
# Of the reference's own files (mlcommons/training, gnmt, verify_dataset.sh)
REFERENCE_MD5 = {
    "train.tok.clean.bpe.32000.en": "b7482095b787264a310d4933d197a134",
    "train.tok.clean.bpe.32000.de": "409064aedaef5b7c458ff19a7beda462",
    "newstest2014.tok.bpe.32000.en": "cb014e2509f86cd81d5a87c240c07464",
    "newstest2014.de": "f6c3818b477e4a25cad68b61cc883c17",
}
UNKNOWN, END_OF_WORD, GOES_ON = "<unk>", "</w>", "@@"
PAIRS_AT_ONCE = 10_000
WORDS_AT_ONCE = 100_000


def prepare(archives: dict[str, Path], out: Path, workers: int) -> None:
    """OUT/train.tok.clean.bpe.32000.{en,de}, newstest2014.tok.bpe.32000.en, newstest2014.de, vocab.bpe.32000."""
    pairs = list(tokenized(wmt.read_pairs(archives, CORPORA), workers))
    english, german = wmt.read_newstest(archives[wmt.DEV.name])
    size = FULL.vocab_size - RESERVED
    print(f"{len(pairs):,} pairs; learning {size:,} subwords", flush=True)
    encoding = learn((line for pair in pairs for line in pair), size)
    for place, language in enumerate(wmt.LANGUAGES):
        lines = segment([pair[place] for pair in pairs], encoding)
        wmt.write_lines(out / f"train.tok.clean.bpe.32000.{language}", lines)
    source = segment([tokenize(line, "en") for line in english], encoding)
    wmt.write_lines(out / "newstest2014.tok.bpe.32000.en", source)
    wmt.write_lines(out / "newstest2014.de", german)
    wmt.write_lines(out / "vocab.bpe.32000", vocabulary(encoding))
    report_reference(out)


def adopt(source: Path, out: Path) -> bool:
    """Take over the files that the reference's own script has made, where `source` holds them all."""
    if not all((source / name).is_file() for name in FILES):
        return False
    for name in FILES:
        shutil.copyfile(source / name, out / name)
    report_reference(out)
    return True


def report_reference(out: Path) -> None:
    """Print which files are identical to the reference's: a closed submission needs all of them."""
    for name, wanted in REFERENCE_MD5.items():
        with (out / name).open("rb") as file:
            same = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == wanted
        print(f"{name}: {'the same as the reference' if same else 'differs from the reference'}", flush=True)


def tokenized(pairs: Iterable[tuple[str, str]], workers: int) -> Iterator[tuple[str, str]]:
    """Pairs of words that can be learned from, as the reference cleans and filters them."""
    stream = iter(pairs)
    chunks = iter(lambda: list(itertools.islice(stream, PAIRS_AT_ONCE)), [])
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        for kept in tqdm(
            pool.map(tokenize_pairs, chunks), desc=f"tokenize, {PAIRS_AT_ONCE:,} at a time", mininterval=1
        ):
            yield from kept


def learn(lines: Iterable[str], size: int) -> tokenizers.Tokenizer:
    """An encoding of `size` subwords; those that end a word are others than those within one."""
    encoding = tokenizers.Tokenizer(models.BPE(unk_token=UNKNOWN, end_of_word_suffix=END_OF_WORD))
    encoding.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=size + 1, special_tokens=[UNKNOWN], end_of_word_suffix=END_OF_WORD,
                                  show_progress=False)  # fmt: skip
    encoding.train_from_iterator(lines, trainer)
    return encoding


def segment(lines: Sequence[str], encoding: tokenizers.Tokenizer) -> list[str]:
    """Words cut into subwords; @@ follows those that don't end a word."""
    words = sorted({word for line in lines for word in line.split(" ")})
    pieces: dict[str, str] = {}
    for start in range(0, len(words), WORDS_AT_ONCE):
        some = words[start : start + WORDS_AT_ONCE]
        for word, encoded in zip(some, encoding.encode_batch(some), strict=True):
            pieces[word] = " ".join(map(spelled, encoded.tokens))
    return [" ".join(pieces[word] for word in line.split(" ")) for line in lines]


def vocabulary(encoding: tokenizers.Tokenizer) -> list[str]:
    """Every subword as it is spelled, the earliest learned first."""
    return [spelled(token) for token, _ in sorted(encoding.get_vocab().items(), key=lambda item: item[1])
            if token != UNKNOWN]  # fmt: skip


def spelled(token: str) -> str:
    """`tokenizers` marks the end of a word, subword-nmt what goes on."""
    if token == UNKNOWN:
        return token
    return token.removesuffix(END_OF_WORD) if token.endswith(END_OF_WORD) else token + GOES_ON
