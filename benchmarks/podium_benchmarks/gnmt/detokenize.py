"""Moses' detokenizer.perl as the reference calls it (without a language), for text that Moses tokenized."""

from __future__ import annotations

import unicodedata

ESCAPES = (("&bar;", "|"), ("&#124;", "|"), ("&lt;", "<"), ("&gt;", ">"), ("&bra;", "["), ("&ket;", "]"),
           ("&quot;", '"'), ("&apos;", "'"), ("&#91;", "["), ("&#93;", "]"), ("&amp;", "&"))  # fmt: skip
QUOTES = frozenset("'\"„“`")
OPENING, CLOSING = frozenset("([{¿¡"), frozenset(",.?!:;\\%}])")


def detokenize(text: str) -> str:
    """Plain text: escapes undone, punctuation back at its word, every second quotation mark at the word before it."""
    text = text.replace(" @-@ ", "-")
    for escape, character in ESCAPES:
        text = text.replace(escape, character)
    parts: list[str] = []
    space, before = "", ""
    opened: dict[str, bool] = {}
    for word in text.split():
        glue_left, glue_right = CLOSING.issuperset(word), all(map(_opens, word))
        if QUOTES.issuperset(word):
            mark = '"' if set(word) <= set("„“") else word
            possessive = word == "'" and before.endswith("s") and not opened.get(mark)
            glue_left = possessive or opened.get(mark, False)
            glue_right = not glue_left
            if not possessive:
                opened[mark] = not opened.get(mark, False)
        elif word[0] == "'" and word[1:2].isalpha() and before[-1:].isalnum():
            glue_left = True  # 's, 'll
        parts += [word] if glue_left else [space, word]
        space, before = "" if glue_right else " ", word
    return "".join(parts)


def _opens(character: str) -> bool:
    return character in OPENING or unicodedata.category(character) == "Sc"
