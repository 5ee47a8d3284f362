"""Commands and their options."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import yaml
from pydantic import ValidationError

from podium.api import BenchmarkRunSpec
from podium.cli import borrow, check, compare, history, package, report, review, rounds, score, stage, variance, watch
from podium.cli.display import Display, local_lines, local_screen, print_result
from podium.cli.files import UsageError, read_run_file
from podium.cli.logging_setup import configure_logging
from podium.cli.output import console
from podium.launch import TrainerDefaults
from podium.local import LocalRun
from podium.rounds import load_rounds
from podium.stores import StoreError, open_store

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
_ERRORS = console(stderr=True)
app.command()(check.validate)
app.command()(score.score)
app.command()(check.check)
app.command()(variance.variance)
app.command()(compare.compare)
app.command()(history.history)
app.command()(report.report)
app.command()(borrow.borrow)
app.command()(package.package)
app.command()(review.review)
app.command()(stage.stage)
app.command()(watch.watch)
app.add_typer(rounds.app, name="round")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"podium {version('podium-operator')}")
        raise typer.Exit


@app.callback()
def podium(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Time-to-train benchmarks by the rules of MLPerf Training.

    Exit code: 0 when all is well, 1 with findings or without a valid score, 2 for wrong use. As kubectl's plugin:
    kubectl podium COMMAND.
    """


@app.command()
def run(
    file: Annotated[
        Path, typer.Argument(metavar="RUN.yaml", help="A BenchmarkRun, such as examples/resnet-digits.yaml.")
    ],
    local: Annotated[bool, typer.Option("--local", help="Run on this machine instead of a cluster.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the result; it must not hold one already.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that takes the place of the run's data.")] = None,
) -> None:
    """Run a benchmark to its scored result."""
    if not local:
        raise UsageError(f"in a cluster: kubectl apply -f {file}\non this machine: podium run --local {file}")
    name, spec = read_run_file(file)
    if spec.data and data is None:
        raise UsageError(f"{file} reads its data from {_data_place(spec)}: name a folder in its place with --data DIR")
    if data is not None and not data.is_dir():
        raise UsageError(f"--data {data}: no such folder")
    if spec.template.image and not spec.template.command:
        raise UsageError(
            f"{file} runs the image {spec.template.image}: a local run needs its command in template.command"
        )
    folder = (out or Path("results") / f"{name}-{_stamp()}").resolve()
    if (folder / "result.json").exists():
        raise UsageError(f"--out {folder} holds a result already: choose another folder")
    store = open_store(str(folder))
    store.check()
    benchmark = LocalRun(name, spec, store, load_rounds(), str(data.resolve()) if data else "")
    screen = console()
    try:
        with Display(screen) as display:
            shown = benchmark.execute(lambda run, seen: display.show(local_screen(run, seen), local_lines(run, seen)))
            ended = asyncio.run(_until_told(shown))
    except (KeyboardInterrupt, asyncio.CancelledError):
        screen.print(f"aborted; what was measured is in {folder}", soft_wrap=True)
        raise typer.Exit(130) from None
    print_result(screen, ended, str(folder))
    raise typer.Exit(0 if ended.status.score and ended.status.score.valid else 1)


