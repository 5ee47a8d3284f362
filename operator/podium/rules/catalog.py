"""Every rule that a finding can name: one member each.

The reference page is generated from here. Ids never change, so that scripts can rely on them. The ids of rules for
hyperparameter values are in the YAML files of the rounds.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Self

_PLACEHOLDER = re.compile("<[a-z]+>")

_SPEC = "A run file (podium validate, admission by the operator)"
_LOG = "Every log (podium check, score, review)"
_OWN_ROUND = "Logs of rounds whose rules Podium checks itself (v0.5)"
_MLPERF = "Logs of later rounds, checked by MLCommons' checker"
_SCORE = "Scores (podium score)"
_PACKAGE = "Packages (podium package)"
_REVIEW = "Reviews (podium review)"
_VERIFY = "Verification (podium verify, review)"
_REPORT = "Reports and comparisons (podium report, compare, history, borrow)"


class RuleId(StrEnum):
    """The id of a rule, the commands that apply it, and what breaking it means; <...> stands for a variable part."""

    group: str
    meaning: str

    def __new__(cls, id_: str, group: str, meaning: str) -> Self:
        rule = str.__new__(cls, id_)
        rule._value_ = id_
        rule.group, rule.meaning = group, meaning
        return rule

    def of(self, *names: str) -> str:
        """Return the id with `names` as its variable parts. Raises ValueError if their number is wrong."""
        parts = _PLACEHOLDER.split(self.value)
        if len(parts) != len(names) + 1:
            raise ValueError(f"{self.value} takes {len(parts) - 1} names, not {len(names)}")
        return "".join(part + name for part, name in zip(parts, (*names, ""), strict=True))

    SPEC_FORM = "spec.form", _SPEC, "A field is unknown, missing, or in a form that the API server rejects."
    METADATA_NAME = (
        "metadata.name",
        _SPEC,
        "The name is too long, or not a DNS label; pods and their DNS entries are named after it.",
    )
    SPEC_SYSTEM_ACCELERATORS = "spec.system.accelerators", _SPEC, "A closed run needs accelerators."
    SPEC_DATA = "spec.data", _SPEC, "The full preset reads a data set, but the run names none."
    SPEC_TEMPLATE_ENV = "spec.template.env", _SPEC, "The run sets a variable that is reserved for the operator."
    SPEC_ROUND_UNKNOWN = "spec.round.unknown", _SPEC, "There is no such round."
    SPEC_BENCHMARK_UNKNOWN = (
        "spec.benchmark.unknown",
        _SPEC,
        "The round has no such benchmark; a new name needs division: open, an image and a target.",
    )
    SPEC_BENCHMARK_TRAINER = (
        "spec.benchmark.trainer",
        _SPEC,
        "Podium has no trainer for this benchmark of the round, and the run sets no image.",
    )
    SPEC_QUALITY_CLOSED = "spec.quality.closed", _SPEC, "A closed run stops at the round's target."
    SPEC_QUALITY_METRICS = (
        "spec.quality.metrics",
        _SPEC,
        "The target has more or fewer values than the benchmark has metrics.",
    )
    SPEC_PRESET_CLOSED = "spec.preset.closed", _SPEC, "The tiny preset is only for the open division."
    SPEC_HYPERPARAMETERS_UNKNOWN = (
        "spec.hyperparameters.unknown",
        _SPEC,
        "There is no MLPerf log key with this name; only a custom image can define one.",
    )
    SPEC_HYPERPARAMETERS_VALUE = (
        "spec.hyperparameters.value",
        _SPEC,
        "A value makes no sense, such as a negative learning rate.",
    )
    SPEC_HYPERPARAMETERS_CLOSED = "spec.hyperparameters.closed", _SPEC, "The closed division does not allow tuning it."
    SPEC_HYPERPARAMETERS_OUT_OF_THE_BOX = (
        "spec.hyperparameters.outOfTheBox",
        _SPEC,
        "An out-of-the-box run may set only the batch size.",
    )
    SPEC_SWEEP = (
        "spec.sweep",
        _SPEC,
        "A BenchmarkSweep asks for what no sweep can do, such as fewer runs than it needs at least.",
    )
    ID_UNTUNED = "<id>.untuned", _SPEC, "An out-of-the-box log has a value that is not the reference's."
    LOG_EMPTY = "log.empty", _LOG, "The log has no MLPerf lines."
    LOG_UNREADABLE = "log.unreadable", _LOG, "A line that starts like an MLPerf line cannot be read."
    LOG_LONG = (
        "log.long",
        _LOG,
        "Too many lines for MLCommons' checker, which was skipped; Podium's own checks are complete.",
    )
    LOG_BENCHMARK = "log.benchmark", _LOG, "The log is for a different benchmark than its folder."
    LOG_TARGET = "log.target", _LOG, "A closed log has a target that is not the round's."
    LOG_QUALITY = "log.quality", _LOG, "The target was not reached, or no evaluation was logged."
    LOG_QUALITY_CLAIM = "log.quality.claim", _LOG, "The log claims success, but its evaluations do not show it."
    LOG_RUN_START_MISSING = "log.run_start.missing", _LOG, "The log has no run_start."
    LOG_RUN_STOP_MISSING = "log.run_stop.missing", _LOG, "The log ends without a run_stop."
    LOG_RUN_STOP_STATUS = "log.run_stop.status", _LOG, "The status in run_stop is not success."
    LOG_EVAL_RESULT_MISSING = (
        "log.eval_result.missing",
        _LOG,
        "A benchmark that is evaluated after the clock stops has no eval_result with a time.",
    )
    LOG_CLOCK_BACKWARDS = "log.clock.backwards", _LOG, "A run_stop comes before run_start."
    LOG_CLOCK_STOP = "log.clock.stop", _LOG, "A run_stop comes before the evaluation that reaches the target."
    LOG_CLOCK_START = "log.clock.start", _LOG, "A block or an epoch starts before run_start."
    LOG_DATA_TRAIN = "log.data.train", _LOG, "The size of the training set is not that of the benchmark."
    LOG_DATA_EVAL = "log.data.eval", _LOG, "The size of the evaluation set is not that of the benchmark."
    LOG_EVALUATION_VALUE = "log.evaluation.value", _LOG, "An evaluation is not a number, or one that is impossible."
    LOG_EVALUATION_REPEATED = "log.evaluation.repeated", _LOG, "One point is evaluated twice, with two results."
    LOG_EVALUATION_MISSING = "log.evaluation.missing", _LOG, "An evaluation that the round requires is not in the log."
    LOG_EPOCHS_MISSING = "log.epochs.missing", _LOG, "An epoch between the first and the last is not in the log."
    LOG_RANKS = "log.ranks", _LOG, "The log has more or fewer ranks than the run started."
    LOG_PACE_BLOCK = "log.pace.block", _LOG, "The stamps of one stretch of training are faster than the others."
    LOG_PACE_EVALUATION = (
        "log.pace.evaluation",
        _LOG,
        "The stamps of evaluations are faster than the others, or than any published.",
    )
    LOG_PACE_THROUGHPUT = "log.pace.throughput", _LOG, "The logged throughput does not match the stamps."
    LOG_RUN_START_REPEATED = (
        "log.run_start.repeated",
        _LOG,
        "Several ranks log run_start, or a second run was appended to the log.",
    )
    LOG_RUN_STOP_REPEATED = "log.run_stop.repeated", _LOG, "Several ranks log run_stop."
    LOG_TIME_ORDER = (
        "log.time.order",
        _LOG,
        "A training line is stamped much earlier than a line before it, or a result earlier than its evaluation.",
    )
    LOG_INIT_CAP = "log.init.cap", _LOG, "Initialization took longer than the round's untimed limit."
    LOG_SUBMITTER = "log.submitter", _LOG, "A closed result of Podium's names no submitter, so nobody can submit it."
    LOG_SEED_MISSING = "log.seed.missing", _LOG, "The log has no seed; rounds since v1.0 require one."
    LOG_SEED_REPEATED = "log.seed.repeated", _LOG, "Two attempts used the same seed."
    ROUND_FORMAT = "<round>.format", _OWN_ROUND, "The log is not in the round's format."
    ROUND_KEY_ONCE = (
        "<round>.<key>.once",
        _OWN_ROUND,
        "A line that the round requires exactly once is missing or repeated.",
    )
    ROUND_KEY_ORDER = "<round>.<key>.order", _OWN_ROUND, "Lines are not in the order that the round requires."
    ROUND_KEY_REQUIRED = "<round>.<key>.required", _OWN_ROUND, "A line that the closed division requires is missing."
    ROUND_EVAL_ACCURACY_FORM = "<round>.eval_accuracy.form", _OWN_ROUND, "An evaluation has no epoch or no value."
    ROUND_EVAL_ACCURACY_FIRST = "<round>.eval_accuracy.first", _OWN_ROUND, "The first epoch was not evaluated."
    MLPERF = "mlperf", _MLPERF, "A message from the checker, quoted."
    MLPERF_KEY = "mlperf.<key>", _MLPERF, "A value that selects a rule file does not name one."
    MLPERF_RULES = "mlperf.rules", _MLPERF, "The log's values select a rule file that MLCommons does not have."
    MLPERF_KEY_CHECK = "mlperf.<key>.check", _MLPERF, "A line fails one of the checker's tests."
    MLPERF_KEY_REQUIRED = (
        "mlperf.<key>.required",
        _MLPERF,
        "A line that the checker requires is missing or appears too often.",
    )
    MLPERF_KEY_NEVER = "mlperf.<key>.never", _MLPERF, "No line passes a test, such as reaching the target."
    MLPERF_VALUE = "mlperf.value", _MLPERF, "A value is missing or has a type that the checker does not expect."
    MLPERF_CRASH = "mlperf.crash", _MLPERF, "The checker crashed on the log."
    SCORE_INVALID = (
        "score.invalid",
        _SCORE,
        "The attempts give no valid score, usually because too many did not converge.",
    )
    SCORE_NOT_CONVERGED = (
        "score.not_converged",
        _SCORE,
        "An attempt of an invalid result did not reach its target.",
    )
    SCORE_RUNS = "score.runs", _SCORE, "The number of attempts is not the one that the round requires."
    SCORE_SCALING = "score.scaling", _SCORE, "scaling.json is not what the reference convergence points give."
    SCORE_FILES = "score.files", _SCORE, "Two logs have one number, or a log has none."
    SCORE_PACE = "score.pace", _SCORE, "An attempt trains faster than the others of the result."
    SCORE_BENCHMARK_UNKNOWN = (
        "score.benchmark.unknown",
        _SCORE,
        "The round has no such benchmark, so no specific scoring rules apply.",
    )
    SCORE_DOCUMENT = "score.document", _SCORE, "A document next to the logs cannot be read or is too large."
    PACKAGE_ROUND = "package.round", _PACKAGE, "The results belong to several rounds."
    PACKAGE_NAME = "package.name", _PACKAGE, "A file name is not allowed in a package."
    PACKAGE_BENCHMARK = "package.benchmark", _PACKAGE, "The round has no such benchmark, or suspended it."
    PACKAGE_VERSION = "package.version", _PACKAGE, "The version of Podium in result.json is not a version."
    PACKAGE_TWICE = "package.twice", _PACKAGE, "There are two results for one benchmark."
    PACKAGE_CODE = (
        "package.code",
        _PACKAGE,
        "The result is not from Podium's trainers, and no folder with its implementation was given.",
    )
    PACKAGE_SCORE = "package.score", _PACKAGE, "The score is not official."
    PACKAGE_OFFICIAL = "package.official", _PACKAGE, "A message from MLCommons' package checker."
    PACKAGE_SYSTEM_MISSING = (
        "package.system.missing",
        _PACKAGE,
        "A field of the system description is missing, or not filled in.",
    )
    PACKAGE_SYSTEM_TYPE = (
        "package.system.type",
        _PACKAGE,
        "A field that MLCommons' tools join as text is something else.",
    )
    PACKAGE_SYSTEM_DIVISION = "package.system.division", _PACKAGE, "The division is neither closed nor open."
    PACKAGE_SYSTEM_STATUS = "package.system.status", _PACKAGE, "The round does not allow this status."
    REVIEW_RUNS_MISSING = (
        "review.runs.missing",
        _REVIEW,
        "The number of an attempt is missing, so the attempt may have been removed.",
    )
    REVIEW_RUNS_SAME = (
        "review.runs.same",
        _REVIEW,
        "A log is a copy of another one, or has the same evaluations but for noise.",
    )
    REVIEW_HYPERPARAMETERS_DIFFER = (
        "review.hyperparameters.differ",
        _REVIEW,
        "The attempts of one result differ in a hyperparameter.",
    )
    REVIEW_HYPERPARAMETERS_CLAIM = (
        "review.hyperparameters.claim",
        _REVIEW,
        "A description does not match the logs.",
    )
    REVIEW_SCORE = "review.score", _REVIEW, "The score in result.json is not the one that the logs give."
    REVIEW_COPY = "review.copy", _REVIEW, "A log of a package is not the one that Podium stored."
    REVIEW_KEY = (
        "review.<key>",
        _REVIEW,
        "The division, org, status, platform or chips of the system description do not match the logs.",
    )
    REVIEW_POWER = "review.power", _REVIEW, "Power readings are missing, too rare, or not of the whole attempt."
    REVIEW_SYSTEM = "review.system", _REVIEW, "The system description is missing or unreadable."
    REVIEW_RUN = "review.run", _REVIEW, "The result's run.yaml is missing or unreadable."
    REVIEW_CONVERGENCE = (
        "review.convergence",
        _REVIEW,
        "The attempts converged faster than the reference convergence points allow.",
    )
    REVIEW_SCALING = "review.scaling", _REVIEW, "The scaling factor is smaller than the convergence points require."
    REVIEW_SUMS = "review.sums", _REVIEW, "A file was changed, added or removed after the result was written."
    VERIFY_SIGNATURE = (
        "verify.signature",
        _VERIFY,
        "The key has not signed the result, or something else than what is there.",
    )
    VERIFY_FILES = "verify.files", _VERIFY, "A file was changed, added or removed after the result was written."
    VERIFY_LEDGER = (
        "verify.ledger",
        _VERIFY,
        "The ledger has a gap, is not closed, or knows other digests than SHA256SUMS.",
    )
    VERIFY_TRIES = (
        "verify.tries",
        _VERIFY,
        "A try is not in the ledger or not in the result, has no end, or they contradict each other about it.",
    )
    VERIFY_CHAIN = (
        "verify.chain",
        _VERIFY,
        "The chain over all runs has a gap or contradicts a result, or a run in it has no result here.",
    )
    VERIFY_CHECKPOINT = "verify.checkpoint", _VERIFY, "A log is not what had been received while it was printed."
    REVIEW_CONTRADICTION = (
        "review.contradiction",
        _REVIEW,
        "Two files of Podium's result say different things, or a file that belongs to it is missing.",
    )
    REVIEW_SEEN = (
        "review.seen",
        _REVIEW,
        "The operator saw the lines of the log at other times than the log says.",
    )
    REPORT_SCORE = "report.score", _REPORT, "The score in result.json is not the one that the logs give."
    REPORT_SWEEP = "report.sweep", _REPORT, "A row of sweep.json contradicts the rates of its runs."
    REPORT_SUMS = (
        "report.sums",
        _REPORT,
        "A file does not match its digest in SHA256SUMS, or in the status of its sweep.",
    )
    COMPARE_TARGET = "compare.target", _REPORT, "The two rounds have different targets."
    COMPARE_VARIANT = "compare.variant", _REPORT, "The two rounds use one name for different benchmarks."
    COMPARE_CLOCK = "compare.clock", _REPORT, "The two rounds start the clock differently."
    HISTORY_UNREADABLE = "history.unreadable", _REPORT, "A result.json cannot be read."
    BORROW_BENCHMARK = "borrow.benchmark", _REPORT, "The result is for a different benchmark than the run."
    BORROW_NOTHING = "borrow.nothing", _REPORT, "The result has no hyperparameter that the run could borrow."
    BORROW_RESULT = "borrow.result", _REPORT, "No attempt of the result converged."
    BORROW_RATE = (
        "borrow.rate",
        _REPORT,
        "The result's logs have no learning rate, without which the other hyperparameters make no sense.",
    )
    BORROW_DIFFERS = "borrow.differs", _REPORT, "The result's attempts differ in a hyperparameter."
