"""What values of the API share in memory."""

from __future__ import annotations

from podium.api import Condition, ConditionType, model


def condition(**more):
    return Condition(type=ConditionType.COMPLETE, status="True", last_transition_time="2026-01-01T00:00:00Z", **more)


def test_values_with_the_same_fields_share_the_set_of_these_and_no_others_do():
    """pydantic notes the given fields of each value in a set, which takes more memory than the value."""
    first, second, third = condition(reason="A"), condition(reason="B"), condition(reason="A", message="why")
    copied = first.model_copy(update={"message": "why"})
    assert first.model_fields_set is second.model_fields_set
    assert copied.model_fields_set is third.model_fields_set
    assert first.model_fields_set == {"type", "status", "last_transition_time", "reason"}
    assert copied == third
    assert "message" not in first.model_dump(exclude_unset=True)
    assert condition(reason="A").model_fields_set is first.model_fields_set


def test_only_so_many_sets_are_shared(monkeypatch):
    """Whoever writes specs chooses which fields are given."""
    monkeypatch.setattr(model, "_FIELD_SETS", {})
    monkeypatch.setattr(model, "_MOST_FIELD_SETS", 1)
    shared, other = condition(reason="A"), condition(reason="A", message="new")
    assert condition(reason="B").model_fields_set is shared.model_fields_set
    assert other.model_fields_set == shared.model_fields_set | {"message"}
    assert len(model._FIELD_SETS) == 1
