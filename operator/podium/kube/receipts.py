"""Notes when the lines of a log are received, and how late at most that may be."""

from __future__ import annotations

import secrets
import time

# Data that arrive sooner after the last ones may have been printed together with these.
_GAP_SECONDS = 0.05
BEHIND_OTHER = "~"


class Receipts:
    """The receipts of one stream: what is added to a line's timestamp, ``@<observer>:<received>[+<delay>][~]``.

    Times are unix seconds on a clock that never steps: that of this machine as it was when the stream began. Receipts
    of two observers (streams, processes) come from two clocks. A line was printed at most `delay` seconds before it was
    received; without one, nobody knows, since this process has not come to the end of the log since it began to read.
    With ``~`` (`BEHIND_OTHER`), the timestamp is not the line's own: the runtime stamps a long line in parts, and the
    log shows the time of the first.
    """

    def __init__(self, nothing_before: float | None = None) -> None:
        """Nothing was printed before `nothing_before`; None: unknown."""
        self._observer = f"{secrets.randbits(32):08x}"
        self._ahead = time.time() - time.monotonic()
        self._complete = nothing_before  # everything that was printed until then has been received
        self._idle: float | None = None  # since when the pipe has been empty

    def now(self) -> float:
        return self._ahead + time.monotonic()

    def complete_until(self, at: float) -> None:
        """A read that began `at` has come to the end of what was there."""
        self._complete = max(at, self._complete or at)

    def wait(self) -> None:
        """The pipe to the program is empty. A stream over a network is no proof of that: it may be held up anywhere."""
        self._idle = self.now()

    def arrived(self) -> str:
        """Return the receipt of what has come out of the pipe after `wait`."""
        if self._idle is not None and self.now() - self._idle >= _GAP_SECONDS:
            self.complete_until(self._idle)
        return self.receipt()

    def receipt(self, *, hidden: bool = False) -> str:
        """Return the receipt of what has been read now. `hidden`: earlier reads may have left it out."""
        now = self.now()
        delay = "" if self._complete is None or hidden else f"+{max(0.0, now - self._complete):.3f}"
        return f"@{self._observer}:{now:.3f}{delay}"
