"""JSON that is nested deeper than any decoder goes."""

from __future__ import annotations

import json

import pytest

from podium.kube.decode import MAX_DEPTH, loads, shallow


def nested(levels, open_, close, inner=""):
    return f'{{"a": {open_ * levels}{inner}{close * levels}, "b": "]}}[{{", "c": [1]}}'.encode()


@pytest.mark.parametrize(("open_", "close", "inner"), [("[", "]", ""), ('{"x":', "}", "1"), ('["\\"]",', "]", "1")])
@pytest.mark.parametrize("levels", [1, 2000, 9990])
def test_the_rest_of_a_document_is_read(open_, close, inner, levels):
    found = loads(nested(levels, open_, close, inner))
    assert (found["b"], found["c"]) == ("]}[{", [1])


def test_what_is_cut_is_null():
    document = json.loads(shallow(nested(MAX_DEPTH, "[", "]")))["a"]
    for _ in range(MAX_DEPTH - 2):
        (document,) = document
    assert document == [None]


def test_a_shallow_document_stays_as_it_is():
    content = nested(MAX_DEPTH - 1, "[", "]")
    assert shallow(content) == content
    many = json.dumps([["[", "\\", '"']] * 1000).encode()
    assert shallow(many) == many


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": "', b"[" * 2000, b"]" * 2000, b"<html>"])
def test_what_is_not_json_is_an_error(content):
    with pytest.raises(ValueError):  # noqa: PT011 - any message
        loads(content)
