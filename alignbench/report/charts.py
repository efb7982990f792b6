"""The report's charts: Vega-Lite specifications (Altair), each with its static SVG and its words.

A page shows the SVG and, with scripts, makes an interactive chart of the same specification.
Colours are the page's CSS variables, so both follow light and dark. Lines differ in colour and in
dashes. Charts of models leave out those that the reader hides (parameter ``hidden``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from alignbench.report.drawing import draw
from alignbench.report.page import revealed

if TYPE_CHECKING:
    import altair as alt
    from markupsafe import Markup

Record = dict[str, Any]
Point = tuple[float, float | None, float | None, float | None]
"""x, value, low, high; None where not known."""

COLOURS = 8
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 1])
NARROW, WIDE = 340, 700
"""Widths in pixels: a phone's, and a desktop's."""
#: More lines than this, and their bands would hide each other.
MOST_BANDS = 5


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        title: above it.
        words: what is seen, in words and numbers, for those who do not see it.
        spec: of Vega-Lite, with its data; `drawing.CONFIG` is added when it is drawn.
    """

    title: str
    words: str
    spec: Record

    @cached_property
    def svg(self) -> Markup:
        """The static picture."""
        return draw(self.spec)


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: in the legend; lines of one name (seeds) share colour and dash.
        points: in the order of x.
        style: number of its colour and dash; None for a thin, unmarked line (a fit).
        part: tells lines of one name apart.
    """

    name: str
    points: Sequence[Point]
    style: int | None
    part: str = ""


@dataclass(frozen=True)
class Axes:
    """Labels and, where charts must be comparable, ranges of both axes."""

    x: str
    y: str
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    size: tuple[int, int] = (NARROW, 230)
    integers: bool = field(default=False)


def interval_chart(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    decimals: int,
    marks: Sequence[float] = (),
    unit: str = "",
) -> Chart | None:
    """A dot with a whisker for each model; None when no row has a value.

    Args:
        title: what is plotted.
        rows: with ``model``, ``value``, ``low`` and ``high``.
        decimals: of the printed numbers.
        marks: values with a vertical line (50 % of a win rate).
        unit: of the values, below the axis.
    """
    import altair as alt

    known = [
        {
            "series": row["model"],
            **{name: row[name] for name in ("value", "low", "high")},
            "text": _interval_text(row, decimals),
        }
        for row in rows
        if row["value"] is not None
    ]
    if not known:
        return None
    x: Record = {"scale": alt.Scale(zero=False, nice=True), "title": unit or None}
    base = alt.Chart().encode(
        y=alt.Y(
            "series:N",
            sort=None,
            title=None,
            axis=alt.Axis(labelColor="var(--ink)", labelFontSize=12, ticks=False),
        ),
        tooltip=[alt.Tooltip("series:N", title="model"), alt.Tooltip("text:N", title=title)],
    )
    accent = alt.value("var(--accent)")
    layers = [
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", **x), x2="high:Q", color=accent),
        base.mark_point(filled=True, size=60, opacity=1).encode(
            x=alt.X("value:Q", **x), color=accent
        ),
    ]
    if marks:
        lines = alt.Chart(alt.InlineData(values=[{"at": mark} for mark in marks]))
        rule = lines.mark_rule(strokeDash=[3, 3]).encode(
            x=alt.X("at:Q", **x), color=alt.value("var(--soft)")
        )
        layers.insert(0, rule)
    words = "; ".join(f"{row['series']} {row['text']}" for row in known)
    return _chart(title, f"{title} by model: {words}.", layers, known, NARROW, 22 * len(known) + 50)


def line_chart(
    title: str, lines: Sequence[Line], axes: Axes, models: Sequence[str] | None = None
) -> Chart | None:
    """Lines with interval bands; None when no line has two points.

    Args:
        title: of the chart.
        lines: points without a value are left out, bounds may be None.
        axes: labels and ranges.
        models: names of the lines that are models, so that hiding a model hides its line.
    """
    rows = [
        {
            "series": line.name,
            "part": f"{line.name} {line.part}",
            "x": x,
            "value": value,
            "low": low,
            "high": high,
            "marked": line.style is not None and not line.part,
            "text": _point_text(value, low, high),
        }
        for line in lines
        for x, value, low, high in line.points
        if value is not None
    ]
    if len(rows) < 2:
        return None
    base, dash = _lines_base(lines, axes)
    line = base.mark_line(strokeWidth=1.6, clip=False)
    layers = [line.encode(y=_y("value", axes), detail="part:N", strokeDash=dash)]
    if any(row["marked"] for row in rows):
        dots = base.transform_filter("datum.marked").mark_point(filled=True, size=28, opacity=1)
        layers.append(dots.encode(y=_y("value", axes)))
    bounded = sum(any(p[2] is not None for p in line.points) for line in lines)
    if 0 < bounded <= MOST_BANDS:
        band = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.14)
        layers.insert(0, band.encode(y=_y("low", axes), y2="high:Q", detail="part:N"))
    words = f"{title}. {axes.y} against {axes.x}. " + " ".join(_line_words(lines))
    return _chart(title, words, layers, rows, *axes.size, hide=models is not None)


def _lines_base(lines: Sequence[Line], axes: Axes) -> tuple[alt.Chart, alt.StrokeDash]:
    """What all layers share, and the dashes, which only lines have."""
    import altair as alt

    styles = {line.name: line.style for line in lines}
    names = list(revealed(list(styles)))
    colours = [
        "var(--soft)" if style is None else f"var(--series-{style % COLOURS})"
        for style in styles.values()
    ]
    dashes = [[2, 3] if style is None else DASHES[style % len(DASHES)] for style in styles.values()]
    scale: Record = {"zero": False, "nice": axes.x_range is None}
    if axes.x_range is not None:
        scale["domain"] = list(axes.x_range)
    legend = alt.Legend(
        title=None,
        orient="bottom",
        symbolType="stroke",
        symbolSize=500,
        symbolStrokeWidth=2,
        symbolOpacity=1,
    )
    ticks: Record = {"tickMinStep": 1} if axes.integers else {}
    base = alt.Chart().encode(
        x=alt.X(
            "x:Q",
            title=axes.x,
            scale=alt.Scale(**scale),
            axis=alt.Axis(format="~s", tickCount=axes.size[0] // 75, **ticks),
        ),
        color=alt.Color(
            "series:N", scale=alt.Scale(domain=names, range=colours), sort=None, legend=legend
        ),
        tooltip=[
            alt.Tooltip("part:N", title="line"),
            alt.Tooltip("x:Q", title=axes.x, format=".4~g"),
            alt.Tooltip("text:N", title=axes.y),
        ],
    )
    return base, alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=dashes))


def _y(name: str, axes: Axes) -> alt.Y:
    import altair as alt

    scale: Record = {"zero": False}
    if axes.y_range is not None:
        scale.update(domain=list(axes.y_range), nice=False)
    return alt.Y(f"{name}:Q", title=axes.y, scale=alt.Scale(**scale))


def _chart(
    title: str,
    words: str,
    layers: Sequence[alt.Chart],
    rows: Sequence[Record],
    width: int,
    height: int,
    hide: bool = True,
) -> Chart:
    import altair as alt

    layered = alt.layer(*layers, data=alt.NamedData("rows")).properties(
        width=width,
        height=height,
        autosize=alt.AutoSizeParams(type="fit", contains="padding"),
    )
    if hide:
        hidden = alt.param(name="hidden", value=[])
        layered = layered.add_params(hidden).transform_filter("indexof(hidden, datum.series) < 0")
    # Validation would cost more than drawing; the specifications of tests are validated.
    spec = layered.to_dict(validate=False)
    spec.pop("config", None)
    # Added last: Altair copies a specification many times.
    spec["datasets"] = {**spec.get("datasets", {}), "rows": list(rows)}
    return Chart(revealed(title), revealed(words), revealed(spec))


def _interval_text(row: Mapping[str, Any], decimals: int) -> str:
    text = f"{row['value']:.{decimals}f}"
    if row["low"] is None or row["high"] is None:
        return f"{text} (no interval)"
    return f"{text} ({row['low']:.{decimals}f} to {row['high']:.{decimals}f})"


def _point_text(value: float, low: float | None, high: float | None) -> str:
    bounds = "" if low is None or high is None else f" ({low:.3g} to {high:.3g})"
    return f"{value:.3g}{bounds}"


def _line_words(lines: Sequence[Line]) -> list[str]:
    """Where each line starts, peaks and ends; the fit says nothing new."""
    said = []
    for line in lines:
        points = [(x, value) for x, value, _, _ in line.points if value is not None]
        if not points or line.style is None:
            continue
        name = f"{line.name} (seed {line.part})" if line.part else line.name
        (_, first), (end, last) = points[0], points[-1]
        top_x, top = max(points, key=lambda point: point[1])
        said.append(
            f"{name}: from {first:.3g} to {last:.3g} at {end:.3g}, "
            f"highest {top:.3g} at {top_x:.3g}."
        )
    return said
