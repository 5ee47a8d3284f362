"""What a run was admitted with, and keeps, whatever the administrator or a new version changes meanwhile.

The attempts of one score must be comparable: with another image, other rules or other pod settings they would not be.
So the rules of the benchmark and the settings of its pods are kept in the run's status itself, as the texts that their
digests are made from: an upgraded operator, or one whose values have changed, goes on with them. They are a few KB, and
are dropped when the run has ended; the digests stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from pydantic import ValidationError

from podium.api import MAX_PINNED, BenchmarkRunSpec, BenchmarkRunStatus, Pinned
from podium.launch.defaults import TrainerDefaults
from podium.reconcile import Container, Run
from podium.rounds import Round
from podium.version import podium_version


@dataclass(slots=True)
class Inputs:
    """This operator's rounds and settings, and what earlier runs were admitted with instead."""

    own_rounds: Mapping[str, Round]
    own_trainer: TrainerDefaults = field(default_factory=TrainerDefaults)
    pod_groups: bool = False  # whether the API server has PodGroups
    _texts: dict[tuple[str, str], str] = field(default_factory=dict)  # of rules, by round and benchmark
    _settings: str = field(init=False)  # of pods, as text

    def __post_init__(self) -> None:
        # not the lists, which count at admission only
        lists = {"allow", "max_runs_per_namespace"}
        self._settings = self.own_trainer.model_dump_json(by_alias=True, exclude_defaults=True, exclude=lists)

    def pin(self, run: Run) -> Pinned:
        """Return what `run` is admitted with."""
        rules, defaults = self._rules(run.spec.round, run.spec.benchmark), self._settings
        return Pinned(
            operator_version=podium_version(),
            image=run.spec.template.image or self.own_trainer.image,
            round_digest=_digest(rules),
            pod_defaults_digest=_digest(defaults),
            gang=self._gang(run.spec),
            rules=rules if len(rules) <= MAX_PINNED else "",
            pod_defaults=defaults if len(defaults) <= MAX_PINNED else "",
        )

    def rounds(self, run: Run) -> Mapping[str, Round]:
        """Return the rounds for `run`, with the rules it was admitted with."""
        pinned, own = run.status.pinned, self.own_rounds
        if pinned is None or not pinned.rules:
            return own
        name = run.spec.round
        if name in own and self._rules(name, run.spec.benchmark) == pinned.rules:
            return own
        rules = _read_round(pinned.rules)
        return {**own, name: rules} if rules and rules.name == name else own

    def trainer(self, run: Run) -> TrainerDefaults:
        """Return the settings of training pods for `run`: those it was admitted with."""
        pinned = run.status.pinned
        if pinned is None or not pinned.pod_defaults or pinned.pod_defaults == self._settings:
            return self.own_trainer
        return _read_trainer(pinned.pod_defaults) or self.own_trainer

    def _gang(self, spec: BenchmarkRunSpec) -> Literal["Queue", "PodGroup", "None"]:
        """Return the first of the ladder that applies. A scheduler of the administrator's choice has its own ways."""
        if spec.queue_name:
            return "Queue"
        if self.pod_groups and spec.system.nodes > 1 and not self.own_trainer.pod.scheduler_name:
            return "PodGroup"
        return "None"

    def _rules(self, round_name: str, benchmark: str) -> str:
        """Return the rules of one benchmark as text."""
        round_ = self.own_rounds[round_name]
        own = {benchmark: round_.benchmarks[benchmark]} if benchmark in round_.benchmarks else {}
        key = round_name, benchmark if own else ""  # the name of a custom benchmark is free text
        if key not in self._texts:
            self._texts[key] = round_.model_copy(update={"benchmarks": own}).model_dump_json(exclude_none=True)
        return self._texts[key]


def with_image_digest(run: Run, containers: Iterable[Container]) -> Run:
    """Return the run with the digest of its image, once a pod has shown it.

    An image that was loaded on the node has no digest that a registry knows; `podium.api.Pinned.image_digest` then
    stays unset, and later pods name the image as the first one did.
    """
    pinned = run.status.pinned
    if pinned is None or pinned.image_digest or run.status.terminal:
        return run
    found = next((c.image_id for c in containers if "@sha256:" in c.image_id), "")
    if not found:
        return run
    pinned = pinned.model_copy(update={"image_digest": found.rpartition("@")[2][:128]})
    return replace(run, status=run.status.model_copy(update={"pinned": pinned}))


def without_texts(status: BenchmarkRunStatus) -> BenchmarkRunStatus:
    """Return the status of a run that has ended: of what was pinned, only the digests stay."""
    if status.pinned is None or not status.terminal:
        return status
    pinned = status.pinned.model_copy(update={"rules": "", "pod_defaults": ""})
    return status.model_copy(update={"pinned": pinned})


def pinned_image(pinned: Pinned | None) -> str:
    """Return the image for the next pods, by digest if it is known; empty if nothing is pinned."""
    if pinned is None or not pinned.image:
        return ""
    if not pinned.image_digest:
        return pinned.image
    repository = pinned.image.partition("@")[0]
    head, slash, last = repository.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}@{pinned.image_digest}"  # a port has a slash after it, a tag has none


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=64)
def _read_round(text: str) -> Round | None:
    try:
        return Round.model_validate_json(text)
    except ValidationError:  # an older or newer version wrote it
        return None


@lru_cache(maxsize=64)
def _read_trainer(text: str) -> TrainerDefaults | None:
    try:
        return TrainerDefaults.model_validate_json(text)
    except ValidationError:
        return None
