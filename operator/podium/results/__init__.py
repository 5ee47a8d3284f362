"""Result documents and the order in which they are written; results of anybody read back, scored and checked."""

from podium.results.archive import Archive, AttemptFiles
from podium.results.compliance import Checked, check_place
from podium.results.documents import result_folder
from podium.results.entries import Entry, score_folder
from podium.results.tree import Folder, Log, read_folders, read_log

__all__ = [
    "Archive", "AttemptFiles", "Checked", "Entry", "Folder", "Log", "check_place", "read_folders", "read_log",
    "result_folder", "score_folder",
]  # fmt: skip
