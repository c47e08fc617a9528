"""Charts as static SVG: Altair describes them, vl-convert draws them, and the page's style sheet colours them.

Colours are written as the fixed values below and are matched by the style sheet, so one drawing serves light and dark pages.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

TEXT, GRID, BASE, LIFTED, WORSE = "#222222", "#dddddd", "#8a8f94", "#1b6ca8", "#c2541b"
VERDICT_COLOURS = {"better": LIFTED, "worse": WORSE, "no clear difference": BASE}
FONT = "system-ui, sans-serif"
HEADING = "\u2007"  # figure space: marks an entry of the language axis as the heading of a group
LOSS_POINTS = 300
LABEL_LIMIT, LABEL_STEP = 220, 7.5  # pixels: of a label at most, of a bold letter in the widest of the usual fonts

alt.data_transformers.disable_max_rows()


def svg(chart: Any, label: str) -> str:
    """Draw a chart as an SVG element to be put into a page, described for screen readers by `label`."""
    axis = {"labelColor": TEXT, "titleColor": TEXT, "gridColor": GRID, "domainColor": GRID, "tickColor": GRID}
    chart = chart.configure(background="transparent", font=FONT, padding=14).configure_view(stroke=None)
    chart = chart.configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", labelLimit=LABEL_LIMIT, **axis)
    chart = chart.configure_header(labelColor=TEXT, labelFontSize=13, labelFontWeight="bold", title=None)
    # Padding, because browsers draw text wider than vl-convert measures it: two legends must not touch.
    chart = chart.configure_legend(labelColor=TEXT, titleColor=TEXT, labelFontSize=12, orient="top", title=None, padding=10)
    drawing = vl_convert.vegalite_to_svg(chart.to_dict())
    drawing = re.sub(r"-?\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}", drawing)
    # Vega describes each of thousands of marks; a label of the whole serves readers better, and the tables have the numbers.
    drawing = re.sub(r' (role|aria-[a-z]+|class|pointer-events|opacity)="(?:[^"]*)"', "", drawing)
    drawing = re.sub(r'<path d="(?:M0,0h0v0h0Z)?"( display="none")?/>', "", drawing)
    return compact(drawing).replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def compact(drawing: str) -> str:
    """The same picture in a third of the bytes: circles as circles, level lines as short paths, shared attributes said once."""
    number = r"(-?[\d.]+)"
    arcs = rf"M{number},0A\3,\3,0,1,1,-\3,0A\3,\3,0,1,1,\3,0"
    drawing = re.sub(rf'<path transform="translate\({number},{number}\)" d="{arcs}"', r'<circle cx="\1" cy="\2" r="\3"', drawing)
    drawing = re.sub(rf'<line transform="translate\({number},{number}\)" x2="{number}" y2="0"', r'<path d="M\1,\2h\3"', drawing)
    mark = r"<(?:circle|path) [^>]*?"
    runs = rf"{mark}( (?:fill|stroke)=[^>]*)/>(?:{mark}\1/>)+"
    return re.sub(runs, lambda run: f"<g{run[1]}>{run[0].replace(run[1] + '/>', '/>')}</g>", drawing)


def grouped_axis(languages: Sequence[tuple[str, str]]) -> list[str]:
    """The entries of a language axis, from (group, name): each group opens with its heading."""
    entries: list[str] = []
    for group, name in languages:
        if HEADING + group not in entries:
            entries.append(HEADING + group)
        entries.append(name)
    return entries


def language_axis(entries: Iterable[str]) -> alt.Axis:
    """An axis with room for its longest label: browsers draw text wider than vl-convert measures it, and cut off what does not fit."""
    heading = f"slice(datum.label, 0, 1) == '{HEADING}'"
    return alt.Axis(
        title=None,
        domain=False,
        ticks=False,
        grid=False,
        minExtent=min(LABEL_LIMIT, LABEL_STEP * max(map(len, entries), default=0)),
        labelFontWeight={"condition": {"test": heading, "value": "bold"}, "value": "normal"},
    )


def dumbbell(view: pd.DataFrame, languages: Sequence[tuple[str, str]], labels: dict[str, str], metric: str) -> Any:
    """Per language the base and the trained model, joined by a line, with 95 % intervals; one panel a direction.

    `view` has the columns name, group (the direction), base_value, base_low, base_high, same_value, value, low, high, verdict.
    `labels` names the three marks: same (base, same protocol), base (the baseline), model.
    """
    entries = grouped_axis(languages)
    y = alt.Y("name:N", sort=None, scale=alt.Scale(domain=entries), axis=language_axis(entries))
    columns = [name for name in ("base_value", "base_low", "base_high", "same_value", "value", "low", "high") if name in view]
    data = view[["name", "group", "verdict", *columns]].round(2)
    x = alt.X("value:Q", title=metric, scale=alt.Scale(zero=True, nice=True), axis=alt.Axis(tickCount=5, domain=False, ticks=False))
    chart = alt.Chart()
    colour = alt.Color(
        "verdict:N",
        scale=alt.Scale(domain=list(VERDICT_COLOURS), range=list(VERDICT_COLOURS.values())),
        legend=alt.Legend(title=None),
    )
    link = chart.mark_rule(aria=False, strokeWidth=2).encode(x=x, x2="base_value:Q", y=y, color=colour)
    intervals = [
        chart.mark_rule(aria=False, strokeWidth=5, strokeOpacity=0.22, color=tone).encode(x=f"{low}:Q", x2=f"{high}:Q", y=y)
        for low, high, tone in (("base_low", "base_high", BASE), ("low", "high", LIFTED))
    ]
    shown = [("base_value", labels["base"]), ("value", labels["model"])]
    if labels["same"] != labels["base"]:
        shown.insert(0, ("same_value", labels["same"]))
    tones = {"same_value": "transparent", "base_value": BASE, "value": LIFTED}
    edges = {"same_value": BASE, "base_value": BASE, "value": LIFTED}
    scales = {
        "fill": alt.Scale(domain=[label for _, label in shown], range=[tones[field] for field, _ in shown]),
        "stroke": alt.Scale(domain=[label for _, label in shown], range=[edges[field] for field, _ in shown]),
    }
    points = [
        chart.mark_circle(aria=False, size=42, opacity=1, strokeWidth=1.5)
        .transform_calculate(mark=f"'{label}'")
        .encode(
            x=f"{field}:Q",
            y=y,
            fill=alt.Fill("mark:N", scale=scales["fill"], legend=alt.Legend(symbolStrokeWidth=1.5, title=None)),
            stroke=alt.Stroke("mark:N", scale=scales["stroke"]),
        )
        for field, label in shown
    ]
    groups = list(dict.fromkeys(view["group"]))
    width = max(130, min(420, 700 // len(groups)))
    return (
        alt.layer(*intervals, link, *points, data=data)
        .properties(width=width, height={"step": 17})
        .facet(column=alt.Column("group:N", sort=groups, title=None, header=alt.Header(labelPadding=6)), spacing=18)
    )


def shares(view: pd.DataFrame) -> Any:
    """Share of each language in a mixture, planned and realised, in percent; one panel a mixture."""
    y = alt.Y("name:N", sort=list(dict.fromkeys(view["name"])), axis=language_axis(view["name"]))
    chart = alt.Chart()
    bars = chart.mark_bar(aria=False, height=9, color=LIFTED, fillOpacity=0.6).encode(
        x=alt.X("realised:Q", title="share of the rows, %", axis=alt.Axis(tickCount=6, domain=False, ticks=False)), y=y
    )
    ticks = chart.mark_tick(aria=False, color=TEXT, thickness=2, size=15).encode(x="planned:Q", y=y)
    mixtures = view["mixture"].nunique()
    return (
        alt.layer(bars, ticks, data=view.round(3))
        .properties(width=max(160, 700 // mixtures), height={"step": 17})
        .facet(column=alt.Column("mixture:N", title=None), spacing=18)
    )


def losses(view: pd.DataFrame) -> Any:
    """Training loss by optimiser step, one line a model."""
    return (
        alt.Chart(view.round(3))
        .mark_line(aria=False, strokeWidth=1.6)
        .encode(
            x=alt.X("step:Q", title="optimiser step", axis=alt.Axis(grid=False, tickCount=8)),
            y=alt.Y("loss:Q", title="training loss", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5, domain=False)),
            color=alt.Color("model:N", scale=alt.Scale(range=[LIFTED, WORSE, BASE]), legend=alt.Legend(title=None))
            if view["model"].nunique() > 1
            else alt.value(LIFTED),
        )
        .properties(width=700, height=200)
    )


def scatter(view: pd.DataFrame, metric: str) -> Any:
    """Base against trained model, one point a language, one panel a direction; above the diagonal the trained one is better."""
    top = float(max(view["value"].max(), view["base_value"].max())) * 1.05
    scale = alt.Scale(domain=[0, top], nice=False)
    chart = alt.Chart()
    axis = alt.Axis(tickCount=4, domain=False, ticks=False)
    diagonal = chart.transform_calculate(zero="0", top=str(top)).transform_sample(1)
    line = diagonal.mark_rule(aria=False, color=GRID, strokeWidth=1.5).encode(
        x=alt.X("zero:Q", scale=scale), y=alt.Y("zero:Q", scale=scale), x2="top:Q", y2="top:Q"
    )
    colour = alt.Color(
        "verdict:N",
        scale=alt.Scale(domain=list(VERDICT_COLOURS), range=list(VERDICT_COLOURS.values())),
        legend=alt.Legend(title=None),
    )
    points = chart.mark_circle(aria=False, size=46, opacity=1).encode(
        x=alt.X("base_value:Q", scale=scale, title=f"base, {metric}", axis=axis),
        y=alt.Y("value:Q", scale=scale, title=f"trained, {metric}", axis=axis),
        color=colour,
    )
    places: list[tuple[dict[str, Any], str]] = [({"align": "left", "dx": 6}, "<"), ({"align": "right", "dx": -6}, ">=")]
    names = [  # a label points inwards, so that none leaves the panel
        chart.mark_text(aria=False, fontSize=10, color=TEXT, **place)
        .transform_filter(f"datum.base_value {where} {top / 2}")
        .encode(x=alt.X("base_value:Q", scale=scale), y=alt.Y("value:Q", scale=scale), text="label:N")
        for place, where in places
    ]
    groups = list(dict.fromkeys(view["group"]))
    size = max(150, min(300, 740 // len(groups)))
    data = view[["name", "group", "verdict", "base_value", "value", "label"]].round(2)
    return (
        alt.layer(line, points, *names, data=data)
        .properties(width=size, height=size)
        .facet(column=alt.Column("group:N", sort=groups, title=None), spacing=18)
    )


def thin(rows: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """At most 300 points of a training log: the mean of each stretch of steps."""
    stretch = -(-len(rows) // LOSS_POINTS)
    parts = [rows[start : start + stretch] for start in range(0, len(rows), stretch or 1)]
    return [{"step": part[-1]["step"], "loss": sum(row["loss"] for row in part) / len(part)} for part in parts]
