"""Result documents and the order in which they are written."""

from podium.results.archive import Archive, AttemptFiles
from podium.results.documents import result_folder

__all__ = ["Archive", "AttemptFiles", "result_folder"]
