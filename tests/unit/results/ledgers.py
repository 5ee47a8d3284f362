"""What tests of ledgers share."""

from __future__ import annotations

from podium.results import LogDigest, Segment
from podium.results.ledger import read
from tests.unit.reconcile import examples as ex


def unbroken(text):
    """Return the entries of a ledger whose chain holds."""
    records = list(read(text))
    assert not [record for record in records if record.problem]
    return [record.entry for record in records]


def put_checkpoint(writer, id_, process, start, rows):
    lines = LogDigest().with_rows(rows)
    writer.put_checkpoint(Segment(id_, process, start, rows, lines.size, lines.sha256), [ex.running(0)])
