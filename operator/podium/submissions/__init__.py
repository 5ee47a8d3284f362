"""What people do with results: read published folders; score, check, compare, review and package them."""

from podium.submissions.answers import Answered, PairAnswer, Quantity, as_expected, compare_pair
from podium.submissions.borrow import Borrowed, borrow, borrowing_run
from podium.submissions.check import Checked, check_place
from podium.submissions.comparison import Comparison, compare
from podium.submissions.convergence import convergence_of_entry
from podium.submissions.description import describe_entry, describe_system
from podium.submissions.entries import ScoredResult, score_folder
from podium.submissions.gate import GateCheck, gate_on_baseline, gate_on_history
from podium.submissions.history import COLUMNS as HISTORY_COLUMNS
from podium.submissions.history import HistoryRow, read_history
from podium.submissions.left_out import VerifiedChain, chain_paths, verify_chain
from podium.submissions.package import (
    ReviewedResult,
    Submission,
    check_submission,
    files_of,
    gather,
    is_closed,
    kept_files,
    packaged_logs,
)
from podium.submissions.power import energy_joules
from podium.submissions.rates import EntryRate, rate_of
from podium.submissions.review import review
from podium.submissions.spread import Variance, variance
from podium.submissions.together import platform_note
from podium.submissions.tree import Folder, Log, read_folders, read_log
from podium.submissions.trend import Series, series_of, sparkline
from podium.submissions.verify import Provenance, Verified, provenance, result_paths, unfinished, verify

__all__ = [
    "HISTORY_COLUMNS", "Answered", "Borrowed", "Checked", "Comparison", "EntryRate", "Folder", "GateCheck",
    "HistoryRow", "Log", "PairAnswer", "Provenance", "Quantity", "ReviewedResult", "ScoredResult", "Series",
    "Submission", "Variance", "Verified", "VerifiedChain", "as_expected", "borrow", "borrowing_run", "chain_paths",
    "check_place", "check_submission", "compare", "compare_pair", "convergence_of_entry", "describe_entry",
    "describe_system", "energy_joules", "files_of", "gate_on_baseline", "gate_on_history", "gather", "is_closed",
    "kept_files", "packaged_logs", "platform_note", "provenance", "rate_of", "read_folders", "read_history",
    "read_log", "result_paths", "review", "score_folder", "series_of", "sparkline", "unfinished", "variance",
    "verify", "verify_chain",
]  # fmt: skip
