"""One master seed, logged; everything random in a run is derived from it.

Seeds of an epoch are the same on all ranks: ranks shuffle alike and each takes its shard, so that a run does not
depend on how many ranks it has.
"""

from __future__ import annotations

import secrets
import zlib

import numpy as np


def master_seed(given: int | None) -> int:
    """The seed that the run was given, else one from the system's random source."""
    return secrets.randbits(62) if given is None else given


def derive(master: int, purpose: str, number: int = 0) -> int:
    """A seed for one purpose (and epoch, or rank); different purposes give independent streams."""
    sequence = np.random.SeedSequence([master, zlib.crc32(purpose.encode()), number])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)  # 63 bits: torch takes a signed int64
