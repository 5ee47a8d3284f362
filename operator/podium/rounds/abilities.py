"""What Podium can do with a round, from the round's own data."""

from __future__ import annotations

from podium.rounds.model import Round

ABILITIES = ("run", "score", "check", "package", "review")


def abilities(round_: Round) -> dict[str, str]:
    """Return, for each of ABILITIES, how far it goes; "" where there is nothing to say beyond yes."""
    trained = [name for name, benchmark in round_.benchmarks.items() if benchmark.trainer]
    suspended = [name for name, benchmark in round_.benchmarks.items() if benchmark.suspended]
    official = any(place.startswith("mlperf_logging") for place in round_.documents.values())
    has_points = any(benchmark.reference_points for benchmark in round_.benchmarks.values())
    package = "" if official and round_.log_format == "mllog" else "MLCommons' package checker does not read the round"
    if suspended:
        package = "; ".join(filter(None, [f"not {', '.join(suspended)}, which the round suspended", package]))
    return {
        "run": "" if len(trained) == len(round_.benchmarks) else _needs_image(trained),
        "score": "",
        "check": "" if official else "by Podium's rules alone: MLCommons' checker does not know the round",
        "package": package,
        "review": "" if has_points else "there are no reference convergence points",
    }


def _needs_image(trained: list[str]) -> str:
    ours = f"; {', '.join(trained)} with Podium's trainer" if trained else ""
    return f"with your image{ours}"
