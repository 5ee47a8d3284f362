"""What the operator writes about a run: its documents, and the order in which files are stored."""

from podium.results.checkpoints import FULL_SEGMENT_BYTES, MAX_SEGMENT_BYTES
from podium.results.schema import result_folder
from podium.results.writer import AttemptFiles, PodLog, ResultWriter

__all__ = ["FULL_SEGMENT_BYTES", "MAX_SEGMENT_BYTES", "AttemptFiles", "PodLog", "ResultWriter", "result_folder"]
