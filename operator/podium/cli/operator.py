"""``podium operator``: the command that the operator's container runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvloop
import yaml
from pydantic import ValidationError

from podium.cli.errors import UsageError
from podium.cli.keys import signing_key_in
from podium.cli.logging_setup import configure_logging
from podium.controller.listening import listen_address
from podium.controller.main import OperatorOptions, OperatorProcess
from podium.launch import TrainerDefaults
from podium.stores import url_examples


def _address(text: str) -> str:
    """Check ``--listen``."""
    try:
        listen_address(text)
    except ValueError as error:
        raise UsageError(f"--listen: {error}") from error
    return text


_ResultsUrl = Annotated[str, typer.Option(envvar="PODIUM_RESULTS_URL", help=f"Where results go: {url_examples()}.")]
_ResultsEndpoint = Annotated[
    str | None, typer.Option(envvar="PODIUM_RESULTS_ENDPOINT", help="S3 endpoint, if not AWS.")
]
_ResultsRegion = Annotated[str | None, typer.Option(envvar="PODIUM_RESULTS_REGION", help="S3 region.")]
_ResultsChecksum = Annotated[
    str | None,
    typer.Option(
        envvar="PODIUM_RESULTS_CHECKSUM",
        help="auto: send S3 the SHA-256 of what is stored, unless the store refuses it. off: never send it.",
    ),
]
_ResultsAddressing = Annotated[
    str | None,
    typer.Option(
        envvar="PODIUM_RESULTS_ADDRESSING",
        help="Where the bucket's name goes: path, virtual (the host name), or auto (path with an endpoint).",
    ),
]


_SigningKey = Annotated[
    Path | None,
    typer.Option(
        envvar="PODIUM_SIGNING_KEY", help="File with the key that signs results, from podium keygen. Default: unsigned."
    ),
]


def operator(
    results_url: _ResultsUrl,
    results_endpoint: _ResultsEndpoint = None,
    results_region: _ResultsRegion = None,
    results_checksum: _ResultsChecksum = None,
    results_addressing: _ResultsAddressing = None,
    signing_key: _SigningKey = None,
    trainer_image: Annotated[
        str | None, typer.Option(envvar="PODIUM_TRAINER_IMAGE", help="Image of the reference trainers.")
    ] = None,
    trainer_defaults: Annotated[
        Path | None,
        typer.Option(envvar="PODIUM_TRAINER_DEFAULTS", help="YAML file with settings for all training pods."),
    ] = None,
    operator_image: Annotated[
        str | None,
        typer.Option(envvar="PODIUM_OPERATOR_IMAGE", help="Image of this operator, which also stages data sets."),
    ] = None,
    namespace: Annotated[list[str] | None, typer.Option(help="Namespace to watch; repeatable. Default: all.")] = None,
    listen: Annotated[
        str, typer.Option(envvar="PODIUM_LISTEN", callback=_address, help="Where to serve metrics; :PORT also on IPv6.")
    ] = ":8080",
    lease: Annotated[
        str | None, typer.Option(envvar="PODIUM_LEASE", help="namespace/name of the Lease that the replicas share.")
    ] = None,
    rounds: Annotated[list[Path] | None, typer.Option(help="Folder with additional round files; repeatable.")] = None,
    kubeconfig: Annotated[
        str | None, typer.Option(envvar="KUBECONFIG", help="Kubeconfig, if outside the cluster.")
    ] = None,
    api_rate: Annotated[
        float, typer.Option(help="Maximum average rate of requests to the API server, per second.")
    ] = 500.0,
    api_burst: Annotated[int, typer.Option(help="Maximum burst of requests to the API server.")] = 1000,
    log_level: Annotated[str, typer.Option(envvar="PODIUM_LOG_LEVEL", help="debug, info, warning or error.")] = "info",
    log_format: Annotated[str, typer.Option(envvar="PODIUM_LOG_FORMAT", help="json or text.")] = "json",
) -> None:
    """Run the operator: watch BenchmarkRuns and execute them."""
    configure_logging(log_level, log_format)
    options = OperatorOptions(
        results_url=results_url,
        results_endpoint=results_endpoint,
        results_region=results_region,
        results_checksum=results_checksum,
        results_addressing=results_addressing,
        signer=signing_key_in(signing_key, "--signing-key"),
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
    except ValueError as error:  # from a round file
        raise UsageError(f"--rounds: {error}") from error
    uvloop.run(process.run())


def _trainer(file: Path | None, image: str | None, operator_image: str | None) -> TrainerDefaults:
    """The administrator's file, with the images given on the command line."""
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
