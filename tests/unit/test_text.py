"""What comes from outside, made fit to be shown."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.text import csv_cell, json_text, one_line, printable, without_escapes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ResNet-50, 32×8 µs — 東京 ✓ é\u0301", "ResNet-50, 32×8 µs — 東京 ✓ é\u0301"),
        ("a\nb\tc", "a\nb\tc"),
        ("\x1b]0;title\x07", "�]0;title�"),
        ("\x9b2J\x7f\x00\r", "�2J���"),
        ("tin\u202exe.exe\u2066", "tin�xe.exe�"),
        ("a\u200bb\ufeff\u00ad\u2060", "a�b���"),
        ("\ud800 \uffff \u2028 \U000e0041", "� � � �"),
    ],
)
def test_what_a_terminal_obeys_or_nobody_sees_is_replaced(text, shown):
    assert printable(text) == shown
    assert len(printable(text)) == len(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mCUDA error\x1b[0m: out of \x1b[1;4mmemory\x1b[m", "CUDA error: out of memory"),
        ("\x1b]0;title\x07a \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "a link"),
        ("\x1bP1$r\x1b\\b\x1b(Bc\x1b7d\x1b=e", "bcde"),
        ("cut off \x1b[3", "cut off \x1b[3"),  # what is no sequence stays; it is replaced when it is shown
        ("[31m is text", "[31m is text"),
    ],
)
def test_the_escape_sequences_of_a_terminal_are_removed(text, shown):
    assert without_escapes(text) == shown


def test_control_strings_without_an_end_take_no_time():
    assert len(without_escapes("\x1b]" * 100_000)) == 200_000


@given(st.text(st.characters(codec=None)))
def test_no_character_of_these_kinds_is_left(text):
    bad = {c for c in printable(text) if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert bad <= {"\n", "\t"}
    assert not {"\n", "\t"} & set(one_line(text))
    assert json.loads(json_text(text)) == text
    assert printable(json_text(text)) == json_text(text)


def test_of_all_characters_only_these_kinds_are_replaced():
    kinds = {unicodedata.category(c) for c in map(chr, range(sys.maxunicode + 1)) if printable(c) != c}
    assert kinds == {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp", "Lo", "Mn"}  # letters of no width, and what is no character


def test_one_line():
    assert one_line("a\nb\r\n\tc  d") == "a b c  d"
    assert one_line(ValueError("a\x1bb")) == "a�b"


@pytest.mark.parametrize(
    ("value", "cell"),
    [("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("+1", "'+1"), ("-1", "'-1"), ("@SUM(A1)", "'@SUM(A1)"), ("\t=1", "' =1"),
     ("\r=1", "' =1"), ("\uff1d1", "'\uff1d1"), (" =1", "' =1"), ("a=1", "a=1"), ("", ""), (-1.5, -1.5), (None, None),
     (True, True)],
)  # fmt: skip
def test_no_cell_is_a_formula(value, cell):
    assert csv_cell(value) == cell
