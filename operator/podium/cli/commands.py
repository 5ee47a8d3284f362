"""The commands by name. A command's module is imported only when the command runs; --help needs just its summary."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_COMMANDS = {  # name: (module:function or Typer app, summary), in the order of --help: first what a newcomer needs
    "run": ("podium.cli.run:run", "Run a benchmark and score it."),
    "validate": ("podium.cli.validate:validate", "Check BenchmarkRuns and BenchmarkSweeps before they are applied."),
    "watch": ("podium.cli.watch.command:watch", "Follow a run in the cluster: progress, time left, score."),
    "sweep": ("podium.cli.sweep:app", "Judge nodes, node counts or variants of the cluster."),
    "report": ("podium.cli.report:report", "Write an HTML report on a result."),
    "score": ("podium.cli.score:score", "Score the logs of a benchmark, a system, a submitter or a round."),
    "check": ("podium.cli.check:check", "Check logs against the rules of their round."),
    "variance": ("podium.cli.variance:variance", "Show how much convergence and time to train vary."),
    "compare": ("podium.cli.compare:compare", "Compare two results or rounds."),
    "gate": ("podium.cli.gate:gate", "Accept or refuse a new result, by how fast earlier ones were."),
    "history": ("podium.cli.history:history", "List all results below a folder or URL, newest first."),
    "borrow": ("podium.cli.borrow:borrow", "Copy the hyperparameters of another result into a run."),
    "package": ("podium.cli.package:package", "Build a submission package after checking it."),
    "review": ("podium.cli.review:review", "Review a package: recompute scores, recheck every log."),
    "verify": ("podium.cli.verify:verify", "Verify a result: its signature, its ledger and every file."),
    "keygen": ("podium.cli.keys:keygen", "Make a key that signs results."),
    "stage": ("podium.cli.stage:stage", "Copy a data set to this machine's disk."),
    "replay": ("podium.cli.replay:replay", "Print a stored log again, with the stamps of now."),
    "round": ("podium.cli.rounds:app", "Show rounds: targets, attempts, hyperparameters, clock."),
    "operator": ("podium.cli.operator:operator", "Run the operator: watch BenchmarkRuns and execute them."),
}


class LazyGroup(TyperGroup):
    """Lists all commands, and loads only the one that runs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, summary) in _COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary, short_help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name else None, rest


def load_command(name: str) -> TyperCommand | TyperGroup:
    """Import the command's module. Raises KeyError for an unknown name."""
    place, summary = _COMMANDS[name]
    module, _, attribute = place.partition(":")
    found = getattr(import_module(module), attribute)
    app = found
    if not isinstance(found, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(found)
    command: Any = typer.main.get_command(app)
    command.name, command.short_help = name, summary
    return command  # type: ignore[no-any-return]


def load_commands() -> dict[str, TyperCommand | TyperGroup]:
    """All commands by name, in the order of --help."""
    return {name: load_command(name) for name in _COMMANDS}
