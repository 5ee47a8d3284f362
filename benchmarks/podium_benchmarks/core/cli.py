"""The command line every trainer has, its defaults from the environment, and errors a person can act on."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib
import json
import os
import re
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

PRESET_NAMES = ("tiny", "full")
OTHER_NAMES = {"opt_learning_rate_decay_boundary_steps": "opt_learning_rate_decay_steps"}  # Mask R-CNN's in v0.5
TWO_TARGETS = ("maskrcnn",)  # box AP / mask AP
BLEU_BENCHMARKS = ("gnmt", "transformer")  # rounds give their targets as 24.0, logs since v0.7 as 0.24


class UsageError(Exception):
    """The request can't be run; the text names the field, its value, and what would be right."""


class DataError(UsageError):
    """The data set can't be used; the text names the file, what is wrong in it, and what to do."""


class TrainerConfig(Protocol):
    """What the command line needs to know of a trainer's config: a frozen dataclass with a target."""

    @property
    def target(self) -> float | tuple[float, ...]: ...


C = TypeVar("C", bound=TrainerConfig)


@dataclass(frozen=True)
class Request:
    """One run as asked for."""

    preset: str
    seed: int | None
    target: float | tuple[float, ...] | None
    data_dir: Path | None
    hyperparameters: Mapping[str, Any]
    round: str | None = None


