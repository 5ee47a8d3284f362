"""Documents of others: what is read of them, and what is an error that names document, fault and limit."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from podium.documents import DocumentError, LimitError, file_bytes, read_json, read_yaml

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "x.json is nested 100000 levels deep; the limit is 64"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "x.json is nested 65 levels deep; the limit is 64"),
        (b"9" * 1_000_000, "x.json contains a number with 1000000 digits; the limit is 64"),
        (b"NaN", "x.json contains NaN, which is not valid JSON; write null"),
        (b"[-Infinity]", "x.json contains -Infinity, which is not valid JSON; write null"),
        (b"1e999", "x.json contains 1e999, which is not valid JSON; write null"),
        (b'["\\ud800"]', r"x.json contains '\ud800', which is half a character; remove it"),
        (b'{"\\uDFFF": 1}', r"x.json contains '\udfff', which is half a character; remove it"),
        (b"\xff\xfe\xff", "x.json is not valid JSON: "),
        (b"", "x.json is not valid JSON: Expecting value"),
        (b"{", "x.json is not valid JSON: "),
    ],
)
def test_json_that_is_not_read(content, message):
    with pytest.raises(DocumentError) as error:
        read_json(content, "x.json")
    assert str(error.value).startswith(message)


def test_json_that_is_read():
    document = {"a": [1, 2.5, None, True, "[" * 100], "b": 2**63}
    assert read_json(json.dumps(document).encode(), "x") == document
    assert read_json(b"[" * 64 + b"]" * 64, "x") is not None
    assert read_json(rb'["\ud83d\ude00", "\\ud800"]', "x") == ["\N{GRINNING FACE}", r"\ud800"]
    assert read_json("\ufeff{}".encode(), "x") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (r'a: "\uD800"', r"x.yaml contains '\ud800', which is half a character; remove it"),
        ("[" * 5000, "x.yaml is nested more than 64 levels deep"),
        ("{a: " * 5000, "x.yaml is nested more than 64 levels deep"),
        ("- " * 5000 + "a", "x.yaml is nested more than 64 levels deep"),
        (LAUGHS, "x.yaml contains more than 100,000 values with aliases expanded"),
        ("a: &a {b: *a}", "x.yaml contains &a inside itself; remove the recursive alias"),
        ("a: " + "1" * 1_000_000, "x.yaml contains a number with 1000000 digits; the limit is 64"),
        ("a: 0x" + "f" * 10_000, "x.yaml contains a number with 10002 digits; the limit is 64"),
        ("a: 2026-99-99", "x.yaml is not valid YAML: month must be in 1..12"),
        ("a: *nothing", "x.yaml is not valid YAML: found undefined alias"),
        ("a: !!python/object/apply:os.system [x]", "x.yaml is not valid YAML: could not determine a constructor"),
        ("a: b: c", "x.yaml is not valid YAML: mapping values are not allowed here"),
        ("#" * (1 << 20) + "#", "x.yaml is larger than 1 MiB, the limit for YAML"),
        (b"\xff", "x.yaml is not valid UTF-8: "),
    ],
)
def test_yaml_that_is_not_read(content, message):
    tracemalloc.start()
    with pytest.raises(DocumentError) as error:
        read_yaml(content if isinstance(content, bytes) else content.encode(), "x.yaml")
    assert str(error.value).startswith(message)
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


def test_yaml_that_is_read():
    assert read_yaml(b"a: &a [1, '%s']\nb: *a\n---\nc: 1.5\n" % (b"1" * 100), "x") == [
        {"a": [1, "1" * 100], "b": [1, "1" * 100]}, {"c": 1.5}]  # fmt: skip
    assert read_yaml(b"", "x") == []


def test_a_file_without_end(tmp_path):
    sparse = tmp_path / "big.json"
    with sparse.open("wb") as file:
        file.truncate(8 << 30)
    for path in (sparse, "/dev/zero"):
        with pytest.raises(LimitError, match="is larger than 16 MiB, the limit for such a file"):
            file_bytes(sparse if path is sparse else type(sparse)(path))
