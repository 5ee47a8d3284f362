"""Which lines a log that was cut off would still have had: that they are missing follows from the cut. Pure."""

from __future__ import annotations

from collections import Counter

from podium.mllog import Event
from podium.rounds import Published
from podium.rules.catalog import RuleId
from podium.rules.findings import Finding

_STARTS = frozenset({"block_start", "epoch_start", "train_loop", "train_epoch"})
_STOPS = frozenset({"block_stop", "epoch_stop"})
_EVALUATION = frozenset({"eval_start", "eval_accuracy", "eval_stop"})
_COUNTED = _STARTS | _STOPS | _EVALUATION | {"run_start", "run_stop"}
_BEFORE_RUN = ("submission_", "cache_clear", "run_clear_caches", "init_")
_CAUSES = frozenset({
    RuleId.LOG_EMPTY, RuleId.LOG_RUN_START_MISSING, RuleId.LOG_RUN_STOP_MISSING, RuleId.LOG_EVAL_RESULT_MISSING,
})  # fmt: skip
_MISSING, _AT_LEAST = " is missing", "log it at least "


class CutOff:
    """How far a log without run_stop has come, and what follows from its end.

    A missing line is a breach by itself only if the log has one that comes after it: before the run, what is logged
    before run_start; in training, what each epoch and evaluation begins and ends with; and the settings, which are all
    there when the first stretch of training is over.
    """

    def __init__(self, usual: Published | None) -> None:
        self._usual = usual
        self._counts: Counter[str] = Counter()
        self._moved_on = False  # training went on after an evaluation had started
        self.torn_line: int | None = None  # number of a last line that has no end

    def add(self, event: Event) -> None:
        """Note one event."""
        key = event.key
        if key in _COUNTED:
            self._counts[key] += 1
            self._moved_on |= key in _STARTS | _STOPS and self._counts["eval_start"] > 0

    def without_consequences(self, found: tuple[Finding, ...], *, intended: bool = False) -> tuple[Finding, ...]:
        """Return the findings against the log, without those that only follow from its end.

        `intended`: the operator has ended the run, since spec.measure was over.
        """
        if self._counts["run_stop"] or not (intended or any(finding.rule in _CAUSES for finding in found)):
            return found
        return tuple(f for f in found if f.rule in _CAUSES or not self._follows(f))

    def lacks(self, key: str) -> bool:
        """Return whether a log that ends here can have no line `key` yet, without breaking a rule."""
        counts = self._counts
        if key.startswith(_BEFORE_RUN):
            return not counts["run_start"] and self._may_lack_settings()
        if key in _STARTS:
            return self._begun() <= 1 and not any(counts[later] for later in _STOPS | _EVALUATION)
        if key in _STOPS:
            return (counts["block_start"] if key == "block_stop" else self._begun()) <= 1
        if key.startswith("eval_"):
            return self._lacks_evaluation(key)
        return key in ("run_stop", "run_final") or self._may_lack_settings()

    def _begun(self) -> int:
        """How many epochs or stretches of training have begun."""
        return max(self._counts[key] for key in _STARTS)

    def _lacks_evaluation(self, key: str) -> bool:
        counts = self._counts
        if key not in _EVALUATION:
            return counts["eval_start"] <= 1 and not counts["eval_stop"]
        if key == "eval_start":
            return not counts["eval_accuracy"] and not counts["eval_stop"] and not self._is_overdue()
        return counts["eval_start"] <= 1 and not self._moved_on and not self._is_overdue()

    def _may_lack_settings(self) -> bool:
        return self._begun() <= 1 and not any(self._counts[key] for key in _STOPS | _EVALUATION)

    def _is_overdue(self) -> bool:
        """Whether the round wants an evaluation before the epoch that runs, and an interval more for its result."""
        usual = self._usual
        if usual is None or usual.every_epochs is None or self._counts["eval_start"]:
            return False
        first = usual.first_within(usual.every_epochs, None)
        done = max(self._counts["epoch_start"], self._counts["train_epoch"]) - 1
        return first is not None and usual.fewest is None and done > first + usual.every_epochs

    def _follows(self, finding: Finding) -> bool:
        if self.torn_line is not None and finding.line == self.torn_line:
            return True
        if finding.rule == RuleId.MLPERF_KEY_NEVER.of("eval_accuracy"):
            return True  # the evaluation that reaches the target would have come
        if finding.rule == RuleId.LOG_SEED_MISSING:
            return self._may_lack_settings()
        if finding.rule == RuleId.MLPERF:
            return finding.message.startswith("failed test:") and self._may_lack_settings()
        names, is_missing = finding.message.removesuffix(_MISSING), finding.message.endswith(_MISSING)
        if not is_missing and finding.remedy.startswith(_AT_LEAST):
            names = names.partition(" is found ")[0]
        elif not is_missing:
            return False
        return all(map(self.lacks, names.split(" or ")))
