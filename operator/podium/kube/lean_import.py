"""Imports of `kubernetes.aio` without the synchronous client beside it.

The package's ``__init__`` imports all it has: with `requests`, `oauthlib`, `websocket` and others 300 modules, of which
the operator uses none. They take 10 MB.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType


def import_lazily(package: str) -> None:
    """Make a package known whose modules are imported when somebody asks for them, unless it is imported already."""
    if package in sys.modules or (spec := find_spec(package)) is None:
        return

    class Lazy(ModuleType):
        def __getattr__(self, name: str) -> ModuleType:
            try:
                return import_module(f"{package}.{name}")
            except ModuleNotFoundError as error:
                raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=self) from error

    module = module_from_spec(spec)
    module.__class__ = Lazy
    sys.modules[package] = module


import_lazily("kubernetes")
import_lazily("kubernetes.aio")
