"""The page about the command line: every command with its arguments and options, from the program itself."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc

import typer
from typer.core import TyperGroup

from podium.cli.commands import load_commands
from tools.docs.markdown import code, plain, table

_HEAD = """# Command line

`podium` is also installed as `kubectl-podium`, so `kubectl podium ...` runs the same program. The exit code is 0 on
success, 1 with findings, and 2 on a usage error.
"""


def page() -> str:
    """The page."""
    sections = (line for name, command in load_commands().items() for line in _commands(command, f"podium {name}"))
    return "\n".join([_HEAD, *sections])


def _commands(command: typer.core.TyperCommand | TyperGroup, name: str) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for child in command.commands.values():
            yield from _commands(child, f"{name} {child.name}")
        return
    context = typer.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield f"## {name}\n"
    yield f"{plain(cleandoc(command.help or ''))}\n"
    yield f"```console\n$ {usage}\n```\n"
    yield table(["", "default", "meaning"], [_parameter(parameter) for parameter in command.params])


def _parameter(parameter: object) -> tuple[str, str, str]:
    spelled = ", ".join(code(word) for word in getattr(parameter, "opts", ()) if word.startswith("-"))
    name = spelled or code(parameter.metavar or parameter.name.upper())  # type: ignore[attr-defined]
    default = parameter.default  # type: ignore[attr-defined]
    shown = "**required**" if parameter.required else "" if default in (None, False, ()) else code(default)  # type: ignore[attr-defined]
    variable = getattr(parameter, "envvar", None)
    about = plain(getattr(parameter, "help", None) or "")
    return name, shown, f"{about} Environment: {code(variable)}." if variable else about
