"""Build the documents of a result as plain values. Field names are in camelCase, as in a BenchmarkRun."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import orjson

from podium.api import GROUP, KIND, VERSION, AttemptStatus, BenchmarkRunSpec, Score
from podium.api.credentials import without_credentials
from podium.documents import read_json
from podium.mllog import LogSummary, Sighting, Sightings, rate
from podium.reconcile import Container, Outcome, Run, Staging, StoreResult
from podium.results.evidence import Stored
from podium.rules import node_clock_offset
from podium.version import podium_version

ATTEMPT_SCHEMA = f"{GROUP}/attempt/v1"
RESULT_SCHEMA = f"{GROUP}/result/v1"


def result_folder(run: Run) -> str:
    """The folder of a run's result below the administrator's URL. The uid distinguishes runs of the same name."""
    return f"{run.namespace}/{run.name}-{run.uid[:8]}"


def run_document(run: Run) -> dict[str, Any]:
    """run.yaml: the run, ready to be applied again, except that its credentials are left out."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": run.name, "namespace": run.namespace},
        "spec": without_credentials(run.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)),
    }


def system_document(run: Run, nodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """system.json: the requested system and the nodes that were used."""
    return {**run.spec.system.model_dump(by_alias=True), "nodesSeen": [dict(node) for node in nodes]}


def attempt_document(
    run: Run, attempt: AttemptStatus, summary: LogSummary, containers: Sequence[Container], sightings: Sightings
) -> dict[str, Any]:
    """attempt.json: one try with everything parsed from its log. Times are in unix seconds."""
    return {
        "schema": ATTEMPT_SCHEMA,
        "run": {"namespace": run.namespace, "name": run.name, "uid": run.uid},
        **_attempt(attempt),
        **logged(summary),
        "seen": _seen(summary, sightings),
        "pods": [
            {
                "name": c.name,
                "uid": c.uid,
                "nodeIndex": c.node_index,
                "node": c.node,
                "imageID": c.image_id,
                "started": c.started,
                "finished": c.finished,
                "exitCode": c.exit_code,
                "signal": c.signal,
                "stopped": c.stopped,
                **({"disruption": c.disruption} if c.disruption else {}),
                **({"stage": _staging(c.staging)} if c.staging else {}),
            }
            for c in containers
        ],
    }


def logged(summary: LogSummary) -> dict[str, Any]:
    """What attempt.json repeats of the log in result.txt."""
    start, trained = summary.run_start, rate(summary)
    return {
        "log": {
            "mlperfLines": summary.lines,
            "initStart": summary.init_start,
            "initStop": summary.init_stop,
            "runStart": start,
            "runStop": summary.run_stop,
            "runStopStatus": summary.run_stop_status,
            "seed": summary.seed,
            "trainSamples": summary.train_samples,
            "evalSamples": summary.eval_samples,
            "samples": summary.samples,
            "throughput": summary.throughput,
            "rate": trained and {"seconds": trained.seconds_each, "per": trained.per, "blocks": trained.blocks},
        },
        "hyperparameters": dict(summary.hyperparameters),
        "evaluations": [
            {
                "epoch": e.epoch,
                "seconds": None if start is None else round(e.time - start, 3),
                "quality": dict(e.quality),
            }
            for e in summary.evaluations
        ],
    }


def _seen(summary: LogSummary, sightings: Sightings) -> dict[str, Any]:
    """When the lines of the clock and the evaluations were seen; `submissions.contradictions` reads it back."""
    start, stop = sightings.start(summary.run_start), sightings.stop(summary.run_stop)
    return {
        "runStart": None if start is None else _sighting(start),
        "runStop": None if stop is None else _sighting(stop),
        "evaluations": [_sighting(one) for one in sightings.evaluations],
        "evaluationsLeftOut": sightings.left_out,
        "nodeClockOffsetSeconds": node_clock_offset(sightings),
    }


def _sighting(one: Sighting) -> dict[str, Any]:
    return {
        "logged": one.stamp,
        "printed": one.printed,
        "received": one.received,
        "maxDelaySeconds": one.delay,
        "observer": one.observer,
    }


def stored_files(stored: Sequence[Stored], unread: Mapping[str, str], findings: Sequence[str]) -> dict[str, Any]:
    """The rest of attempt.json: the digests of the files beside it; why pod logs are missing or incomplete, by name."""
    return {
        "files": {file.name: file.sha256 for file in stored},
        "unreadLogs": dict(unread),
        "findings": [*findings, *(file.finding for file in stored if file.finding)],
    }


def _staging(staging: Staging) -> dict[str, Any]:
    """How the pod got its data, before the clock started."""
    return {
        "started": staging.started,
        "finished": staging.finished,
        "exitCode": staging.exit_code,
        **staging.report,
    }


def result_document(run: Run, action: StoreResult, target: Mapping[str, float]) -> dict[str, Any]:
    """result.json: the score and every try, scored or not."""
    spec = run.spec
    return {
        "schema": RESULT_SCHEMA,
        "podium": podium_version(),
        "run": {"namespace": run.namespace, "name": run.name, "uid": run.uid},
        "round": spec.round,
        "benchmark": spec.benchmark,
        "division": spec.division,
        "preset": spec.preset,
        **({"measure": measure} if (measure := measure_document(spec)) else {}),
        "system": spec.system.model_dump(by_alias=True),
        "target": dict(target),
        **({"pinned": pinned.model_dump(by_alias=True, exclude_none=True)} if (pinned := run.status.pinned) else {}),
        "outcome": action.outcome,
        "message": action.message,
        "score": action.score.model_dump(by_alias=True, exclude_none=True),
        "attempts": [_attempt(attempt) for attempt in action.attempts],
    }


def measure_document(spec: BenchmarkRunSpec) -> dict[str, Any] | None:
    """What result.json says of spec.measure."""
    return spec.measure.model_dump(by_alias=True, exclude_none=True) if spec.measure else None


def _attempt(attempt: AttemptStatus) -> dict[str, Any]:
    return attempt.model_dump(mode="json", by_alias=True, exclude={"stored"})


def stored_result(document: bytes) -> tuple[str, StoreResult]:
    """Return the uid of the run that a result.json is of, and what it says. Raises ValueError if it is not one."""
    found = read_json(document, "it")
    try:
        attempts = tuple(AttemptStatus.model_validate({**attempt, "stored": True}) for attempt in found["attempts"])
        score, outcome = Score.model_validate(found["score"]), found["outcome"]
        if outcome not in get_args(Outcome):
            raise ValueError(f"its outcome is {outcome!r}")
        return str(found["run"]["uid"]), StoreResult(score, attempts, outcome, str(found["message"]))
    except (LookupError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """A document as it is stored."""
    try:
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # such as an integer beyond 64 bits, which a log may contain
        return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
