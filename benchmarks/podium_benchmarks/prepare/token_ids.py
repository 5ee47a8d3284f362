"""Text to the token ids that the trainers map into memory (core/ids.py), in all cores."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from podium_benchmarks.core import ids
from podium_benchmarks.core.tokens import Symbols, Tokens
from podium_benchmarks.prepare.archives import PrepareError, digests_of
from podium_benchmarks.prepare.files import written

LINES_AT_ONCE = 10_000
Rows = tuple[Sequence[str], ...]  # lines of each part, as many of each
Encoded = list[tuple[bytes, bytes, int, int]]  # of each part: ids, lengths, the longest line's length and place


@dataclass(frozen=True)
class Encoding:
    """How a benchmark's text becomes ids."""

    benchmark: str
    vocabulary: Path
    read: Callable[[Path], Tokens]  # a function of a module: worker processes call it
    symbols: Symbols


def write_ids(
    out: Path, encoding: Encoding, train: Iterable[tuple[str, str]], evaluation: Sequence[str], *, workers: int,
    reference: Mapping[str, bool],
) -> int:  # fmt: skip
    """Encode training pairs and evaluation sources into OUT, ids.json last; returns how many pairs there are.

    `reference` says of each thing whether it is the reference's: a closed run needs all of them to be.
    """
    size = encoding.read(encoding.vocabulary).size
    if size > ids.MOST_IDS:
        raise PrepareError(f"{encoding.vocabulary} has {size:,} ids, and token ids have room for {ids.MOST_IDS:,}")
    with ProcessPoolExecutor(workers, get_context("forkserver"), _start, (encoding,)) as pool:
        counts = _write_parts(out, ids.TRAIN, train, pool, workers)
        counts |= _write_parts(out, (ids.EVALUATION,), ((line,) for line in evaluation), pool, workers)
    sentences, tokens = ({part: count[place] for part, count in counts.items()} for place in (0, 1))
    differs = tuple(name for name, same in reference.items() if not same)
    for name, same in reference.items():
        print(f"{name}: {'the same as the reference' if same else 'differs from the reference'}", flush=True)
    index = ids.Index(encoding.benchmark, size, sentences, tokens, differs)
    with written(out / ids.INDEX) as file:
        file.write(index.to_json().encode())
    return sentences[ids.TRAIN[0]]


def same_file(path: Path, digest: str) -> bool:
    """Whether a file has a digest, such as md5:0123..."""
    algorithm, _, wanted = digest.partition(":")
    return digests_of(path, [algorithm])[algorithm] == wanted


def _write_parts(
    out: Path, parts: Sequence[str], rows: Iterable[tuple[str, ...]], pool: ProcessPoolExecutor, workers: int
) -> dict[str, tuple[int, int]]:
    """Sentences and tokens written, by part."""
    sentences, tokens = 0, dict.fromkeys(parts, 0)
    with ExitStack() as files:
        streams = [
            [files.enter_context(written(out / f"{part}.{kind}")) for kind in ("ids", "lengths")] for part in parts
        ]
        bar = files.enter_context(tqdm(desc=f"ids of {', '.join(parts)}", unit=" sentences", mininterval=1))
        for encoded in _in_order(pool, _chunks(rows), 2 * workers):
            for part, stream, (values, lengths, longest, place) in zip(parts, streams, encoded, strict=True):
                if longest >= ids.MOST_IDS:
                    raise PrepareError(f"sentence {sentences + place + 1:,} of {part} has {longest:,} tokens; there is "
                                       f"room for {ids.MOST_IDS - 1:,}")  # fmt: skip
                stream[0].write(values)
                stream[1].write(lengths)
                tokens[part] += len(values) // ids.ID_BYTES
            count = len(encoded[0][1]) // ids.ID_BYTES
            sentences += count
            bar.update(count)
    return {part: (sentences, tokens[part]) for part in parts}


def _chunks(rows: Iterable[tuple[str, ...]]) -> Iterator[Rows]:
    stream = iter(rows)
    while chunk := list(itertools.islice(stream, LINES_AT_ONCE)):
        yield tuple(zip(*chunk, strict=True))


def _in_order(pool: ProcessPoolExecutor, chunks: Iterator[Rows], most: int) -> Iterator[Encoded]:
    """Chunks encoded by the workers, at most so many of them under way: map() would take all the text at once."""
    waiting: list[Future[Encoded]] = [pool.submit(_encode, chunk) for chunk in itertools.islice(chunks, most)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(_encode, chunk) for chunk in itertools.islice(chunks, 1)]


_encoder: tuple[Tokens, Symbols] | None = None  # of a worker process


def _start(encoding: Encoding) -> None:
    global _encoder  # noqa: PLW0603 - a worker process has one task
    _encoder = encoding.read(encoding.vocabulary), encoding.symbols


def _encode(chunk: Rows) -> Encoded:
    assert _encoder is not None, "the pool starts its workers with _start"
    tokens, symbols = _encoder
    encoded = []
    for lines in chunk:
        sentences = [[*symbols.begin, *line, *symbols.end] for line in tokens.encode(lines, "text")]
        lengths = [len(sentence) for sentence in sentences]
        values = np.fromiter(itertools.chain.from_iterable(sentences), dtype="<u2", count=sum(lengths))
        longest = max(lengths)
        stored = np.minimum(lengths, ids.MOST_IDS - 1).astype("<u2")  # the caller refuses longer ones
        encoded.append((values.tobytes(), stored.tobytes(), longest, lengths.index(longest)))
    return encoded
