"""Writes TensorFlow's checkpoints and records, from the descriptions of their formats."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from podium_benchmarks.prepare.tensorflow import crc32c


def varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def message(*fields: tuple[int, int | bytes | np.uint32]) -> bytes:
    """A protobuf message of numbers, contents and (np.uint32) fixed numbers."""
    content = b""
    for number, value in fields:
        if isinstance(value, np.uint32):
            content += varint(number << 3 | 5) + struct.pack("<I", value)
        elif isinstance(value, bytes):
            content += varint(number << 3 | 2) + varint(len(value)) + value
        else:
            content += varint(number << 3) + varint(value)
    return content


def masked(content: bytes) -> int:
    crc = crc32c(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def block(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Entries that share the beginnings of their keys, restarting with every fourth."""
    content, restarts, before = b"", [], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % 4:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        else:
            restarts.append(len(content))
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return content + b"".join(struct.pack("<I", place) for place in (*restarts, len(restarts)))


def write_checkpoint(prefix: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """PREFIX.index and PREFIX.data-00000-of-00001."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    data, entries = b"", [(b"", message((1, 1), (3, message((1, 1)))))]
    for name in sorted(tensors):
        raw, array = np.ascontiguousarray(tensors[name]).tobytes(), tensors[name]
        kind = {"float32": 1, "float64": 2, "int32": 3, "int64": 9}[array.dtype.name]
        shape = message(*((2, message((1, size))) for size in array.shape))
        entries.append((name.encode(), message((1, kind), (2, shape), (4, len(data)), (5, len(raw)),
                                               (6, np.uint32(masked(raw))))))  # fmt: skip
        data += raw
    table, index = b"", []
    for start in range(0, len(entries), 7):
        part = block(entries[start : start + 7])
        index.append((entries[start : start + 7][-1][0] + b"~", varint(len(table)) + varint(len(part))))
        table += part + b"\0" + struct.pack("<I", masked(part + b"\0"))
    for part in (block([]), block(index)):
        handle = varint(len(table)) + varint(len(part))
        table += part + b"\0" + struct.pack("<I", masked(part + b"\0"))
    meta = varint(len(table) - 5 - len(part) - 5 - len(block([]))) + varint(len(block([])))
    footer = (meta + handle).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    prefix.with_name(prefix.name + ".index").write_bytes(table + footer)
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)


def write_records(file: Path, examples: Sequence[Mapping[str, bytes | float]]) -> None:
    """tf.train.Example records, compressed by zlib."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = b""
    for example in examples:
        entries = []
        for name, value in example.items():
            feature = (
                (1, message((1, value))) if isinstance(value, bytes) else (2, message((1, struct.pack("<f", value))))
            )
            entries.append((1, message((1, name.encode()), (2, message(feature)))))
        record = message((1, message(*entries)))
        length = struct.pack("<Q", len(record))
        content += length + struct.pack("<I", masked(length)) + record + struct.pack("<I", masked(record))
    file.write_bytes(zlib.compress(content))
