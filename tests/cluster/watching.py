"""``podium watch`` as a process of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.parts import until

PODIUM = Path(sys.executable).parent / "podium"


class Watching:
    """A ``podium watch`` or ``podium sweep watch`` that runs."""

    def __init__(
        self,
        kubeconfig: Path,
        folder: Path,
        *words: str,
        program: object = PODIUM,
        verb: Sequence[str] = ("watch",),
    ) -> None:
        self._out = folder / f"watch-{uuid.uuid4().hex[:8]}.out"
        command = [str(program), *([] if program == PODIUM else ["podium"]), *verb, *words]
        path = f"{PODIUM.parent}:{os.environ['PATH']}"
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "COLUMNS": "200", "PATH": path}
        with self._out.open("wb") as out:
            # A shell that runs the tests in the background has them, and all that they start, ignore Ctrl-C
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=out,
                env=environment,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - takes no lock
            )

    def output(self) -> str:
        return self._out.read_text()

    def sees(self, *sentences: str) -> None:
        def all_there() -> bool:
            return all(sentence in self.output() for sentence in sentences)

        try:
            until(all_there, 20, "the output holds what it should")
        except AssertionError as error:
            raise AssertionError(f"{error}: {sentences}\n{self.output()}") from None

    def ends(self, code: int) -> str:
        assert self.process.wait(20) == code, self.output()
        return self.output()


@contextmanager
def watches(kubeconfig: Path, folder: Path, **fixed: Any) -> Iterator[Callable[..., Watching]]:
    """Start watches, and end those that still run. `fixed` and what a call adds are the arguments of `Watching`."""
    started: list[Watching] = []

    def start(*words: str, **more: Any) -> Watching:
        started.append(Watching(kubeconfig, folder, *words, **fixed, **more))
        return started[-1]

    try:
        yield start
    finally:
        for each in started:
            each.process.kill()
            each.process.wait()
