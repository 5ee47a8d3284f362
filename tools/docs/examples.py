"""The page of examples: all files of examples/, in the order in which a newcomer needs them."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from tools.docs.markdown import ROOT

_GROUPS = {
    "On a laptop": ("resnet-digits", "*-tiny", "bring-your-own-image"),
    "On GPUs": (
        "resnet-run",
        "resnet",
        "ssd",
        "maskrcnn",
        "gnmt",
        "transformer",
        "ncf",
        "minigo",
        "llama31-8b",
        "round-v0.6",
    ),
    "Queues, energy and cost": ("kueue", "energy-and-cost", "*"),
}


def page() -> str:
    """The page."""
    parts = [
        "# Examples\n",
        "The files of `examples/`. A test checks that the operator admits each of them.\n",
    ]
    left = {file.stem: file for file in sorted((ROOT / "examples").glob("*.yaml"))}
    for group, patterns in _GROUPS.items():
        names = [name for pattern in patterns for name in sorted(left) if fnmatch(name, pattern)]
        parts += [f"## {group}\n", *[_example(left.pop(name)) for name in dict.fromkeys(names)]]
    return "\n".join(parts)


def _example(file: Path) -> str:
    return f'### {file.stem}\n\n```yaml title="examples/{file.name}"\n{file.read_text()}```\n'
