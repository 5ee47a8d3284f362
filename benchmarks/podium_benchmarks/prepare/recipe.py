"""How one benchmark's data set is made, as its record says it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Recipe:
    """`module` of this package has ARCHIVES and prepare(archives, out, workers).

    It may have listed(archives): further archives, which those name.
    """

    module: str
    license: str
    result_bytes: int  # roughly
    by_hand: str = ""  # how a person gets the archives whose license forbids automatic download

    def load(self) -> ModuleType:
        """Imported when needed: some recipes load torch."""
        return importlib.import_module(f"podium_benchmarks.prepare.{self.module}")


COCO = Recipe("coco", "annotations CC BY 4.0; each photo its owner's, by Flickr's terms of use; backbones MIT (MSRA's) "
              "and BSD-3-Clause (torchvision's)", 21_000_000_000)  # fmt: skip
