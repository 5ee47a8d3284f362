"""The findings of a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of a rule: the rule's id, the place (a field of a spec, a file), a message, and the remedy."""

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
        """Return the finding as printed by ``--json``."""
        return {
            "rule": self.rule,
            "where": self.field,
            "line": self.line,
            "message": self.message,
            "remedy": self.remedy,
        }
