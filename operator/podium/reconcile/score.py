"""Computes score, energy and cost from the attempts of a run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from podium.api import AttemptState, AttemptStatus, BenchmarkRunSpec, MeasuredRate, Pricing, Reason, Score
from podium.reconcile.text import known_number
from podium.reconcile.tries import last_tries
from podium.rounds import Round
from podium.rules import Goal
from podium.scoring import Rule, TimedAttempt, rule_for, score


def score_run(
    spec: BenchmarkRunSpec, attempts: Sequence[AttemptStatus], goal: Goal, rounds: Mapping[str, Round]
) -> Score:
    """Return the score over the last try of each attempt: the olympic mean, with its energy and cost, or the rate."""
    if spec.measure:
        return _rate(spec, attempts)
    last = last_tries(attempts)
    result = score([_timed(attempt) for attempt in last.values()], _rule(spec, goal, rounds))
    scored = [last[index] for index in result.scored]
    reasons = result.reasons
    if spec.division == "open":
        reasons = (*reasons, "not official: the open division has its own targets and models")
    return Score(
        time_to_train_minutes=None if result.seconds is None else f"{result.seconds / 60:.4f}",
        valid=result.valid,
        official=result.official and spec.division != "open",
        dropped=result.dropped,
        designated=result.designated,
        coefficient_of_variation=_text(result.coefficient_of_variation),
        energy_joules=_mean_energy(scored),
        cost=_cost(result.seconds, spec.system.nodes, spec.pricing),
        reasons=reasons,
        tries=len(attempts),
    )


def in_words(score: Score) -> str:
    """Return what a valid score says."""
    if score.rate:
        return f"rate {score.rate.samples_per_second} samples per second"
    return f"time to train {score.time_to_train_minutes} min"


def _rate(spec: BenchmarkRunSpec, attempts: Sequence[AttemptStatus]) -> Score:
    """Return the geometric mean of the attempts' rates: slow and fast ones by the same factor cancel each other."""
    last = last_tries(attempts).values()
    rates = [rate for one in last if one.state.succeeded and (rate := known_number(one.samples_per_second))]
    missing = [str(one.index) for one in last if not one.state.succeeded]
    reasons = ["not official: spec.measure asks for the rate, not for the time to train"]
    if missing or not rates:
        reasons.insert(0, f"invalid: attempt {', '.join(missing)} has no rate" if missing else "invalid: no attempt")
        return Score(valid=False, official=False, reasons=tuple(reasons), tries=len(attempts))
    mean, accelerators = statistics.geometric_mean(rates), spec.system.nodes * spec.system.accelerators_per_node
    return Score(
        rate=MeasuredRate(
            samples_per_second=f"{mean:.6g}",
            per_accelerator=f"{mean / accelerators:.6g}" if accelerators else None,
        ),
        valid=True,
        official=False,
        reasons=tuple(reasons),
        tries=len(attempts),
    )


def can_be_valid(
    spec: BenchmarkRunSpec, hopeless: Sequence[AttemptStatus], goal: Goal, rounds: Mapping[str, Round]
) -> bool:
    """Return whether a score can still be valid if no attempt beside the `hopeless` ones fails.

    Of more attempts than the round asks for, failures count where the designated ones are.
    """
    if len(hopeless) <= goal.max_failures:
        return True
    rule = _rule(spec, goal, rounds)
    if goal.attempts <= rule.runs or rule.converged_runs is not None:
        return False
    failed = {attempt.index for attempt in hopeless}
    attempts = (
        TimedAttempt(index, AttemptState.INVALID if index in failed else AttemptState.CONVERGED, 1.0, float(index))
        for index in range(1, goal.attempts + 1)
    )
    return score([*attempts], rule).valid


def _rule(spec: BenchmarkRunSpec, goal: Goal, rounds: Mapping[str, Round]) -> Rule:
    round_ = rounds[spec.round]
    return rule_for(round_, spec.benchmark) if spec.benchmark in round_.benchmarks else Rule(runs=goal.attempts)


def _timed(attempt: AttemptStatus) -> TimedAttempt:
    seconds = known_number(attempt.time_to_train_seconds)
    reason = Reason.known(attempt.reason)
    return TimedAttempt(
        index=attempt.index,
        state=attempt.state,
        seconds=seconds,
        start=float(attempt.index),
        keeps_place=reason is not None and reason.keeps_place and seconds is not None,
    )


def _mean_energy(attempts: Sequence[AttemptStatus]) -> str | None:
    energies = [known_number(attempt.energy_joules) for attempt in attempts]
    known = [energy for energy in energies if energy is not None]
    return f"{sum(known) / len(known):.0f}"[:32] if known and len(known) == len(attempts) else None


def _cost(seconds: float | None, nodes: int, pricing: Pricing | None) -> str | None:
    if seconds is None or pricing is None:
        return None
    return f"{seconds / 3600 * nodes * float(pricing.per_node_hour):.2f} {pricing.currency}"


def _text(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
