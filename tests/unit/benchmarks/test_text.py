"""Parallel text: what is read, what is refused and with which words, encodings, BLEU."""

import gzip
import re

import pytest
import torch

from podium_benchmarks.core.bleu import bleu_over_ranks, corpus_bleu
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.corpora import TOY_EVALUATION, toy_corpus
from podium_benchmarks.core.text import Sentences, flat_positions, read_lines, read_parallel
from podium_benchmarks.core.tokens import BytePairs, Words
from podium_benchmarks.core.toy_language import SOURCE_WORDS, TARGET_WORDS, WORDS, reordered, toy_language
from podium_benchmarks.gnmt.detokenize import detokenize


def test_lines_end_at_line_feeds_alone(tmp_path):
    (tmp_path / "a.en").write_bytes("one\u2028two\r\nthree\x0bfour\n".encode())
    assert read_lines(tmp_path / "a.en") == ["one\u2028two", "three\x0bfour"]
    (tmp_path / "a.en.gz").write_bytes(gzip.compress(b"packed\nlines"))
    assert read_lines(tmp_path / "a.en.gz") == ["packed", "lines"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"one\ntwo\n\nfour\n", "a.en, line 3: empty; remove the line from both languages' files"),
        (b"one\n  \nthree\n", "a.en, line 2: empty;"),
        (b"", "a.en, line 1: empty;"),
        (b"one\ntwo \xff!\n", r"a.en, line 2: not UTF-8 (b'\xff')"),
        (b"one\x00\ntwo\n", "a.en, line 1: character U+0000 is not text"),
        ("one\nt\ufffdo\n".encode(), "a.en, line 2: character U+FFFD is not text"),
    ],
)
def test_lines_that_are_refused(content, words, tmp_path):
    (tmp_path / "a.en").write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(words)):
        read_lines(tmp_path / "a.en")


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "a.en.gz").write_bytes(gzip.compress(b"text" * 100)[:-9])
    with pytest.raises(UsageError, match=r"a.en.gz can't be read: Compressed file ended"):
        read_lines(tmp_path / "a.en.gz")
    (tmp_path / "b.en.gz").write_bytes(b"no gzip")
    with pytest.raises(UsageError, match=r"b.en.gz can't be read: Not a gzipped file"):
        read_lines(tmp_path / "b.en.gz")


def test_unaligned_files_are_named_with_their_lines(tmp_path):
    (tmp_path / "train.en").write_text("one\ntwo\nthree\n")
    (tmp_path / "train.de").write_text("eins\nzwei\n")
    with pytest.raises(UsageError, match=r"train.en has 3 lines and \S*train.de has 2: line n of one must be"):
        read_parallel(tmp_path / "train.en", tmp_path / "train.de")


def test_sentences_are_padded_behind_their_ends():
    sentences = Sentences.of([[5, 6, 7], [8], [9, 9]])
    rows = torch.tensor([1, 0])
    assert sentences.padded(rows).tolist() == [[8, 0, 0], [5, 6, 7]]
    assert sentences.lengths.tolist() == [3, 1, 2]
    assert flat_positions(sentences.lengths_of(rows)).tolist() == [0, 3, 4, 5]
    assert sentences.padded(torch.tensor([], dtype=torch.int64)).shape == (0, 1)


def test_byte_pairs_give_back_any_text():
    lines = ["Zwei junge weiße Männer, im Freien.", "Two young males!", "weiße Männer"] * 5
    tokens = BytePairs(BytePairs.learn(lines, size=290, reserved=2), reserved=2)
    assert tokens.size == 290
    text = "Größe: 5 €, <pad> 漢字"
    (ids,) = tokens.encode([text], "here")
    assert min(ids) >= 2
    assert tokens.decode([0, *ids, 1]) == text
    assert len(tokens.encode(["Männer"], "here")[0]) < len("Männer")


