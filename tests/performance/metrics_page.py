"""How long making the page of metrics takes, and how long it holds up everything else: 1,000 active, 5,000 ended runs.

python -m tests.performance.metrics_page
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from podium.metrics import FinishedSample, Metrics, RunSample
from podium.reconcile import Run
from tests.unit.metrics.test_metrics import TRAINING, sample


async def measure(active: Sequence[Run], ended: Iterable[FinishedSample]) -> dict[str, float]:
    """Return the figures of one page."""

    def samples() -> Iterator[RunSample | FinishedSample]:
        yield from ended
        yield from (sample(run) for run in active)

    metrics = Metrics(samples, lambda: 0)
    used, longest, last = time.process_time(), 0.0, time.perf_counter()
    making = asyncio.create_task(metrics.page())
    while not making.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return {
        "cpu_s": round(time.process_time() - used, 3),
        "longest_hold_s": round(longest, 3),
        "lines": len(making.result().splitlines()),
    }


async def main() -> None:
    """Print the figures, three times."""
    active = [replace(TRAINING, name=f"run-{index}", uid=str(index)) for index in range(1000)]
    ended = [FinishedSample("lab", f"ended-{index}", "resnet", "Complete", 90.0) for index in range(5000)]
    for _ in range(3):
        print(await measure(active, ended))


if __name__ == "__main__":
    asyncio.run(main())
