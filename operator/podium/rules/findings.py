"""What a check finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach: the rule's id, where (a field of a spec, a file), a sentence, and what to do about it."""

    rule: str
    field: str
    message: str
    line: int | None = None
    remedy: str = ""

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.field}{line}: {self.message}{remedy}"

    def document(self) -> Mapping[str, Any]:
        """As printed by ``--json``."""
        return {
            "rule": self.rule,
            "where": self.field,
            "line": self.line,
            "message": self.message,
            "remedy": self.remedy,
        }