def test_vocabularies_of_files(tmp_path):
    files = tmp_path / "vocab.json", tmp_path / "merges.txt"
    files[0].write_text('{"a": 0, "b": 1, "Ġ": 2, "ab": 3}')
    files[1].write_text("#version: 0.2\na b\n")
    tokens = BytePairs(BytePairs.read(*files, size=6, reserved=2), reserved=2)
    assert tokens.encode(["ab ba"], "x") == [[4, 5, 4, 3, 2]]
    with pytest.raises(UsageError, match=r"train.en, line 2: the vocabulary can't express the character 'c'"):
        tokens.encode(["ab", "abc"], "train.en")
    with pytest.raises(UsageError, match=r"vocab.json has ids up to 3, .* add --set vocab_size=6"):
        BytePairs.read(*files, size=5, reserved=2)
    files[1].write_text("#version: 0.2\nx y\n")
    with pytest.raises(UsageError, match=r"vocab.json and \S*merges.txt are not BPE files of `tokenizers`: "):
        BytePairs.read(*files, size=6, reserved=2)


def test_words():
    assert Words(["a", "b"], reserved=4, unknown=1).encode(["b x a"], "x") == [[5, 1, 4]]
    with pytest.raises(UsageError, match="toy, line 2: unknown word 'c'"):
        Words(["a", "b"], reserved=2).encode(["a b", "a c"], "toy")
    assert Words(["a", "b"], reserved=2).decode([3, 1, 2, 99]) == "b a"


def test_the_toy_language():
    source, target = toy_language(300)
    assert (source, target) == toy_language(300)
    assert len(set(source)) == 300
    assert len(set(SOURCE_WORDS)) == len(set(TARGET_WORDS)) == WORDS
    assert {len(line.split()) for line in source} == {3, 4, 5, 6, 7, 8}
    assert all(len(a.split()) == len(b.split()) for a, b in zip(source, target, strict=True))
    adjective, noun = 1, WORDS - 1
    assert reordered((noun, adjective, noun, adjective, adjective, noun)) == [
        noun, noun, adjective, adjective, noun, adjective,
    ]  # fmt: skip
    corpus = toy_corpus(TOY_EVALUATION + 100, reserved=2)
    assert not set(corpus.train[0]) & set(corpus.evaluation[0])


@pytest.mark.parametrize(
    ("tokenized", "plain"),
    [
        ("Das ist , was er ( gestern ) sagte : nichts .", "Das ist, was er (gestern) sagte: nichts."),
        ("Er sagte : &quot; Komm ! &quot; und ging .", 'Er sagte: "Komm!" und ging.'),
        ("„ Nein “ , rief sie", "„Nein“, rief sie"),
        ("It &apos;s 5 % of $ 10 &amp; more", "It's 5% of $10 & more"),
        ("the dogs &apos; tails", "the dogs' tails"),
        ("well @-@ known &#91; 1 &#93;", "well-known [1]"),
        ("", ""),
    ],
)
def test_detokenizing(tokenized, plain):
    assert detokenize(tokenized) == plain


def test_bleu_is_uncased_and_splits_punctuation():
    assert corpus_bleu(["das ist ein HAUS ."], ["Das ist ein Haus."]) == pytest.approx(1.0)
    # 4 of 5, 3 of 4, 2 of 3 and 1 of 2 n-grams right, no brevity penalty
    expected = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert corpus_bleu(["a b c d x"], ["a b c d e"]) == pytest.approx(expected)


def test_bleu_takes_every_sentence_once(monkeypatch):
    references = ["a b c d", "e f g h", "i j k l"]
    assert bleu_over_ranks({2: "i j k l", 0: "a b c d", 1: "e f g h"}, references) == pytest.approx(1.0)
    with pytest.raises(AssertionError, match=r"not translated: \[1\]"):
        bleu_over_ranks({0: "a", 2: "b"}, references)
    monkeypatch.setattr("podium_benchmarks.core.dist.gather_objects", lambda value: [value, {1: "again"}])
    with pytest.raises(AssertionError, match=r"translated twice: \[1\]"):
        bleu_over_ranks({0: "a", 1: "b", 2: "c"}, references)
