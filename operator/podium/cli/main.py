"""The program ``podium``."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from podium.cli.commands import LazyGroup
from podium.cli.errors import UsageError

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"podium {version('podium-operator')}")
        raise typer.Exit


@app.callback()
def podium(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Time-to-train benchmarks under MLPerf Training rules.

    Exit code: 0 on success, 1 with findings or without a valid score, 2 on a usage error. Also a kubectl plugin:
    kubectl podium COMMAND.
    """


def main() -> None:
    """Run the command line. A usage error prints one sentence and exits with 2; a store failure exits with 1."""
    try:
        app()
    except UsageError as error:
        _fail(error, 2)
    except Exception as error:
        from podium.stores import StoreError  # noqa: PLC0415 - slow to load, and --help does not need it

        if not isinstance(error, StoreError):
            raise
        _fail(error, 1)


def _fail(error: Exception, code: int) -> NoReturn:
    from podium.cli.output import console  # noqa: PLC0415 - slow to load, and --help does not need it

    console(stderr=True).print(f"podium: {error}", soft_wrap=True)
    sys.exit(code)
