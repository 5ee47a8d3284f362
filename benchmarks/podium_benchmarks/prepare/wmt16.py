"""GNMT: WMT16 in Moses' words, cut into subwords by BPE of both languages together, as token ids.

The spelling of subwords is subword-nmt's, as in the reference's files.
"""

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

from podium_benchmarks.core.ids import REFERENCES
from podium_benchmarks.core.text import read_parallel
from podium_benchmarks.gnmt.config import FULL
from podium_benchmarks.gnmt.data import SYMBOLS, VOCABULARY, read_vocabulary
from podium_benchmarks.gnmt.model import RESERVED
from podium_benchmarks.prepare import wmt
from podium_benchmarks.prepare.moses import tokenize, tokenize_pairs
from podium_benchmarks.prepare.token_ids import Encoding, same_file, write_ids

CORPORA = (
    (wmt.EUROPARL, "europarl-v7.de-en"),
    (wmt.COMMON_CRAWL, "commoncrawl.de-en"),
    (wmt.NEWS_11, "news-commentary-v11.de-en"),
)
ARCHIVES = (*(archive for archive, _ in CORPORA), wmt.DEV)
# The reference's own text (mlcommons/training, gnmt, verify_dataset.sh)
TRAIN_TEXT = ("train.tok.clean.bpe.32000.en", "train.tok.clean.bpe.32000.de")
EVALUATION_TEXT = "newstest2014.tok.bpe.32000.en"
REFERENCE_MD5 = {
    TRAIN_TEXT[0]: "b7482095b787264a310d4933d197a134",
    TRAIN_TEXT[1]: "409064aedaef5b7c458ff19a7beda462",
    EVALUATION_TEXT: "cb014e2509f86cd81d5a87c240c07464",
    REFERENCES: "f6c3818b477e4a25cad68b61cc883c17",
}
UNKNOWN, END_OF_WORD, GOES_ON = "<unk>", "</w>", "@@"
PAIRS_AT_ONCE = 10_000
WORDS_AT_ONCE = 100_000


def prepare(archives: dict[str, Path], out: Path, workers: int) -> None:
    """OUT with token ids, newstest2014.de and vocab.bpe.32000."""
    pairs = list(tokenized(wmt.read_pairs(archives, CORPORA), workers))
    english, german = wmt.read_newstest(archives[wmt.DEV.name])
    size = FULL.vocab_size - RESERVED
    print(f"{len(pairs):,} pairs; learning {size:,} subwords", flush=True)
    encoding = learn((line for pair in pairs for line in pair), size)
    train = [segment([pair[place] for pair in pairs], encoding) for place in (0, 1)]
    source = segment([tokenize(line, "en") for line in english], encoding)
    wmt.write_lines(out / REFERENCES, german)
    wmt.write_lines(out / VOCABULARY, vocabulary(encoding))
    text = {TRAIN_TEXT[0]: train[0], TRAIN_TEXT[1]: train[1], EVALUATION_TEXT: source, REFERENCES: german}
    same = {name: _md5(lines) == REFERENCE_MD5[name] for name, lines in text.items()}
    write_ids(out, _encoding(out), zip(*train, strict=True), source, workers=workers, reference=same)


def adopt(source: Path, out: Path, workers: int) -> bool:
    """Encode the text that the reference's own script has made, where `source` holds all its files."""
    if not all((source / name).is_file() for name in (*REFERENCE_MD5, VOCABULARY)):
        return False
    for name in (REFERENCES, VOCABULARY):
        shutil.copyfile(source / name, out / name)
    train = read_parallel(source / TRAIN_TEXT[0], source / TRAIN_TEXT[1])
    evaluation, _ = read_parallel(source / EVALUATION_TEXT, source / REFERENCES)
    same = {name: same_file(source / name, f"md5:{digest}") for name, digest in REFERENCE_MD5.items()}
    write_ids(out, _encoding(out), zip(*train, strict=True), evaluation, workers=workers, reference=same)
    return True


def _encoding(out: Path) -> Encoding:
    return Encoding("gnmt", out / VOCABULARY, read_vocabulary, SYMBOLS)


def _md5(lines: Iterable[str]) -> str:
    """Of a file with these lines."""
    sum_ = hashlib.md5(usedforsecurity=False)
    for line in lines:
        sum_.update(f"{line}\n".encode())
    return sum_.hexdigest()


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
