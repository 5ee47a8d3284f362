"""Beam search against trying every translation, and independent of what shares its batch."""

from itertools import product

import pytest
import torch

from podium_benchmarks.core.beam import BeamSettings, beam_search

END, WORDS, LIMIT, SOURCES = 0, 4, 4, 3  # words 0..3, translations of at most 4 words with their end


class Table:
    """A 'model' whose next word depends on the sentence and all words before: random logits, looked up by prefix."""

    def __init__(self, sentences, seed):
        self._logits, self._attention = {}, {}
        generator = torch.Generator().manual_seed(seed)
        for sentence in range(sentences):
            for length in range(LIMIT):
                for prefix in product(range(WORDS), repeat=length):
                    self._logits[sentence, prefix] = 2 * torch.randn(WORDS, generator=generator)
                    weights = torch.rand(SOURCES, generator=generator)
                    weights[-1] = 0.0  # padding never gets any
                    self._attention[sentence, prefix] = weights / weights.sum()

    def step(self, words, position, memory, state):
        """The state is the prefix, kept as a tensor so that the search has to reorder it."""
        prefixes = torch.cat([state[0], words.unsqueeze(1)], dim=1)  # (N * beam, position + 1), begin included
        keys = [(int(memory[0][row * len(memory[0]) // len(words)]), tuple(prefix[1:].tolist()))
                for row, prefix in enumerate(prefixes)]  # fmt: skip
        return (torch.stack([self._logits[key] for key in keys]), [prefixes],
                torch.stack([self._attention[key] for key in keys]))  # fmt: skip

    def score(self, sentence, words, settings):
        """By definition: log p / norm + coverage."""
        log_p, attended = 0.0, torch.zeros(SOURCES)
        for place, word in enumerate(words):
            log_p += self._logits[sentence, words[:place]].log_softmax(0)[word].item()
            attended += self._attention[sentence, words[:place]]
        norm = ((5 + len(words) + settings.counts_begin) / 6) ** settings.length_power
        penalty = sum(torch.log(part.clamp(max=1)).item() for part in attended[:-1])
        return log_p / norm + settings.coverage * penalty

    def best(self, sentence, settings):
        """The best of all translations that end."""
        ending = [(*words, END) for length in range(LIMIT) for words in product(range(1, WORDS), repeat=length)]
        return list(max(ending, key=lambda words: self.score(sentence, words, settings))[:-1])


def search(table, sentences, settings, limits=None):
    """Translations of the numbered sentences as one batch."""
    return beam_search(
        table.step,
        first=torch.full((len(sentences),), 9),
        end=END,
        memory=[torch.tensor(sentences)],
        state=[torch.zeros((len(sentences) * settings.beam, 0), dtype=torch.int64)],
        limits=torch.full((len(sentences),), LIMIT) if limits is None else torch.tensor(limits),
        settings=settings,
    )


WIDE = WORDS**LIMIT  # nothing is ever pruned


@pytest.mark.parametrize(
    "settings",
    [
        BeamSettings(WIDE, length_power=0.0),
        BeamSettings(WIDE, length_power=0.6),
        BeamSettings(WIDE, length_power=2.0),
        BeamSettings(WIDE, length_power=0.6, coverage=0.1, counts_begin=True),
        BeamSettings(WIDE, length_power=0.6, coverage=2.0),
    ],
)
def test_a_beam_wide_enough_finds_the_best_of_all_translations(settings):
    table = Table(sentences=12, seed=3)
    assert search(table, list(range(12)), settings) == [table.best(sentence, settings) for sentence in range(12)]


def test_settings_make_a_difference():
    table = Table(sentences=30, seed=4)
    results = {str(search(table, list(range(30)), BeamSettings(WIDE, power, coverage)))
               for power, coverage in [(0.0, 0.0), (2.0, 0.0), (0.6, 0.0), (0.6, 2.0)]}  # fmt: skip
    assert len(results) == 4


def test_a_beam_of_one_is_greedy():
    table = Table(sentences=5, seed=5)
    for sentence in range(5):
        words = ()
        while len(words) < LIMIT:
            best = int(table._logits[sentence, words].argmax())
            if best == END:
                break
            words += (best,)
        found = search(table, [sentence], BeamSettings(1, length_power=0.0))
        if len(words) < LIMIT:  # else greedy decoding had no end, and the search may have found one on the way
            assert found == [list(words)]


@pytest.mark.parametrize("beam", [1, 2, 3])
def test_a_translation_does_not_depend_on_its_batch(beam):
    table, settings = Table(sentences=8, seed=6), BeamSettings(beam, length_power=0.6, coverage=0.2)
    together = search(table, list(range(8)), settings)
    assert together == [search(table, [sentence], settings)[0] for sentence in range(8)]
    assert list(reversed(together)) == search(table, list(reversed(range(8))), settings)


def test_each_sentence_keeps_its_own_limit():
    table, settings = Table(sentences=20, seed=7), BeamSettings(3, length_power=0.6)
    limits = [1 + sentence % LIMIT for sentence in range(20)]
    together = search(table, list(range(20)), settings, limits)
    assert together == [search(table, [n], settings, [limit])[0] for n, limit in enumerate(limits)]
    assert all(len(words) <= limit for words, limit in zip(together, limits, strict=True))


def test_without_an_end_in_reach_the_best_unfinished_translation_is_taken():
    def never_ends(words, position, memory, state):
        logits = torch.tensor([-torch.inf, 1.0, 2.0]).expand(len(words), -1)
        return logits, state, None

    found = beam_search(never_ends, first=torch.tensor([1, 1]), end=END, memory=[], state=[],
                        limits=torch.tensor([2, 3]), settings=BeamSettings(2, 0.6))  # fmt: skip
    assert found == [[2, 2], [2, 2, 2]]


def test_no_sentences_have_no_translations():
    empty = torch.zeros(0, dtype=torch.int64)
    assert beam_search(None, first=empty, end=END, memory=[], state=[], limits=empty, settings=BeamSettings(2, 0)) == []
