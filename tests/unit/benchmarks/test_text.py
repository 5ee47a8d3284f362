"""Parallel text: what is read, what is refused and with which words, encodings, BLEU."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import torch

from podium_benchmarks.core import corpora, ids
from podium_benchmarks.core.bleu import bleu_over_ranks, count_n_grams
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.corpora import TOY_EVALUATION, toy_corpus
from podium_benchmarks.core.settings import RunSettings
from podium_benchmarks.core.text import Sentences, flat_positions, read_lines, read_parallel
from podium_benchmarks.core.tokens import BytePairs, Subtokens, Symbols, Words
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


PIECES = [
    "<pad>_",
    "<EOS>_",
    "the_",
    "ab",
    "abc_",
    "ca",
    ",_",
    "._",
    ".",
    ",",
    "\\",
    "_",
    "u",
    ";",
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "9",
    "a",
    "b",
    "c",
    "d",
    "e",
    "h",
    "t",
    "ß",
]


@pytest.mark.parametrize(
    ("text", "ids"),
    # made with the reference's own tokenizer.py, with these pieces as its vocabulary
    [
        ("the abcab", [2, 3, 5, 25, 11]),
        ("the, abc.", [2, 32, 4, 7]),
        ("ab  ab", [3, 11, 34, 3, 11]),
        ("a_b", [24, 11, 10, 12, 11, 25, 11]),
        ("a\\u", [24, 11, 10, 10, 11, 12, 11]),
        ("xé", [10, 15, 16, 14, 13, 10, 16, 17, 17, 13, 11]),
        ("7ß8", [21, 31, 22, 11]),
        (" ab ", [33, 11, 3, 11, 33, 11]),
        ("漢", [10, 16, 22, 18, 19, 14, 13, 11]),
        ("", []),
        ("ab, cab.the", [3, 11, 32, 5, 25, 11, 7, 2]),
    ],
)
def test_subtokens_are_the_references(text, ids, tmp_path):
    file = tmp_path / "vocabulary"
    file.write_text("".join(f"'{piece}'\n" for piece in [*PIECES, ", _", " ", "  _"]))
    tokens = Subtokens.read(file, reserved=2)
    assert tokens.size == len(PIECES) + 3
    assert tokens.encode([text], "x") == [ids]
    assert tokens.decode([0, *ids, 1]) == text


def test_vocabularies_that_are_refused(tmp_path):
    file = tmp_path / "vocabulary"
    file.write_text("'<pad>_'\n'<EOS>_'\nab\n")
    with pytest.raises(UsageError, match="vocabulary, line 3: 'ab' is not a subword in quotes"):
        Subtokens.read(file, reserved=2)
    file.write_text("'<pad>_'\n'<EOS>_'\n'ab'\n")
    with pytest.raises(UsageError, match=r"vocabulary lacks 0123456789;\\_u as subwords of their own"):
        Subtokens.read(file, reserved=2)


# ---- prepared ids


def write_prepared(folder, sentences=((40_000, 7, 1), (65_535, 1)), differs=()):
    """A folder of ids with the same sentences in every part."""
    values = np.array([id_ for sentence in sentences for id_ in sentence], dtype="<u2")
    for part in ids.PARTS:
        (folder / f"{part}.ids").write_bytes(values.tobytes())
        (folder / f"{part}.lengths").write_bytes(np.array([len(s) for s in sentences], dtype="<u2").tobytes())
    counts = [dict.fromkeys(ids.PARTS, count) for count in (len(sentences), len(values))]
    (folder / ids.INDEX).write_text(ids.Index("gnmt", 65_536, *counts, differs).to_json())
    (folder / ids.REFERENCES).write_text("eins\nzwei\n")
    (folder / "words").write_text("a\n")


def test_ids_are_mapped_into_memory(tmp_path):
    write_prepared(tmp_path)
    index = ids.read_index(tmp_path, "gnmt", "words")
    part = ids.open_part(tmp_path, index, "train.de")
    assert part.lengths.tolist() == [3, 2]
    assert part.padded(torch.tensor([1, 0])).tolist() == [[65_535, 1, 0], [40_000, 7, 1]]
    assert f"{tmp_path}/train.de.ids" in Path("/proc/self/maps").read_text()


def test_a_folder_is_checked_by_names_and_sizes_alone(tmp_path, monkeypatch):
    def refusal() -> str:
        with pytest.raises(UsageError) as error:
            ids.read_index(tmp_path, "gnmt", "words")
        return str(error.value)

    assert (
        f"--data {tmp_path} has no ids.json: make a folder with `podium-benchmarks prepare gnmt --out NEW`" in refusal()
    )
    write_prepared(tmp_path)
    opened = []
    original = Path.open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, *args, **kw: opened.append(self.name) or original(self, *args, **kw))
        ids.read_index(tmp_path, "gnmt", "words")
    assert opened == ["ids.json"]
    (tmp_path / "train.en.ids").write_bytes(b"12")
    assert f"{tmp_path}/train.en.ids has 2 bytes instead of the 10 of ids.json: copy or prepare" in refusal()
    (tmp_path / "train.en.ids").unlink()
    (tmp_path / "words").unlink()
    assert f"--data {tmp_path} has no train.en.ids, words: copy or prepare the folder again" in refusal()
    (tmp_path / "ids.json").write_text('{"format": 1}')
    assert "is not an index of token ids" in refusal()
    write_prepared(tmp_path)
    with pytest.raises(UsageError, match="is for gnmt, not format 1 for transformer: make a folder with"):
        ids.read_index(tmp_path, "transformer", "words")
    (tmp_path / "train.en.lengths").write_bytes(b"\2\0\2\0")
    with pytest.raises(UsageError, match=r"lengths add up to 4 ids instead of the 5 of ids.json"):
        ids.open_part(tmp_path, ids.read_index(tmp_path, "gnmt", "words"), "train.en")


def test_a_closed_run_needs_the_references_data(tmp_path):
    write_prepared(tmp_path)
    closed = RunSettings(data_dir=tmp_path, division="closed")
    corpora.check_division(closed, "gnmt", "words")
    write_prepared(tmp_path, differs=("train.de", "newstest2014.en"))
    with pytest.raises(
        UsageError, match=r"needs the reference's data, but of --data .* train.de, newstest2014.en differ"
    ):
        corpora.check_division(closed, "gnmt", "words")
    corpora.check_division(RunSettings(data_dir=tmp_path, division="open"), "gnmt", "words")
    (tmp_path / "test_2016_flickr.en").write_text("one\n")
    with pytest.raises(UsageError, match=r"trains on WMT, but --data .* is Multi30k: use division: open"):
        corpora.check_division(closed, "gnmt", "words")


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
    corpus = toy_corpus(TOY_EVALUATION + 100, Symbols(2, (), (1,)))
    train, held_out = (
        {tuple(ids.tolist()) for ids in part.values.split(part.lengths.tolist())}
        for part in (corpus.sources, corpus.evaluation)
    )
    assert (len(train), len(held_out)) == (100, TOY_EVALUATION)
    assert not train & held_out


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
    assert bleu_over_ranks({0: "das ist ein HAUS ."}, ["Das ist ein Haus."]) == pytest.approx(1.0)
    # 4 of 5, 3 of 4, 2 of 3 and 1 of 2 n-grams right, no brevity penalty
    expected = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert bleu_over_ranks({0: "a b c d x"}, ["a b c d e"]) == pytest.approx(expected)
    # 4 of 5 and 2 of 4 right, none of 3 and none of 2: these count as 1/2 and 1/4 of one
    smoothed = (4 / 5 * 2 / 4 * (1 / 2) / 3 * (1 / 4) / 2) ** 0.25
    assert bleu_over_ranks({0: "a b x d e"}, ["a b c d e"]) == pytest.approx(smoothed)


@pytest.mark.parametrize("ranks", [1, 2, 5, 40])
def test_bleu_of_several_ranks_is_sacrebleu_s_of_all_sentences(ranks, monkeypatch):
    """Also where a rank has no sentence, and none of a rank's n-grams is right."""
    random = np.random.default_rng(1)
    references = [" ".join(map(str, random.integers(12, size=random.integers(3, 30)))) + "." for _ in range(30)]
    translations = [reference.replace("3", "X", 1).replace("7 ", "") for reference in references]
    translations[4] = "Nichts davon"
    parts = [{index: translations[index] for index in range(rank, 30, ranks)} for rank in range(ranks)]
    gathered = [(list(part), count_n_grams(part, references)) for part in parts]
    monkeypatch.setattr("podium_benchmarks.core.dist.gather_objects", lambda _: gathered)
    expected = sacrebleu.corpus_bleu(translations, [references], lowercase=True, tokenize="intl").score / 100
    assert 0.2 < expected < 0.9
    assert bleu_over_ranks(parts[0], references) == expected


def test_bleu_takes_every_sentence_once(monkeypatch):
    references = ["a b c d", "e f g h", "i j k l"]
    assert bleu_over_ranks({2: "i j k l", 0: "a b c d", 1: "e f g h"}, references) == pytest.approx(1.0)
    with pytest.raises(AssertionError, match=r"not translated: \[1\]"):
        bleu_over_ranks({0: "a", 2: "b"}, references)
    again = [1], count_n_grams({1: "again"}, references)
    monkeypatch.setattr("podium_benchmarks.core.dist.gather_objects", lambda value: [value, again])
    with pytest.raises(AssertionError, match=r"translated twice: \[1\]"):
        bleu_over_ranks({0: "a", 1: "b", 2: "c"}, references)
