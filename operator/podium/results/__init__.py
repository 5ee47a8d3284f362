"""What the operator writes about a run or a sweep: its documents, and the order in which files are stored."""

from podium.results.chain import Chain, chain_folder
from podium.results.checkpoints import FULL_SEGMENT_BYTES, MAX_SEGMENT_BYTES, LogDigest, Segment
from podium.results.run_ledger import RunLedger
from podium.results.schema import result_folder
from podium.results.sweep import SWEEP_RESULT, SweepDocument, put_sweep, read_sweep, sweep_folder
from podium.results.writer import AttemptFiles, Checkpoint, PodLog, ResultWriter, Sealed, Signer

__all__ = [
    "FULL_SEGMENT_BYTES", "MAX_SEGMENT_BYTES", "SWEEP_RESULT", "AttemptFiles", "Chain", "Checkpoint", "LogDigest",
    "PodLog", "ResultWriter", "RunLedger", "Sealed", "Segment", "Signer", "SweepDocument", "chain_folder",
    "put_sweep", "read_sweep", "result_folder", "sweep_folder",
]  # fmt: skip
