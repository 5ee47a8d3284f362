"""The page about rounds: targets, attempts, clock and tunable hyperparameters, from the round files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from podium.rounds import ABILITIES, Benchmark, Hyperparameter, Round, abilities, load_rounds, shown
from tools.docs.markdown import code, plain, table

_HEAD = """# Rounds

The rules of each round, as `podium round list` and `podium round show` print them.

{abilities}
*drop*: fastest + slowest attempts left out. *fail*: attempts that may fail; they count as the slowest.
"""


def page() -> str:
    """The page."""
    rounds = load_rounds()
    rows = [(name, *(_limit(limit) for limit in abilities(round_).values())) for name, round_ in rounds.items()]
    parts = [_HEAD.format(abilities=table(["round", *ABILITIES], rows))]
    for name, round_ in rounds.items():
        parts += [f"## {name} {{#{name}}}\n", f"{plain(round_.description)}.\n"]
        parts += _clock(round_)
        parts.append(_targets(round_.benchmarks))
        parts += [f"{key}: {plain(b.note)}.\n" for key, b in round_.benchmarks.items() if b.note]
        parts += _tunable(round_)
    return "\n".join(parts)


def _limit(limit: str) -> str:
    return f"yes, {plain(limit)}" if limit else "yes"


def _clock(round_: Round) -> Iterator[str]:
    clock = round_.clock
    yield f"- The clock starts {plain(clock.start)}."
    yield f"- It stops {plain(clock.stop)}."
    cap = f", for at most {clock.max_init_seconds / 60:g} minutes" if clock.max_init_seconds else ""
    yield f"- Model creation is {'timed' if clock.model_creation_timed else 'untimed'}{cap}."
    yield f"- Logs count epochs from {round_.first_epoch}.\n"


def _targets(benchmarks: Mapping[str, Benchmark]) -> str:
    return table(
        ["benchmark", "model", "target", "runs", "drop", "fail", "evaluated"],
        [
            (
                code(name),
                plain(b.model),
                ", ".join(f"{q.metric} {'≤' if q.lower_is_better else '≥'} {q.target:g}" for q in b.quality)
                or "in the log",
                f"{b.runs}" + (f", first {b.converged_runs} that converge" if b.converged_runs else ""),
                f"{b.drop_fastest}+{b.drop_slowest}",
                b.max_failures,
                plain(b.eval_every),
            )
            for name, b in benchmarks.items()
        ],
    )


def _tunable(round_: Round) -> Iterator[str]:
    yield f"### What a closed run of {round_.name} may tune\n"
    yield "Out of the box, only `global_batch_size`. Sources:\n"
    yield "\n".join(f"- {code(short)}: {plain(where)}" for short, where in round_.documents.items()) + "\n"
    for name, benchmark in round_.benchmarks.items():
        yield f"#### {round_.name} {name}\n"
        rows = [
            (
                code(key),
                ("fixed: " if key in benchmark.fixed else "") + plain(rule.allowed({})),
                "" if rule.reference is None else code(shown(rule.reference)),
                " ".join(filter(None, _about(rule))),
            )
            for key, rule in benchmark.ruled.items()
        ]
        yield table(["key", "allowed", "reference", "meaning (rule, source)"], rows)


def _about(rule: Hyperparameter) -> Iterator[str]:
    yield plain(rule.description)
    yield f"With {' or '.join(rule.optimizers)} only." if rule.optimizers else ""
    yield f"({code(rule.id)}, {plain(rule.source)})"
