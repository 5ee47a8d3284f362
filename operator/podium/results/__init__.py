"""Result documents and the order in which they are written; results of anybody read back, scored and checked."""

from podium.results.archive import Archive, AttemptFiles
from podium.results.borrow import Borrowed, borrow, borrowing_run
from podium.results.comparison import Comparison, compare
from podium.results.compliance import Checked, check_place
from podium.results.convergence import convergence_of_entry
from podium.results.documents import result_folder
from podium.results.entries import Entry, score_folder
from podium.results.history import COLUMNS as HISTORY_COLUMNS
from podium.results.history import Past, read_history
from podium.results.official_package import package_findings
from podium.results.package import Part, Submission, check_submission, files_of, gather
from podium.results.review import is_closed, review
from podium.results.spread import Variance, variance
from podium.results.tree import Folder, Log, read_folders, read_log

__all__ = [
    "HISTORY_COLUMNS",
    "Archive",
    "AttemptFiles",
    "Borrowed",
    "Checked",
    "Comparison",
    "Entry",
    "Folder",
    "Log",
    "Part",
    "Past",
    "Submission",
    "Variance",
    "borrow",
    "borrowing_run",
    "check_place",
    "check_submission",
    "compare",
    "convergence_of_entry",
    "files_of",
    "gather",
    "is_closed",
    "package_findings",
    "read_folders",
    "read_history",
    "read_log",
    "result_folder",
    "review",
    "score_folder",
    "variance",
]
