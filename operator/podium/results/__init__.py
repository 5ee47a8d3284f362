"""What the operator writes about a run: its documents, and the order in which files are stored."""

from podium.results.schema import result_folder
from podium.results.writer import AttemptFiles, ResultWriter

__all__ = ["AttemptFiles", "ResultWriter", "result_folder"]
