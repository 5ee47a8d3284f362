"""Render a page from facts: one HTML file that includes its styles and pictures, without scripts or external files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from podium.report.charts import breakdown_chart, epochs_chart, quality_chart, time_parts, times_chart
from podium.report.facts import Report
from podium.report.units import Unit, brief, digits, energy, percent, quality_text, unit_for


@dataclass(frozen=True, slots=True)
class Section:
    """One entry with its pictures."""

    report: Report
    unit: Unit
    anchor: str
    figures: tuple[tuple[str, str], ...]  # number and label
    curves: tuple[tuple[str, Markup], ...]  # by metric
    epochs: Markup
    times: Markup
    breakdown: Markup
    time_parts: tuple[tuple[str, str, str], ...]

    @property
    def title(self) -> str:
        entry = self.report.entry
        return " ".join(part for part in (entry.round, entry.benchmark) if part)

    @property
    def has_energy(self) -> bool:
        return any(a.energy_joules is not None for a in self.report.attempts)

    @property
    def has_rate(self) -> bool:
        return any(a.per_accelerator is not None for a in self.report.attempts)

    @property
    def has_init(self) -> bool:
        return any(a.init_seconds is not None for a in self.report.attempts)

    @property
    def offline(self) -> bool:
        return self.report.entry.rules.timed_by == "eval_result"

    @property
    def longest(self) -> float:
        return max((a.seconds or 0.0 for a in self.report.attempts), default=0.0) or 1.0

    @property
    def target(self) -> str:
        return ", ".join(f"{metric} {value:g}" for metric, value in self.report.entry.target.items())


def report_page(reports: Sequence[Report], made_at: datetime, version: str) -> str:
    """An HTML page about one or more entries. `version` is Podium's."""
    sections = [_section(report, f"entry-{number}") for number, report in enumerate(reports, start=1)]
    template = environment().get_template("report.html.j2")
    return template.render(sections=sections, made_at=made_at.strftime("%Y-%m-%d %H:%M %Z").strip(), version=version)


def style_sheet(name: str) -> str:
    """One of our style sheets, for a standalone picture."""
    return environment().get_template(name).render()


@cache
def environment() -> Environment:
    """The templates and filters of all pages."""
    environment = Environment(
        loader=PackageLoader("podium.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "energy": energy, "quality": quality_text, "digits": digits,
                            "brief": brief}  # fmt: skip
    return environment


def _section(report: Report, anchor: str) -> Section:
    unit = unit_for(a.seconds for a in report.attempts if a.seconds is not None)
    metrics = list(report.entry.target) or list(
        dict.fromkeys(metric for a in report.attempts for point in a.curve for metric in point.quality)
    )
    return Section(
        report=report,
        unit=unit,
        anchor=anchor,
        figures=tuple(_figures(report)),
        curves=tuple((metric, quality_chart(report, metric, unit)) for metric in metrics[:4]),
        epochs=epochs_chart(report),
        times=times_chart(report, unit),
        breakdown=breakdown_chart(report, unit),
        time_parts=tuple(time_parts(report.attempts, unit)),
    )


def _figures(report: Report) -> list[tuple[str, str]]:
    """The numbers beside the score."""
    entry, spread = report.entry, report.spread
    scored = sum(a.scored for a in report.attempts)
    figures = [(f"{scored} of {len(report.attempts)}", "attempts counted")]
    if spread.estimate:
        figures.append((f"±{percent(spread.estimate.relative)}", "95 % confidence"))
    if spread.epochs:
        mean = f"{spread.epochs.mean:.1f}"
        variation = spread.epochs.variation
        figures.append((mean, "epochs to target" + (f", CV {percent(variation)}" if variation is not None else "")))
    if (variation := entry.score.coefficient_of_variation) is not None:
        figures.append((percent(variation), "CV of time"))
    if rate := report.rate:
        near = f" ±{percent(found.relative)}" if (found := rate.estimate) else ""
        figures.append((digits(rate.seconds), f"s/{rate.per} of training{near}"))
        if each := rate.per_accelerator(rate.seconds):
            figures.append((digits(each), f"samples/s per chip{near}"))
    if spread.runs_needed:
        figures.append((f"{spread.runs_needed:,}", "attempts for ±5 %"))
    if entry.chips:
        figures.append((f"{entry.chips:,}", "chips" if entry.chips > 1 else "chip"))
    if report.energy_joules is not None:
        figures.append((energy(report.energy_joules), "energy per training"))
    if report.cost:
        figures.append((report.cost, "cost per training"))
    return figures
