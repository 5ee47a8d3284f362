"""Builders of the dashboards' panels, so that all panels of a kind look the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import bargauge, common, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import common as style
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TAG = "podium"
FLEET, RUN, OPERATOR = "podium-fleet", "podium-run", "podium-operator"  # uids: links and bookmarks depend on them
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
# the namespace, number of the attempt, try, pod and a suffix, as a Job names its pods
PODS_OF_RUN = "podium-$run-[0-9]+-[0-9]+-[0-9]+-[a-z0-9]+"
RUN_OF_POD = "podium-(.+)-[0-9]+-[0-9]+-[0-9]+-[a-z0-9]+"

_BY_LEVEL = builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)

Panel = timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel


def query(expression: str, legend: str = "") -> Dataquery:
    """A query over the dashboard's time range."""
    return Dataquery().expr(expression).legend_format(legend).range()


def total(expression: str, legend: str = "") -> Dataquery:
    """One value at the end of the dashboard's time range, usually an ``increase(...[$__range])``."""
    return Dataquery().expr(expression).legend_format(legend).instant()


def rows(expression: str) -> Dataquery:
    """One row per series, for a table."""
    return Dataquery().expr(expression).format(PromQueryFormat.TABLE).instant()


def graph(
    title: str,
    text: str,
    unit: str,
    *queries: Dataquery,
    stacked: bool = False,
    alert: tuple[str, float] | None = None,
    width: int = 12,
) -> Panel:
    """Lines over time, or stacked areas; with a dashed line at the value, in `unit`, above which an `alert` fires."""
    panel = (
        timeseries.Panel()
        .unit(unit)
        .line_width(1 if stacked else 2)
        .fill_opacity(60 if stacked else 5)
        .show_points(style.VisibilityMode.NEVER)
        .legend(common.VizLegendOptions().display_mode(style.LegendDisplayMode.LIST).show_legend(True))
        .tooltip(common.VizTooltipOptions().mode(style.TooltipDisplayMode.MULTI))
        .axis_soft_min(0)
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(style.StackingMode.NORMAL))
    if alert is not None:
        name, limit = alert
        text += f" {name} fires above the dashed line."
        panel.thresholds(_levels({None: "transparent", limit: "red"}))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(style.GraphTresholdsStyleMode.DASHED))
    return _panel(panel, title, text, queries, width=width, height=8)


def number(
    title: str,
    text: str,
    unit: str,
    *queries: Dataquery,
    decimals: int | None = None,
    name: bool = False,
    levels: Mapping[float | None, str] | None = None,
) -> Panel:
    """The last value in large type; with `name`, the name of its series instead.

    `levels` gives the color from each value on, and under None that of lower values.
    """
    has_names = any(one.build().legend_format for one in queries)
    mode = style.BigValueTextMode.VALUE_AND_NAME if has_names else style.BigValueTextMode.AUTO
    panel = (
        stat.Panel()
        .unit(unit)
        .no_value("-")
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(style.BigValueColorMode.NONE)
        .graph_mode(style.BigValueGraphMode.NONE)
        .text_mode(style.BigValueTextMode.NAME if name else mode)
    )
    if decimals is not None:
        panel.decimals(decimals)
    if levels:
        panel.color_mode(style.BigValueColorMode.VALUE).thresholds(_levels(levels)).color_scheme(_BY_LEVEL)
    return _panel(panel, title, text, queries, width=4, height=4)


def bars(title: str, text: str, unit: str, *queries: Dataquery, width: int = 12) -> Panel:
    """One bar per series, for its last value; all green, where Grafana's default is red from 80 on."""
    panel = (
        bargauge.Panel()
        .unit(unit)
        .thresholds(_levels({None: "green"}))
        .color_scheme(_BY_LEVEL)
        .min(0)
        .orientation(style.VizOrientation.HORIZONTAL)
        .display_mode(style.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return _panel(panel, title, text, queries, width=width, height=8)


def listing(
    title: str, text: str, *queries: Dataquery, columns: dict[str, str], units: dict[str, str], link: tuple[str, str]
) -> Panel:
    """A table of all queries side by side. `columns` maps labels and values to headings, `units` maps headings to
    units, and `link` is the heading of the column that links to another page, and that page's URL."""
    heading, url = link
    order = {name: index for index, name in enumerate(columns)}
    leads = {"title": heading, "url": url, "targetBlank": False}
    panel = (
        table.Panel()
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="filterFieldsByName", options={"include": {"names": list(columns)}, "byVariable": False}
            )
        )
        .with_transformation(
            models.DataTransformerConfig(id_val="organize", options={"indexByName": order, "renameByName": columns})
        )
        .override_by_name(heading, [models.DynamicConfigValue(id_val="links", value=[leads])])
    )
    for name, unit in units.items():
        panel.override_by_name(name, [models.DynamicConfigValue(id_val="unit", value=unit)])
    return _panel(panel, title, text, queries, width=24, height=8)


def _levels(colors: Mapping[float | None, str]) -> builders.ThresholdsConfig:
    """Grafana's thresholds: a color from each value on; None is the base."""
    steps = [models.Threshold(value=value, color=color) for value, color in colors.items()]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _panel(panel: Panel, title: str, text: str, queries: Sequence[Dataquery], *, width: int, height: int) -> Panel:
    panel.title(title).description(text).datasource(SOURCE).span(width).height(height)
    for letter, one in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(one.ref_id(letter).datasource(SOURCE))
    return panel


def colors(panel: Panel, **by_series: str) -> Panel:
    """Fixed colors for series whose color has a meaning."""
    for name, color in by_series.items():
        fixed = models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})
        panel.override_by_name(name, [fixed])
    return panel


def dashed(panel: Panel, pattern: str) -> Panel:
    """Draw the series whose names match as dashed lines."""
    line = models.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 8]})
    gray = models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": "text"})
    return panel.override_by_regexp(pattern, [line, gray])


def labels_of(name: str, expression: str, label: str, *, several: bool = True) -> builders.QueryVariable:
    """A choice of the label's values in the dashboard's time range, so that deleted runs can be selected, too."""
    text = f"label_values({expression}, {name})"
    variable = (
        builders.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": text, "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    if several:
        everything = models.VariableOption(selected=True, text="All", value="$__all")
        variable.multi(True).include_all(True).all_value(".*").current(everything)
    return variable


def empty(
    uid: str, title: str, text: str, *, since: str, variables: Sequence[builders.QueryVariable]
) -> builders.Dashboard:
    """A dashboard without panels, linked to the other dashboards of Podium."""
    board = (
        builders.Dashboard(f"Podium / {title}")
        .uid(uid)
        .description(text)
        .tags([TAG])
        .time(since, "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            builders.DashboardLink("Podium")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(builders.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in variables:
        board.with_variable(variable)
    return board


def fill(board: builders.Dashboard, *sections: tuple[str, Sequence[Panel]]) -> builders.Dashboard:
    """Add rows with their panels, numbered from top to bottom."""
    number_of = 0
    for title, panels in sections:
        number_of += 1
        board.with_row(builders.Row(title).id(number_of))
        for panel in panels:
            number_of += 1
            board.with_panel(panel.id(number_of))
    return board
