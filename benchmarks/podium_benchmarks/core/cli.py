"""The command line every trainer has, its defaults from the environment, and errors a person can act on."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import math
import os
import re
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium_benchmarks.core.benchmark import Benchmark, C
from podium_benchmarks.core.settings import RunSettings, submission

# Turns for which an OpenMP thread spins at a barrier before it sleeps: libgomp's own number where it knows that cores
# are short. By itself it spins for milliseconds: where another process needs the core, a thread uses up its time slice
# waiting, and each barrier of a step costs a slice.
OPENMP_SPINS = "100"


class UsageError(Exception):
    """The request can't be run; the text names the field, its value, and what would be right."""


class DataError(UsageError):
    """The data set can't be used; the text names the file, what is wrong in it, and what to do."""


@dataclass(frozen=True)
class Request:
    """One run as asked for; what is None comes from the preset."""

    preset: str
    target: float | tuple[float, ...] | None
    hyperparameters: Mapping[str, Any]
    settings: RunSettings


def main(benchmark: Benchmark[Any]) -> typing.NoReturn:
    """Run, and end the process with the exit code.

    One of several ranks ends without Python's teardown: torch's communication threads outlive their process group, and
    one that asks for Python's lock meanwhile aborts a rank (SIGABRT) that has done all of its work.
    """
    code = run(benchmark)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(benchmark: Benchmark[Any], argv: Sequence[str] | None = None) -> int:
    """Parse, check everything but the insides of images, train. Returns the exit code: 0, or 2 on a usage error.

    An image that can't be decoded is found only after run_start: it also ends the run with one sentence and 2.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", OPENMP_SPINS)  # read when torch is imported, below
    try:
        request = parse(benchmark, argv, os.environ)
        config = configure(benchmark, request)
        benchmark.load("data").check_data(config, request.settings.data_dir)
    except UsageError as error:  # the same on every rank
        return _refused(benchmark.name, error)
    try:
        benchmark.load("train").train(config, request.settings)
    except DataError as error:  # perhaps of this rank's shard alone
        sys.stderr.write(f"{benchmark.name}: {error}\n")  # one write: ranks share the stream
        return 2
    except UsageError as error:
        return _refused(benchmark.name, error)
    return 0


def _refused(name: str, error: UsageError) -> int:
    if os.environ.get("RANK", "0") == "0":
        print(f"{name}: {error}", file=sys.stderr, flush=True)
    return 2


def parse(benchmark: Benchmark[Any], argv: Sequence[str] | None, environment: Mapping[str, str]) -> Request:
    """Read the flags; an absent flag falls back to its PODIUM_* variable, an absent variable to the preset."""
    flags = _parser(benchmark).parse_args(argv)
    preset = flags.preset or environment.get("PODIUM_PRESET") or "tiny"
    if preset not in benchmark.presets:
        raise UsageError(f"--preset {preset!r} is unknown; choose one of {', '.join(benchmark.presets)}")
    round_ = flags.round or environment.get("PODIUM_ROUND") or None
    if round_ and not re.fullmatch(r"v\d+\.\d+", round_):
        raise UsageError(f"--round {round_!r} is not the name of a round, such as v0.5 or v0.6")
    seed, target = flags.seed or environment.get("PODIUM_SEED"), flags.target or environment.get("PODIUM_TARGET")
    data_dir = flags.data or environment.get("PODIUM_DATA_DIR")
    return Request(
        preset=preset,
        target=_target(target, benchmark) if target else None,
        hyperparameters={
            **_from_environment(environment.get("PODIUM_HYPERPARAMETERS", "")),
            **dict(_key_and_value(setting) for setting in flags.settings),
        },
        settings=dataclasses.replace(
            submission(environment),
            round=round_,
            seed=_seed(seed) if seed else None,
            data_dir=Path(data_dir) if data_dir else None,
        ),
    )


def _parser(benchmark: Benchmark[Any]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m podium_benchmarks.{benchmark.name}",
        description=f"{benchmark.description} Trains to a quality and prints MLPerf log lines.",
        epilog=f"keys for --set: {', '.join(sorted(benchmark.tunables))}",
    )
    parser.error = _raise_usage_error  # type: ignore[method-assign]  # argparse would print its usage on every rank
    parser.add_argument("--preset", help="tiny (default, self-contained data) or full (PODIUM_PRESET)")
    parser.add_argument(
        "--target", help=f"quality to reach: {_target_form(benchmark)} (PODIUM_TARGET; default: the preset's)"
    )
    parser.add_argument(
        "--round", help="whose clock the run keeps, such as v0.5 (PODIUM_ROUND; default: that of v0.6 and later)"
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
    return parser


def configure(benchmark: Benchmark[C], request: Request) -> C:
    """The preset with the request's hyperparameters and target in it, checked."""
    types = benchmark.tunables
    changes = {}
    for key, value in request.hyperparameters.items():
        # v0.7 logs some keys with the optimizer in front (sgd_opt_weight_decay): the same setting
        name = key if key in types else key.removeprefix("sgd_").removeprefix("lars_")
        name = name if name in types else benchmark.other_keys.get(name, name)
        if name not in types:
            raise UsageError(_unknown(key, sorted(types)))
        changes[name] = _coerce(key, value, types[name])
    if request.target is not None:
        changes["target"] = request.target
    try:
        return dataclasses.replace(benchmark.presets[request.preset], **changes)  # type: ignore[type-var]
    except ValueError as error:
        raise UsageError(str(error)) from error


def _raise_usage_error(message: str) -> typing.NoReturn:
    raise UsageError(message)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise UsageError(f"--seed {text!r} is not a whole number between 0 and 2^63 - 1")
    return int(text)


def _target_form(benchmark: Benchmark[Any]) -> str:
    if benchmark.lower_is_better:
        return "a number above 0"
    if len(benchmark.qualities) > 1:
        example = "/".join(f"{value:g}" for value in benchmark.presets["full"].target)
        return f"{'/'.join(benchmark.qualities)}, each a number above 0 and up to 1, as in {example}"
    return "a number above 0 and up to 1" + (" (or up to 100, in percent)" if benchmark.target_is_percent else "")


def _target(text: str, benchmark: Benchmark[Any]) -> float | tuple[float, ...]:
    count = len(benchmark.qualities)
    try:
        values = tuple(float(part) for part in text.split("/"))
    except ValueError:
        values = ()
    if benchmark.target_is_percent:
        values = tuple(value / 100 if 1.0 < value <= 100.0 else value for value in values)
    highest = math.inf if benchmark.lower_is_better else 1.0
    if len(values) != count or not all(0.0 < value <= highest for value in values) or math.inf in values:
        raise UsageError(f"--target {text!r} is not {_target_form(benchmark)}")
    return values if count > 1 else values[0]


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