@app.command()
def operator(
    results_url: Annotated[
        str, typer.Option(envvar="PODIUM_RESULTS_URL", help="Where results go: s3://bucket/prefix or file:///folder.")
    ],
    results_endpoint: Annotated[
        str | None, typer.Option(envvar="PODIUM_RESULTS_ENDPOINT", help="S3 endpoint, when it is not Amazon's.")
    ] = None,
    results_region: Annotated[str | None, typer.Option(envvar="PODIUM_RESULTS_REGION", help="S3 region.")] = None,
    trainer_image: Annotated[
        str | None, typer.Option(envvar="PODIUM_TRAINER_IMAGE", help="Image of the reference trainers.")
    ] = None,
    trainer_defaults: Annotated[
        Path | None,
        typer.Option(envvar="PODIUM_TRAINER_DEFAULTS", help="YAML: what the administrator adds to every training pod."),
    ] = None,
    operator_image: Annotated[
        str | None,
        typer.Option(envvar="PODIUM_OPERATOR_IMAGE", help="Image of this operator: it stages data sets, too."),
    ] = None,
    namespace: Annotated[list[str] | None, typer.Option(help="Watch only this namespace; may be repeated.")] = None,
    listen: Annotated[
        str, typer.Option(envvar="PODIUM_LISTEN", help="Address of metrics and probes.")
    ] = "0.0.0.0:8080",
    lease: Annotated[
        str | None, typer.Option(envvar="PODIUM_LEASE", help="namespace/name of the Lease that several replicas share.")
    ] = None,
    rounds: Annotated[list[Path] | None, typer.Option(help="Folder with further round files; may be repeated.")] = None,
    kubeconfig: Annotated[
        str | None, typer.Option(envvar="KUBECONFIG", help="Outside a cluster: how to reach it.")
    ] = None,
    api_rate: Annotated[float, typer.Option(help="Requests to the API server a second, at most, on average.")] = 500.0,
    api_burst: Annotated[int, typer.Option(help="Requests to the API server at once, at most.")] = 1000,
    log_level: Annotated[str, typer.Option(envvar="PODIUM_LOG_LEVEL", help="debug, info, warning or error.")] = "info",
    log_format: Annotated[str, typer.Option(envvar="PODIUM_LOG_FORMAT", help="json or text.")] = "json",
) -> None:
    """Watch BenchmarkRuns and run them: what the operator's container executes."""
    import uvloop  # noqa: PLC0415 - it and what follows are slow to load

    from podium.controller.main import OperatorOptions, OperatorProcess  # noqa: PLC0415

    configure_logging(log_level, log_format)
    options = OperatorOptions(
        results_url=results_url,
        results_endpoint=results_endpoint,
        results_region=results_region,
        trainer=_trainer(trainer_defaults, trainer_image, operator_image),
        namespaces=namespace or (),
        listen=listen,
        lease=lease,
        rounds=rounds or (),
        kubeconfig=kubeconfig,
        api_rate=api_rate,
        api_burst=api_burst,
    )
    try:
        process = OperatorProcess(options)
    except ValueError as error:  # of a round file
        raise UsageError(f"--rounds: {error}") from error
    uvloop.run(process.run())


def _trainer(file: Path | None, image: str | None, operator_image: str | None) -> TrainerDefaults:
    """What the administrator's file says, with the images of the command line."""
    try:
        trainer = TrainerDefaults.model_validate(yaml.safe_load(file.read_text()) if file else {})
    except (OSError, ValidationError, yaml.YAMLError) as error:
        raise UsageError(f"--trainer-defaults {file}: {error}") from error
    if image:
        trainer = trainer.model_copy(update={"image": image})
    if operator_image and trainer.stage.image is None:
        stage = trainer.stage.model_copy(update={"image": operator_image})
        trainer = trainer.model_copy(update={"stage": stage})
    return trainer


def main() -> None:
    """Run the command line; mistakes of use are one sentence and exit code 2."""
    try:
        app()
    except UsageError as error:
        _ERRORS.print(f"podium: {error}", soft_wrap=True)
        sys.exit(2)
    except StoreError as error:
        _ERRORS.print(f"podium: {error}", soft_wrap=True)
        sys.exit(1)


def _data_place(spec: BenchmarkRunSpec) -> str:
    return (spec.data and spec.data.bucket_url) or "a volume claim"


async def _until_told(execution: Coroutine[Any, Any, T]) -> T:
    """SIGTERM ends a run as Ctrl-C does: a trainer that is left behind would keep the machine busy."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await execution


def _stamp() -> str:
    from datetime import datetime  # noqa: PLC0415

    return datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
