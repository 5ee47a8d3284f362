"""TensorFlow's checkpoints and records, read without TensorFlow.

A checkpoint is PREFIX.index, a sorted table (LevelDB's format, tensorflow/core/lib/io/format.cc) from names to places,
and PREFIX.data-00000-of-00001, the raw tensors (tensorflow/core/protobuf/tensor_bundle.proto). A record file is a
sequence of length, checksum, content, checksum (tensorflow/core/lib/io/record_writer.h), here compressed by zlib. The
checksums of checkpoints are verified; zlib has its own for all that it has compressed.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from podium_benchmarks.prepare.archives import PrepareError

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES, TRAILER_BYTES = 48, 5
KINDS = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}  # tensorflow/core/framework/types.proto
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's wire types
Fields = dict[int, list[int | bytes]]


def read_checkpoint(prefix: Path) -> dict[str, NDArray[np.generic]]:
    """The tensors of a checkpoint by name. Raises PrepareError, naming the file, for a broken one."""
    index, data = prefix.with_name(prefix.name + ".index"), prefix.with_name(prefix.name + ".data-00000-of-00001")
    try:
        entries = dict(_table(index.read_bytes()))
        header, content = _fields(entries.pop(b"")), data.read_bytes()
        return {name.decode(): _tensor(_fields(entry), header, content) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, IndexError, struct.error, OSError) as error:
        raise PrepareError(f"{index} is not the index of a TensorFlow checkpoint with its data beside it "
                           f"({error}): download both again") from error  # fmt: skip


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a sorted table."""
    if len(content) < FOOTER_BYTES or struct.unpack("<Q", content[-8:])[0] != MAGIC:
        raise ValueError("no table ends here")
    footer, at = content[-FOOTER_BYTES:], 0
    for _ in range(2):  # a handle that is not needed, of meta data
        _, at = _varint(footer, at)
    for _, handle in _block(content, footer[at:]):
        yield from _block(content, handle)


def _block(content: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Entries of the block at an offset and of a size; each key shares its beginning with the one before it."""
    start, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    block, trailer = content[start : start + size], content[start + size : start + size + TRAILER_BYTES]
    kind, checksum = struct.unpack("<BI", trailer)
    if kind:
        raise ValueError(f"a block is compressed by method {kind}")
    _verify(block + trailer[:1], checksum)
    (restarts,) = struct.unpack("<I", block[-4:])
    at, end, key = 0, len(block) - 4 - 4 * restarts, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        at += own
        yield key, block[at : at + length]
        at += length


def _tensor(entry: Fields, header: Fields, content: bytes) -> NDArray[np.generic]:
    if _number(header, 1) != 1 or _number(header, 2):
        raise ValueError("it has several parts, or was written on a big-endian machine")
    sizes = [_number(_fields(size), 1) for size in _fields(_content(entry, 2)).get(2, []) if isinstance(size, bytes)]
    kind, offset, length = (_number(entry, number) for number in (1, 4, 5))
    if kind not in KINDS or 7 in entry:
        raise ValueError(f"a tensor has the type {kind}, or is cut into slices")
    raw = content[offset : offset + length]
    _verify(raw, _number(entry, 6))
    values = np.frombuffer(raw, dtype=KINDS[kind])
    if len(values) != math.prod(sizes):
        raise ValueError(f"a tensor of {sizes} has {len(values)} numbers")
    return values.reshape(sizes)


def read_records(file: Path) -> Iterator[dict[str, bytes | float]]:
    """Examples in a zlib-compressed record file, each feature with its value. Raises PrepareError for a broken one."""
    try:
        content = zlib.decompress(file.read_bytes())
        at = 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            struct.unpack_from("<I", content, at + 12 + length)  # its checksum is there: nothing is cut off
            yield _example(content[at + 12 : at + 12 + length])
            at += 16 + length
    except (ValueError, TypeError, KeyError, IndexError, struct.error, zlib.error) as error:
        raise PrepareError(f"{file} is not a file of TensorFlow records, compressed by zlib ({error}): download it "
                           "again") from error  # fmt: skip


def _example(content: bytes) -> dict[str, bytes | float]:
    """tensorflow/core/example/example.proto."""
    values: dict[str, bytes | float] = {}
    for item in _fields(_content(_fields(content), 1)).get(1, []):
        assert isinstance(item, bytes), "an entry of a map"
        entry = _fields(item)
        feature = _fields(_content(entry, 2))
        if 1 in feature:
            value: bytes | float = _content(_fields(_content(feature, 1)), 1)
        else:  # floats, packed or not: both end with the four bytes
            value = struct.unpack("<f", _content(feature, 2)[-4:])[0]
        values[_content(entry, 1).decode()] = value
    return values


def _fields(content: bytes) -> Fields:
    """A protobuf message's values by number."""
    found: Fields = {}
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        kind = tag & 7
        if kind == VARINT:
            value: int | bytes
            value, at = _varint(content, at)
        elif kind == BYTES:
            length, at = _varint(content, at)
            value, at = content[at : at + length], at + length
        elif kind in {FIXED32, FIXED64}:
            size = 4 if kind == FIXED32 else 8
            value, at = int.from_bytes(content[at : at + size], "little"), at + size
        else:
            raise ValueError(f"a message has the wire type {kind}")
        if at > len(content):
            raise ValueError("a message ends too early")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _number(fields: Fields, number: int) -> int:
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise TypeError(f"field {number} is not a number")
    return value


def _content(fields: Fields, number: int) -> bytes:
    value = fields.get(number, [b""])[-1]
    if not isinstance(value, bytes):
        raise TypeError(f"field {number} is a number")
    return value


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, lowest first, and the place after it."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number has more than 64 bits")


def _verify(content: bytes, checksum: int) -> None:
    """TensorFlow's masked CRC32C."""
    crc = crc32c(content)
    if ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF != checksum:
        raise ValueError("a checksum differs")


def crc32c(content: bytes) -> int:
    """Castagnoli's checksum."""
    crc = 0xFFFFFFFF
    table = _TABLE
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_TABLE = tuple(_entry(byte) for byte in range(256))
