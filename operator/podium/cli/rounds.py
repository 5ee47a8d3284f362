"""``podium round list`` and ``podium round show``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from podium.cli.errors import UsageError
from podium.cli.output import Json, console, print_json, table
from podium.rounds import (
    ABILITIES,
    Benchmark,
    Hyperparameter,
    Round,
    abilities,
    load_rounds,
    round_name,
    shown,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Show rounds: targets, attempts, hyperparameters, clock.",
)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List rounds, with what Podium can do with each."""
    rounds = load_rounds()
    if as_json:
        print_json(
            [
                {
                    "name": round_.name,
                    "description": round_.description,
                    "logFormat": round_.log_format,
                    "benchmarks": list(round_.benchmarks),
                    "abilities": abilities(round_),
                }
                for round_ in rounds.values()
            ]
        )
        return
    notes: list[str] = []
    made = table("Round", *map(str.capitalize, ABILITIES), "Benchmarks")
    for name, round_ in rounds.items():
        limits = abilities(round_)
        notes += (limit for limit in dict.fromkeys(limits.values()) if limit and limit not in notes)
        cells = (f"yes ({notes.index(limits[each]) + 1})" if limits[each] else "yes" for each in ABILITIES)
        made.add_row(name, *cells, ", ".join(round_.benchmarks))
    console().print(made)
    for number, note in enumerate(notes, 1):
        console().print(f"({number}) {note}", style="dim", highlight=False)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ROUND", help="Name of the round, such as v0.6.")],
    benchmark: Annotated[str | None, typer.Option(help="Only this benchmark.")] = None,
    as_json: Json = False,
) -> None:
    """Show the rules of a round.

    Shows targets, number of attempts, tunable hyperparameters with their allowed values, and the clock.
    """
    rounds = load_rounds()
    round_ = rounds.get(round_name(name) or "")
    if round_ is None:
        raise UsageError(f"{name}: no such round; choose one of {', '.join(rounds)}")
    if benchmark is not None and benchmark not in round_.benchmarks:
        raise UsageError(f"{round_.name} has no benchmark {benchmark}; choose one of {', '.join(round_.benchmarks)}")
    shown = {key: entry for key, entry in round_.benchmarks.items() if benchmark in (None, key)}
    if as_json:
        document = round_.model_dump(mode="json", exclude={"benchmarks"})
        document["abilities"] = abilities(round_)
        document["benchmarks"] = {key: _document(entry) for key, entry in shown.items()}
        print_json(document)
        return
    out = console()
    out.print(Text(round_.name, style="bold").append(f"  {round_.description}", style="not bold"))
    _print_clock(out, round_)
    out.print(_targets(shown))
    for key, entry in shown.items():
        if entry.note:
            out.print(f"{key}: {entry.note}", style="dim")
    tunable = {key: entry for key, entry in shown.items() if entry.tunable}
    if tunable:
        what = Text("\nWhat a closed submission may tune", style="bold")
        out.print(what.append(" (out of the box: only global_batch_size)", style="not bold"))
        for short, where in round_.documents.items():
            out.print(f"{short}: {where}", style="dim")
        for key, entry in tunable.items():
            out.print(_tunable(key, entry))


def _document(entry: Benchmark) -> dict[str, object]:
    document = entry.model_dump(mode="json")
    for kind, rules in (("tunable", entry.tunable), ("fixed", entry.fixed)):
        for key, rule in rules.items():
            document[kind][key]["text"] = rule.allowed({})
    return document


def _print_clock(out: Console, round_: Round) -> None:
    clock = round_.clock
    grid = Table.grid(padding=(0, 2))
    grid.add_row("clock starts", clock.start)
    grid.add_row("clock stops", clock.stop)
    created = "timed" if clock.model_creation_timed else "untimed"
    cap = f", less than {clock.max_init_seconds / 60:g} minutes" if clock.max_init_seconds else ""
    grid.add_row("model creation", created + cap)
    grid.add_row("epochs", f"count from {round_.first_epoch}")
    grid.add_row("source", clock.source)
    for ability, limit in abilities(round_).items():
        grid.add_row(ability, f"yes, {limit}" if limit else "yes")
    out.print(grid)
    out.print()


def _targets(benchmarks: dict[str, Benchmark]) -> Table:
    made = table("Benchmark", "Target", "Attempts", "Drop", "Fail", "Evaluated", right=("Attempts", "Drop", "Fail"))
    made.caption = "Drop: fastest + slowest attempts left out. Fail: attempts that may fail; they count as the slowest."
    made.caption_justify = "left"
    for key, b in benchmarks.items():
        signs = [f"{q.metric} {'<=' if q.lower_is_better else '>='} {q.target:g}" for q in b.quality]
        runs = f"{b.runs}" + (f", first {b.converged_runs}" if b.converged_runs else "")
        drop = f"{b.drop_fastest}+{b.drop_slowest}"
        made.add_row(key, Text("\n".join(signs) or "as logged"), runs, drop, str(b.max_failures), b.eval_every)
    return made


def _tunable(name: str, entry: Benchmark) -> Table:
    """A table of allowed values, each with its rule's id, source and reference value, and its meaning."""
    made = table(name, "Allowed values; rule, source, reference; meaning")
    made.columns[0].no_wrap = True
    for key, rule in entry.tunable.items():
        made.add_row(key, _ruled(rule))
    for key, rule in entry.fixed.items():
        made.add_row(f"({key})", _ruled(rule, "fixed: "))
    return made


def _ruled(rule: Hyperparameter, prefix: str = "") -> Text:
    of = f", with {' or '.join(rule.optimizers)} only" if rule.optimizers else ""
    reference = "" if rule.reference is None else f"; reference: {shown(rule.reference)}"
    what = [f"{rule.id}, {rule.source}{reference}", rule.description]
    return Text(f"{prefix}{rule.allowed({})}{of}").append("\n" + "\n".join(filter(None, what)), style="dim")
