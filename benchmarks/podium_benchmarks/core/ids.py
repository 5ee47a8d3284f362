"""Parallel text as token ids, in files that are mapped into memory.

`podium-benchmarks prepare` encodes the text before any clock runs. Beside the vocabulary and newstest2014.de, which is
BLEU's reference, it leaves

    ids.json        what the others hold: see Index
    PART.ids        uint16: all sentences one after another, each with its begin and end
    PART.lengths    uint16: ids of each sentence

for the parts train.en, train.de and newstest2014.en.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.text import Sentences

INDEX, FORMAT = "ids.json", 1
TRAIN, EVALUATION, REFERENCES = ("train.en", "train.de"), "newstest2014.en", "newstest2014.de"
PARTS = (*TRAIN, EVALUATION)
ID_BYTES = 2
MOST_IDS = 1 << 16  # that many different ones fit, and that many in a sentence


@dataclass(frozen=True)
class Index:
    """What is in the files of a prepared folder."""

    benchmark: str
    vocabulary_size: int  # ids, those of symbols included
    sentences: Mapping[str, int]  # by part
    tokens: Mapping[str, int]  # by part
    differs: tuple[str, ...] = ()  # what is not the reference's, for a person; empty in a folder fit for closed runs

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"


def read_index(folder: Path, benchmark: str, vocabulary: str) -> Index:
    """The index of a complete folder; UsageError says what is missing. Looks at names and sizes alone, not at data."""
    file = folder / INDEX
    if not file.is_file():
        raise UsageError(f"--data {folder} has no {INDEX}: make a folder with `podium-benchmarks prepare {benchmark} "
                         "--out NEW`; with --source it takes files that are here already")  # fmt: skip
    try:
        content = json.loads(file.read_text("utf-8"))
        found = content.pop("format")
        index = Index(**content | {"differs": tuple(content["differs"])})
        sizes = {f"{part}.ids": ID_BYTES * index.tokens[part] for part in PARTS}
        sizes |= {f"{part}.lengths": ID_BYTES * index.sentences[part] for part in PARTS}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{file} is not an index of token ids ({error!r}): prepare the folder again") from error
    if (found, index.benchmark) != (FORMAT, benchmark):
        raise UsageError(f"{file} has format {found} and is for {index.benchmark}, not format {FORMAT} for {benchmark}"
                         f": make a folder with `podium-benchmarks prepare {benchmark} --out NEW`")  # fmt: skip
    missing = [name for name in (*sizes, REFERENCES, vocabulary) if not (folder / name).is_file()]
    if missing:
        raise UsageError(f"--data {folder} has no {', '.join(missing)}: copy or prepare the folder again")
    for name, size in sizes.items():
        if (actual := (folder / name).stat().st_size) != size:
            raise UsageError(f"{folder / name} has {actual:,} bytes instead of the {size:,} of {INDEX}: copy or "
                             "prepare the folder again")  # fmt: skip
    return index


def open_part(folder: Path, index: Index, part: str) -> Sentences:
    """The sentences of a part; their ids stay in the file until they are looked at."""
    lengths = np.fromfile(folder / f"{part}.lengths", dtype="<u2")
    starts = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=starts[1:])
    if starts[-1] != index.tokens[part]:
        raise UsageError(f"{folder / part}.lengths add up to {starts[-1]:,} ids instead of the {index.tokens[part]:,} "
                         f"of {INDEX}: copy or prepare the folder again")  # fmt: skip
    # torch calculates in int16, not in uint16; Sentences.padded takes the bits as uint16
    values = torch.from_file(str(folder / f"{part}.ids"), size=index.tokens[part], dtype=torch.int16)
    return Sentences(values, torch.from_numpy(starts))
