"""A language small enough to be learned in a minute: every word has one translation, and some words change places."""

from __future__ import annotations

from itertools import product

import numpy as np

WORDS = 80  # of each language
SHORTEST, LONGEST = 3, 8
SEED = 25  # the data set is the same in every run
SOURCE_WORDS = ["".join(parts) for parts in product("bdfgk", "aeio", "lmnr")]
TARGET_WORDS = ["".join(parts) for parts in product("pstvz", "aeou", "hjwx")]


def toy_language(pairs: int) -> tuple[list[str], list[str]]:
    """Sentences and their translations; the first half of the words ("adjectives") go behind the word they precede.

    No source sentence comes twice, so that none is in both a training and an evaluation set.
    """
    random = np.random.default_rng(SEED)
    meaning = random.permutation(WORDS)
    sentences: dict[tuple[int, ...], None] = {}  # in order
    while len(sentences) < pairs:
        length = int(random.integers(SHORTEST, LONGEST + 1))
        sentences[tuple(random.integers(0, WORDS, length).tolist())] = None
    source = [" ".join(SOURCE_WORDS[word] for word in sentence) for sentence in sentences]
    target = [" ".join(TARGET_WORDS[meaning[word]] for word in reordered(sentence)) for sentence in sentences]
    return source, target


def reordered(sentence: tuple[int, ...]) -> list[int]:
    """Each adjective changes places with the word behind it unless that is an adjective too."""
    words = list(sentence)
    for place in range(len(words) - 1):
        if sentence[place] < WORDS // 2 <= sentence[place + 1]:
            words[place], words[place + 1] = words[place + 1], words[place]
    return words
