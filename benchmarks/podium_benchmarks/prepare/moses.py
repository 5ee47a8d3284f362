"""Moses' word tokenization of English and German (tokenizer.perl as the GNMT reference calls it), in our own words.

What it does: punctuation stands alone but for points, apostrophes and hyphens within words and commas within numbers;
English apostrophes stay with what follows them; a full stop stays with an abbreviation or when the sentence continues;
what XML needs is escaped. Its lists of abbreviations are longer than the ones here.
"""

from __future__ import annotations

import re

ABBREVIATIONS = {
    "en": frozenset({"Dr", "Gen", "Gov", "Hon", "Jr", "Lt", "Mr", "Mrs", "Ms", "Prof", "Rep", "Rev", "Sen", "Sgt", "Sr",
                     "St", "e.g", "i.e", "v", "vs"}),
    "de": frozenset({"Abs", "Dr", "Fr", "Hr", "Hrn", "Mio", "Mr", "Mrd", "Prof", "St", "Str", "bzw", "ca", "d.h", "etc",
                     "evtl", "ggf", "inkl", "sog", "u.a", "usw", "vgl", "z.B"}),
}  # fmt: skip
BEFORE_NUMBERS = {"en": frozenset({"No", "Nos", "Art", "pp"}), "de": frozenset({"Nr", "Art"})}
ESCAPES = (("&", "&amp;"), ("|", "&#124;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&apos;"), ('"', "&quot;"),
           ("[", "&#91;"), ("]", "&#93;"))  # fmt: skip
ALONE = re.compile(r"([^\w\s.'`,\-]|_)")
CONTROL = re.compile(r"[\x00-\x1f]")
DOTS = re.compile(r"\.{2,}")
COMMA = re.compile(r"(?<!\d),|,(?!\d)")
APOSTROPHES_EN = (
    (re.compile(r"(?<![^\W\d_])'(?![^\W\d_])"), " ' "),
    (re.compile(r"(?<![^\W_])'(?=[^\W\d_])"), " ' "),
    (re.compile(r"(?<=[^\W\d_])'(?![^\W\d_])"), " ' "),
    (re.compile(r"(?<=[^\W\d_])'(?=[^\W\d_])"), " '"),
    (re.compile(r"(?<=\d)'(?=s)"), " '"),
)
MOST_WORDS, MOST_TIMES = 80, 9  # clean-corpus-n.perl: words of a sentence, and of one side per word of the other
MARK = "\ue000"  # of private use: stands for several points while single ones are handled


def tokenize(line: str, language: str) -> str:
    """Words between single spaces."""
    text = ALONE.sub(r" \1 ", CONTROL.sub("", " ".join(line.split())))
    text = DOTS.sub(lambda dots: f" {MARK * len(dots[0])} ", text)
    text = COMMA.sub(" , ", text)
    if language == "en":
        for pattern, replacement in APOSTROPHES_EN:
            text = pattern.sub(replacement, text)
    else:
        text = text.replace("'", " ' ")
    words = text.split()
    parted = (_parted(word, words[place + 1] if place + 1 < len(words) else "", language)
              for place, word in enumerate(words))  # fmt: skip
    text = " ".join(parted).replace(MARK, ".")
    for character, escape in ESCAPES:
        text = text.replace(character, escape)
    return text


def _parted(word: str, following: str, language: str) -> str:
    """A full stop set apart from its word, unless it belongs to it."""
    stem = word[:-1]
    if not word.endswith(".") or not stem:
        return word
    letters = any(character.isalpha() for character in stem)
    abbreviated = (len(stem) == 1 and stem.isupper()) or stem in ABBREVIATIONS[language]
    ordinal = language == "de" and stem.isdecimal() and len(stem) <= 2
    goes_on = following[:1].islower()
    numbered = stem in BEFORE_NUMBERS[language] and following[:1].isdecimal()
    if ("." in stem and letters) or abbreviated or ordinal or goes_on or numbered:
        return word
    return f"{stem} ."


def tokenize_pairs(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """English and German pairs in words, without those that the reference cleans away or filters out."""
    words = ((tokenize(english, "en"), tokenize(german, "de")) for english, german in pairs)
    return [pair for pair in words if _fits(*pair)]


def _fits(english: str, german: str) -> bool:
    lengths = len(english.split()), len(german.split())
    if not 1 <= min(lengths) <= max(lengths) <= MOST_WORDS or max(lengths) > MOST_TIMES * min(lengths):
        return False
    return max(english + german) <= "\xff"  # Latin 1, as pytorch/scripts/filter_dataset.py has it
