"""The base of everything that is read from or written to the API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

_FIELD_SETS: dict[frozenset[str], set[str]] = {}
_MOST_FIELD_SETS = 4096  # whoever writes specs chooses which fields are given


class Model(BaseModel):
    """A frozen value, serialized in camelCase like every Kubernetes object."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    def model_post_init(self, _: Any, /) -> None:
        self._share_field_set()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copied = super().model_copy(update=update, deep=deep)
        copied._share_field_set()  # noqa: SLF001 - of the same class
        return copied

    def _share_field_set(self) -> None:
        """Share the set of given fields with all values that have the same ones. No frozen value changes it, and those
        that pydantic makes for each value were a third of the memory of a run."""
        given = self.__pydantic_fields_set__
        share = _FIELD_SETS.setdefault if len(_FIELD_SETS) < _MOST_FIELD_SETS else _FIELD_SETS.get
        object.__setattr__(self, "__pydantic_fields_set__", share(frozenset(given), given))
