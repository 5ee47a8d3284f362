"""Every rule that a finding can name: one member each.

Every finding names its rule, and the reference is generated from here. Ids stay the same, so that scripts can rely on
them. Rules on the values of hyperparameters have their ids in the YAML files of the rounds.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Self

_PLACEHOLDER = re.compile("<[a-z]+>")

_SPEC = "A run file (podium validate, admission by the operator)"
_LOG = "Every log (podium check, score, review)"
_OWN_ROUND = "Logs of a round whose rules Podium checks itself (v0.5)"
_MLPERF = "Logs of later rounds, by the checker of MLCommons"
_SCORE = "Scores (podium score)"
_PACKAGE = "Packages (podium package)"
_REVIEW = "Reviews (podium review)"
_REPORT = "Reports and comparisons (podium report, compare, history, borrow)"


class RuleId(StrEnum):
    """The id of a rule, the commands that apply it, and what breaking it means; <...> stands for what varies."""

    group: str
    meaning: str

    def __new__(cls, id_: str, group: str, meaning: str) -> Self:
        rule = str.__new__(cls, id_)
        rule._value_ = id_
        rule.group, rule.meaning = group, meaning
        return rule

    def of(self, *names: str) -> str:
        """The id with `names` in the place of what varies. Raises ValueError for another number of names."""
        parts = _PLACEHOLDER.split(self.value)
        if len(parts) != len(names) + 1:
            raise ValueError(f"{self.value} takes {len(parts) - 1} names, not {len(names)}")
        return "".join(part + name for part, name in zip(parts, (*names, ""), strict=True))

    SPEC_FORM = "spec.form", _SPEC, "A field is unknown, missing, or of another form than the API server takes."
    METADATA_NAME = (
        "metadata.name",
        _SPEC,
        "The name is too long, or not a DNS label; pods and their DNS entries are named after it.",
    )
    SPEC_SYSTEM_ACCELERATORS = "spec.system.accelerators", _SPEC, "A closed run needs accelerators."
    SPEC_DATA = "spec.data", _SPEC, "The preset full reads a data set, and the run names none."
    SPEC_TEMPLATE_ENV = "spec.template.env", _SPEC, "The run sets a variable that is the operator's."
    SPEC_ROUND_UNKNOWN = "spec.round.unknown", _SPEC, "There is no such round."
    SPEC_BENCHMARK_UNKNOWN = (
        "spec.benchmark.unknown",
        _SPEC,
        "The round has no such benchmark; a new name needs division open, an image and a target.",
    )
    SPEC_BENCHMARK_TRAINER = (
        "spec.benchmark.trainer",
        _SPEC,
        "Podium has no trainer for this benchmark of the round, and the run names no image.",
    )
    SPEC_QUALITY_CLOSED = "spec.quality.closed", _SPEC, "A closed run stops at the round's target."
    SPEC_QUALITY_METRICS = (
        "spec.quality.metrics",
        _SPEC,
        "The target names more or fewer values than the benchmark has metrics.",
    )
    SPEC_PRESET_CLOSED = "spec.preset.closed", _SPEC, "The preset tiny is for the open division only."
    SPEC_HYPERPARAMETERS_UNKNOWN = (
        "spec.hyperparameters.unknown",
        _SPEC,
        "No MLPerf log key of that name; only a custom image can define one.",
    )
    SPEC_HYPERPARAMETERS_VALUE = (
        "spec.hyperparameters.value",
        _SPEC,
        "A value that makes no sense, such as a negative learning rate.",
    )
    SPEC_HYPERPARAMETERS_CLOSED = "spec.hyperparameters.closed", _SPEC, "The closed division does not let it be tuned."
    SPEC_HYPERPARAMETERS_OUT_OF_THE_BOX = (
        "spec.hyperparameters.outOfTheBox",
        _SPEC,
        "Out of the box only the batch size is set.",
    )
    ID_UNTUNED = "<id>.untuned", _SPEC, "A log out of the box has another value than the reference's."
    LOG_EMPTY = "log.empty", _LOG, "No MLPerf line at all."
    LOG_UNREADABLE = "log.unreadable", _LOG, "A line that begins as an MLPerf line cannot be read."
    LOG_LONG = (
        "log.long",
        _LOG,
        "Too many lines for MLCommons' checker, which was not asked; our own checks are complete.",
    )
    LOG_BENCHMARK = "log.benchmark", _LOG, "The log is of another benchmark than its folder."
    LOG_TARGET = "log.target", _LOG, "A closed log names another target than the round's."
    LOG_QUALITY = "log.quality", _LOG, "The target was not reached, or no evaluation was logged."
    LOG_QUALITY_CLAIM = "log.quality.claim", _LOG, "The log claims success, and its evaluations do not show it."
    LOG_RUN_START_MISSING = "log.run_start.missing", _LOG, "The log has no run_start."
    LOG_RUN_STOP_MISSING = "log.run_stop.missing", _LOG, "The log ends without a run_stop."
    LOG_RUN_STOP_STATUS = "log.run_stop.status", _LOG, "The status in run_stop is not success."
    LOG_EVAL_RESULT_MISSING = (
        "log.eval_result.missing",
        _LOG,
        "No eval_result with a time, in a benchmark that is evaluated after the clock.",
    )
    LOG_CLOCK_BACKWARDS = "log.clock.backwards", _LOG, "A run_stop comes before run_start."
    LOG_RUN_START_REPEATED = (
        "log.run_start.repeated",
        _LOG,
        "Several ranks log run_start, or a second run was appended to the log.",
    )
    LOG_RUN_STOP_REPEATED = "log.run_stop.repeated", _LOG, "Several ranks log run_stop."
    LOG_TIME_ORDER = "log.time.order", _LOG, "A line of training is stamped well before an earlier one."
    LOG_INIT_CAP = "log.init.cap", _LOG, "Initialization took longer than the round leaves untimed."
    LOG_SEED_MISSING = "log.seed.missing", _LOG, "The log names no seed; rounds since v1.0 ask for one."
    LOG_SEED_REPEATED = "log.seed.repeated", _LOG, "Two attempts have drawn the same seed."
    ROUND_FORMAT = "<round>.format", _OWN_ROUND, "The log is in another format than the round's."
    ROUND_KEY_ONCE = (
        "<round>.<key>.once",
        _OWN_ROUND,
        "A line that the round wants exactly once is missing or repeated.",
    )
    ROUND_KEY_ORDER = "<round>.<key>.order", _OWN_ROUND, "Lines are not in the order that the round asks for."
    ROUND_KEY_REQUIRED = "<round>.<key>.required", _OWN_ROUND, "A line that the closed division asks for is missing."
    ROUND_EVAL_ACCURACY_FORM = "<round>.eval_accuracy.form", _OWN_ROUND, "An evaluation without epoch or value."
    ROUND_EVAL_ACCURACY_FIRST = "<round>.eval_accuracy.first", _OWN_ROUND, "The first epoch was not evaluated."
    MLPERF = "mlperf", _MLPERF, "A message of the checker in its own words."
    MLPERF_KEY = "mlperf.<key>", _MLPERF, "A value that selects a rule file does not name one."
    MLPERF_RULES = "mlperf.rules", _MLPERF, "The log's values ask for a rule file that MLCommons does not have."
    MLPERF_KEY_CHECK = "mlperf.<key>.check", _MLPERF, "A line breaks a test of the checker."
    MLPERF_KEY_REQUIRED = (
        "mlperf.<key>.required",
        _MLPERF,
        "A line that the checker wants is missing, or is there too often.",
    )
    MLPERF_KEY_NEVER = "mlperf.<key>.never", _MLPERF, "None of the lines fulfills a test, such as reaching the target."
    MLPERF_VALUE = "mlperf.value", _MLPERF, "A value is missing or of another type than the checker expects."
    MLPERF_CRASH = "mlperf.crash", _MLPERF, "The checker gave up on the log."
    SCORE_INVALID = (
        "score.invalid",
        _SCORE,
        "The attempts give no valid score, mostly because too many did not converge.",
    )
    SCORE_NOT_CONVERGED = (
        "score.not_converged",
        _SCORE,
        "An attempt that did not reach its target, of a result that is not valid.",
    )
    SCORE_RUNS = "score.runs", _SCORE, "The number of attempts is not the one that the round asks for."
    SCORE_SCALING = "score.scaling", _SCORE, "scaling.json does not contain a positive number."
    SCORE_BENCHMARK_UNKNOWN = (
        "score.benchmark.unknown",
        _SCORE,
        "The round has no such benchmark, so it is scored by no particular rules.",
    )
    SCORE_DOCUMENT = "score.document", _SCORE, "A document beside the logs cannot be read, or is too large."
    PACKAGE_ROUND = "package.round", _PACKAGE, "The results are of several rounds."
    PACKAGE_NAME = "package.name", _PACKAGE, "The name of a file is not allowed in a package."
    PACKAGE_BENCHMARK = "package.benchmark", _PACKAGE, "The round has no such benchmark."
    PACKAGE_VERSION = "package.version", _PACKAGE, "The version of Podium in result.json is not a version."
    PACKAGE_TWICE = "package.twice", _PACKAGE, "Two results of one benchmark."
    PACKAGE_CODE = (
        "package.code",
        _PACKAGE,
        "The result is not of Podium's trainers, and no folder with its implementation was named.",
    )
    PACKAGE_SCORE = "package.score", _PACKAGE, "The score is not official."
    PACKAGE_OFFICIAL = "package.official", _PACKAGE, "A message of MLCommons' package checker."
    PACKAGE_SYSTEM_MISSING = "package.system.missing", _PACKAGE, "A field of the system's description is missing."
    PACKAGE_SYSTEM_TYPE = "package.system.type", _PACKAGE, "A field of the system's description is not a string."
    PACKAGE_SYSTEM_DIVISION = "package.system.division", _PACKAGE, "The division is neither closed nor open."
    PACKAGE_SYSTEM_STATUS = "package.system.status", _PACKAGE, "The status is none of those that the round allows."
    REVIEW_RUNS_MISSING = (
        "review.runs.missing",
        _REVIEW,
        "The number of an attempt is left out, so the attempt may have been removed.",
    )
    REVIEW_RUNS_SAME = (
        "review.runs.same",
        _REVIEW,
        "A log is a copy of another one, or all its evaluations are those of another one.",
    )
    REVIEW_HYPERPARAMETERS_DIFFER = (
        "review.hyperparameters.differ",
        _REVIEW,
        "The attempts of one result differ in a hyperparameter.",
    )
    REVIEW_HYPERPARAMETERS_CLAIM = (
        "review.hyperparameters.claim",
        _REVIEW,
        "What a description claims is not what the logs say.",
    )
    REVIEW_SCORE = "review.score", _REVIEW, "result.json claims another score than the logs give."
    REVIEW_KEY = "review.<key>", _REVIEW, "Division or submitter are not those of the logs."
    REVIEW_SYSTEM = "review.system", _REVIEW, "The system's description is missing or unreadable."
    REVIEW_RUN = "review.run", _REVIEW, "The result's run.yaml is missing or unreadable."
    REVIEW_CONVERGENCE = (
        "review.convergence",
        _REVIEW,
        "The attempts converged faster than the reference convergence points allow.",
    )
    REVIEW_SCALING = "review.scaling", _REVIEW, "The scaling factor is smaller than the convergence points ask for."
    REVIEW_SUMS = "review.sums", _REVIEW, "A file was changed, added or taken out after the result was written."
    REPORT_SCORE = "report.score", _REPORT, "result.json claims another score than the logs give."
    REPORT_SUMS = "report.sums", _REPORT, "A file is not the one that SHA256SUMS lists."
    COMPARE_TARGET = "compare.target", _REPORT, "The two rounds have different targets."
    COMPARE_VARIANT = "compare.variant", _REPORT, "The two rounds mean different benchmarks by one name."
    COMPARE_CLOCK = "compare.clock", _REPORT, "The two rounds start the clock differently."
    HISTORY_UNREADABLE = "history.unreadable", _REPORT, "A result.json that cannot be read."
    BORROW_BENCHMARK = "borrow.benchmark", _REPORT, "The result is of another benchmark than the run."
    BORROW_NOTHING = "borrow.nothing", _REPORT, "The result names no hyperparameter that the run could borrow."
    BORROW_RESULT = "borrow.result", _REPORT, "No attempt of the result converged."
    BORROW_RATE = (
        "borrow.rate",
        _REPORT,
        "The result's logs name no learning rate, without which the other hyperparameters make no sense.",
    )
    BORROW_DIFFERS = "borrow.differs", _REPORT, "The result's attempts differ in a hyperparameter."
