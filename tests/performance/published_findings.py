"""Every finding of `podium score`, `check` and `review` about published results: a table of rules and entries.

    python -m tests.performance.published_findings FOLDER [--examples RULE]

FOLDER holds clones of github.com/mlcommons/training_results_v0.5 and later. Progress goes to stderr, a round at a time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from podium.rounds import load_rounds
from podium.rules import Finding
from podium.stores import FileStore
from podium.submissions import gather, review


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    options.add_argument("--examples", default="", help="also list what entries break this rule")
    asked = options.parse_args()
    entries, found, logs, clean = 0, Counter(), 0, 0
    by_round: dict[str, Counter[str]] = defaultdict(Counter)
    for clone in sorted(asked.folder.glob("training_results_v*")):
        began, before = time.process_time(), entries
        for path, count, findings in surveyed(clone):
            entries, logs = entries + 1, logs + count
            rules = {finding.rule: finding for finding in findings}
            clean += not rules
            found.update(rules.keys())
            by_round[clone.name.rpartition("_")[2]].update(rules.keys())
            if asked.examples in rules:
                print(f"{clone.name}/{path}: {rules[asked.examples]}", file=sys.stderr)
        seconds = time.process_time() - began
        print(f"{clone.name}: {entries - before} entries, {seconds:.0f} CPU seconds", file=sys.stderr)
    print(
        f"{entries} entries, {logs} logs; {clean} entries without a finding\n\n| rule | entries | | rounds |\n|---|---|---|---|"
    )
    for rule, count in found.most_common():
        rounds = ", ".join(f"{name} {each[rule]}" for name, each in by_round.items() if each[rule])
        print(f"| `{rule}` | {count} | {count / entries:.1%} | {rounds} |")


def surveyed(clone: Path) -> Iterator[tuple[str, int, list[Finding]]]:
    """Yield path, number of logs and findings of each entry. A submitter is a package, as when it was handed in."""
    rounds = load_rounds()
    packages = [path for path in sorted(clone.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if clone.name.endswith("v0.5"):
        packages = [path for parent in packages for path in sorted(parent.iterdir()) if path.is_dir()]
    for package in packages:
        for part in gather([FileStore(package)], rounds, None):
            checked = [finding for each in part.checked for finding in each.findings]
            path = f"{package.relative_to(clone)}/{part.folder.path}"
            yield path, len(part.folder.logs), [*part.entry.findings, *checked, *review([part])]


if __name__ == "__main__":
    main()