def run(
    benchmark: str,
    presets: Mapping[str, C],
    check_data: Callable[[C, Path | None], None],
    train: Callable[[C, int | None, Path | None], None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse, check everything but the insides of images, train. Returns the exit code: 0, or 2 for misuse.

    An image that can't be decoded shows only after run_start: it ends the run with one sentence and 2 as well.
    """
    try:
        settings = {field.name for preset in presets.values() for field in dataclasses.fields(preset)} - {"target"}  # type: ignore[arg-type]
        request = parse(benchmark, argv, os.environ, sorted(settings))
        config = configure(presets[request.preset], request)
        check_data(config, request.data_dir)
    except UsageError as error:  # the same on every rank
        return _refused(benchmark, error)
    try:
        if request.round:
            os.environ["PODIUM_SUITE"] = request.round  # core.clock reads what a run is part of from there
        train(config, request.seed, request.data_dir)
    except DataError as error:  # perhaps of this rank's share alone
        sys.stderr.write(f"{benchmark}: {error}\n")  # one write: ranks share the stream
        return 2
    except UsageError as error:
        return _refused(benchmark, error)
    return 0


def _refused(benchmark: str, error: UsageError) -> int:
    if os.environ.get("RANK", "0") == "0":
        print(f"{benchmark}: {error}", file=sys.stderr, flush=True)
    return 2


def parse(
    benchmark: str, argv: Sequence[str] | None, environment: Mapping[str, str], settings: Sequence[str] = ()
) -> Request:
    """Read the flags; an absent flag falls back to its PODIUM_* variable, an absent variable to the preset.

    `settings` are the keys that --help lists.
    """
    package = f"podium_benchmarks.{benchmark}"
    parser = argparse.ArgumentParser(
        prog=f"python -m {package}",
        description=f"{importlib.import_module(package).__doc__} Trains to a quality and prints MLPerf log lines.",
        epilog=f"keys for --set: {', '.join(settings)}" if settings else None,
    )
    parser.error = _raise_usage_error  # type: ignore[method-assign]  # argparse would print its usage on every rank
    parser.add_argument("--preset", help="tiny (default, self-contained data) or full (PODIUM_PRESET)")
    parser.add_argument(
        "--target", help=f"quality to reach: {_target_form(benchmark)} (PODIUM_TARGET; default: the preset's)"
    )
    parser.add_argument(
        "--round", help="whose clock the run keeps, such as v0.5 (PODIUM_SUITE; default: that since v0.6)"
    )
    parser.add_argument("--seed", help="master seed (PODIUM_SEED; default: from the system's random source)")
    parser.add_argument("--data", metavar="DIR", help="folder with the data set (PODIUM_DATA_DIR)")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="a hyperparameter under its MLPerf log key; may be repeated (PODIUM_HYPERPARAMETERS: JSON)",
    )
    flags = parser.parse_args(argv)
    preset = flags.preset or environment.get("PODIUM_PRESET") or "tiny"
    if preset not in PRESET_NAMES:
        raise UsageError(f"--preset {preset!r} is unknown; choose one of {', '.join(PRESET_NAMES)}")
    if flags.round and not re.fullmatch(r"v\d+\.\d+", flags.round):
        raise UsageError(f"--round {flags.round!r} is not the name of a round, such as v0.5 or v0.6")
    seed, target = flags.seed or environment.get("PODIUM_SEED"), flags.target or environment.get("PODIUM_TARGET")
    data_dir = flags.data or environment.get("PODIUM_DATA_DIR")
    return Request(
        preset=preset,
        seed=_seed(seed) if seed else None,
        target=_target(target, benchmark) if target else None,
        data_dir=Path(data_dir) if data_dir else None,
        hyperparameters={
            **_from_environment(environment.get("PODIUM_HYPERPARAMETERS", "")),
            **dict(_key_and_value(setting) for setting in flags.settings),
        },
        round=flags.round or None,
    )


def configure(preset: C, request: Request) -> C:
    """The preset with the request's hyperparameters and target in it, checked."""
    types = {name: kind for name, kind in typing.get_type_hints(type(preset)).items() if name != "target"}
    changes = {}
    for key, value in request.hyperparameters.items():
        # v0.7 logs some keys with the optimiser in front (sgd_opt_weight_decay): the same setting
        name = key if key in types else key.removeprefix("sgd_").removeprefix("lars_")
        name = name if name in types else OTHER_NAMES.get(name, name)
        if name not in types:
            raise UsageError(_unknown(key, sorted(types)))
        changes[name] = _coerce(key, value, types[name])
    if request.target is not None:
        changes["target"] = request.target
    try:
        return dataclasses.replace(preset, **changes)  # type: ignore[type-var]
    except ValueError as error:
        raise UsageError(str(error)) from error


def _raise_usage_error(message: str) -> typing.NoReturn:
    raise UsageError(message)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise UsageError(f"--seed {text!r} is not a whole number between 0 and 2^63 - 1")
    return int(text)


def _target_form(benchmark: str) -> str:
    if benchmark in TWO_TARGETS:
        return "box AP/mask AP, each a number above 0 and up to 1, as in 0.377/0.339"
    return "a number above 0 and up to 1" + (" (or 100, as BLEU)" if benchmark in BLEU_BENCHMARKS else "")


def _target(text: str, benchmark: str) -> float | tuple[float, ...]:
    parts = text.split("/")
    try:
        values = tuple(float(part) for part in parts)
    except ValueError:
        values = ()
    if benchmark in BLEU_BENCHMARKS:
        values = tuple(value / 100 if 1.0 < value <= 100.0 else value for value in values)
    if len(values) != (2 if benchmark in TWO_TARGETS else 1) or not all(0.0 < value <= 1.0 for value in values):
        raise UsageError(f"--target {text!r} is not {_target_form(benchmark)}")
    return values if benchmark in TWO_TARGETS else values[0]


def _from_environment(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise UsageError(f"PODIUM_HYPERPARAMETERS is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"PODIUM_HYPERPARAMETERS is not a JSON object: {text}")
    return values


def _key_and_value(setting: str) -> tuple[str, Any]:
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {setting!r} is not KEY=VALUE")
    try:
        return key, json.loads(text)
    except json.JSONDecodeError:
        return key, text


def _unknown(key: str, known: list[str]) -> str:
    similar = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {similar[0]}?" if similar else ";"
    return f"unknown hyperparameter {key!r}{hint} known are {', '.join(known)}"


def _coerce(key: str, value: Any, kind: Any) -> Any:
    """`value` as the field's type; numbers may come as text, since a manifest writes fractions as strings."""
    try:
        if kind is bool and isinstance(value, bool):
            return value
        if kind is str and isinstance(value, str):
            return value
        if kind is float and not isinstance(value, bool):
            return float(value)
        if kind is int and not isinstance(value, bool) and float(value).is_integer():
            return int(float(value))
        if typing.get_origin(kind) is tuple:
            items = value.split(",") if isinstance(value, str) else [value] if isinstance(value, int | float) else value
            return tuple(_coerce(key, item, typing.get_args(kind)[0]) for item in items)
    except (TypeError, ValueError):
        pass
    items = typing.get_args(kind)
    name = f"list of {_KIND_NAMES[items[0]]}s" if items else _KIND_NAMES[kind]
    raise UsageError(f"hyperparameter {key} must be a {name}, not {value!r}")


_KIND_NAMES = {bool: "boolean (true or false)", int: "whole number", float: "number", str: "word"}
