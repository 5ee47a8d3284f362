"""The page about rules: the id and meaning of every rule that a finding can name."""

from __future__ import annotations

from itertools import groupby

from podium.rounds import load_rounds
from podium.rules.catalog import RuleId
from tools.docs.markdown import code, plain, table

_HEAD = """# Rules

Every finding has its rule, the place, and what to do. `podium validate`, `check`, `score`, `package` and
`review` print them; with `--json` they are fields. Ids do not change, so scripts can rely on them; <...> stands for
a variable part.
"""


def page() -> str:
    """The page."""
    parts = [_HEAD.replace("<...>", plain("<...>"))]
    for heading, rules in groupby(RuleId, lambda rule: rule.group):
        rows = [(code(rule), plain(rule.meaning)) for rule in rules]
        parts += [f"## {heading}\n", table(["rule", "meaning"], rows)]
    parts.append("## Hyperparameters of the closed division\n")
    parts.append("Allowed values, references and sources are in the [tables of the rounds](rounds.md).\n")
    rows = [
        (code(rule.id), code(key), f"{round_.name} {name}")
        for round_ in load_rounds().values()
        for name, benchmark in round_.benchmarks.items()
        for key, rule in benchmark.ruled.items()
    ]
    parts.append(table(["rule", "hyperparameter", "of"], rows))
    return "\n".join(parts)
