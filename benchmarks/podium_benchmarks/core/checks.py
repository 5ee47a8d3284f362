"""The bounds that trainers' settings share; each error names the setting, its value and what would be right."""

from __future__ import annotations


def one_of(config: object, **choices: tuple[str, ...]) -> None:
    """Each named setting is one of its choices."""
    for name, allowed in choices.items():
        if getattr(config, name) not in allowed:
            raise ValueError(f"{name} must be {_listed(allowed)}, not {getattr(config, name)!r}")


def above_zero(config: object, *names: str) -> None:
    """Each named setting is a number above 0 (and not NaN)."""
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} must be above 0, not {getattr(config, name)}")


def at_least_zero(config: object, *names: str) -> None:
    """Each named setting is a number from 0 up (and not NaN)."""
    for name in names:
        if not getattr(config, name) >= 0:
            raise ValueError(f"{name} must not be below 0, but is {getattr(config, name)}")


def below_one(config: object, *names: str) -> None:
    """Each named setting is a number from 0 to below 1: a decay, a dropout, a momentum."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"{name} must be from 0 to below 1, not {getattr(config, name)}")


def ratio(config: object, *names: str) -> None:
    """Each named setting is a number from 0 to 1."""
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} must be from 0 to 1, not {getattr(config, name)}")


def rising(config: object, *names: str) -> None:
    """Each named setting is a list of whole numbers above 0, each above the one before; it may be empty."""
    for name in names:
        numbers = getattr(config, name)
        if list(numbers) != sorted({number for number in numbers if number > 0}):
            raise ValueError(f"{name} must be rising whole numbers above 0, not {numbers}")


def ranks_of_bn_span(span: int, batch: int, world_size: int) -> int:
    """Ranks that share the statistics of batch normalization over `span` samples; 0 if each has its shard's own.

    Raises ValueError for a span that is neither the whole batch nor the equal shards of ranks in equal groups.
    """
    shard = -(-batch // world_size)
    if span == batch:
        return world_size
    if span in {0, shard}:
        return 0
    ranks, rest = divmod(span, shard)
    if rest or batch % world_size or world_size % ranks:
        raise ValueError(f"model_bn_span must be a rank's shard of the batch ({shard}, or 0), the shards of ranks in "
                         f"equal groups, or the whole batch ({batch}), not {span}")  # fmt: skip
    return ranks


def _listed(allowed: tuple[str, ...]) -> str:
    return allowed[0] if len(allowed) == 1 else f"one of {', '.join(allowed)}"
