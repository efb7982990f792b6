from __future__ import annotations

from xml.etree import ElementTree

import altair
import pytest

from alignbench.report.charts import Axes, Chart, Line, interval_chart, line_chart
from alignbench.report.drawing import CONFIG, library
from tests.report.test_html import HOSTILE

ROWS = [
    {"model": "a", "value": 20.0, "low": 10.0, "high": 30.0},
    {"model": "b", "value": None, "low": None, "high": None},
    {"model": "c", "value": 95.0, "low": None, "high": None},
]
LINES = [
    Line("gold", [(0, 1.0, 0.5, 1.5), (50, 3.0, 2.0, 4.0), (100, 2.0, None, None)], 0),
    Line("fit", [(0, 1.0, None, None), (100, 2.0, None, None)], None),
]


def intervals() -> Chart:
    chart = interval_chart("Win rate", ROWS, 1, marks=(50.0,))
    assert chart is not None
    return chart


def lines() -> Chart:
    chart = line_chart("ppo", LINES, Axes("budget", "reward", (0, 100), (0, 5)))
    assert chart is not None
    return chart


@pytest.mark.parametrize("chart", [intervals(), lines()])
def test_the_specification_is_valid(chart: Chart) -> None:
    read = altair.Chart.from_dict({**chart.spec, "config": CONFIG}, validate=True)
    assert read.to_dict(validate=True)["layer"]


def test_words_say_every_number_and_what_is_not_known() -> None:
    assert intervals().words == ("Win rate by model: a 20.0 (10.0 to 30.0); c 95.0 (no interval).")
    assert lines().words == (
        "ppo. reward against budget. gold: from 1 to 2 at 100, highest 3 at 50."
    )


def test_nothing_to_show_is_no_chart() -> None:
    assert interval_chart("t", ROWS[1:2], 1) is None
    assert line_chart("t", [Line("a", [(0, 1.0, None, None)], 0)], Axes("x", "y")) is None


def texts(chart: Chart) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(chart.svg).iter("text")]


def test_the_picture_has_axes_legend_and_marks_and_follows_the_theme() -> None:
    assert {"a", "c", "20", "100"} <= set(texts(intervals()))
    assert {"gold", "fit", "budget", "reward", "0", "100"} <= set(texts(lines()))
    svg = str(lines().svg)
    assert "var(--series-0)" in svg
    assert "#" not in svg.replace("&#", "")  # no colour of its own
    assert 'stroke-dasharray="2,3"' in svg


def test_interval_value_and_mark_are_drawn_where_they_are() -> None:
    """On an axis from 10 to 100: the interval 10 to 30, its value 20, the mark 50."""
    tree = ElementTree.fromstring(intervals().svg)
    [axis] = {float(n.get("x2", 0)) for n in tree.iter("line") if float(n.get("x2", 0)) > 150}
    lines = list(tree.iter("line"))
    [whisker] = [n for n in lines if n.get("stroke-width") == "2"]
    assert float(whisker.get("x2", 0)) == pytest.approx(axis * 20 / 90, abs=0.2)
    [mark] = [n for n in lines if n.get("stroke-dasharray")]
    assert moved(mark) == pytest.approx(axis * 40 / 90, abs=0.2)
    dots = [n for n in tree.iter("path") if n.get("fill") == "var(--accent)"]
    assert [moved(dot) for dot in dots] == pytest.approx([axis * 10 / 90, axis * 85 / 90], abs=0.2)


def moved(node: ElementTree.Element) -> float:
    return float(node.get("transform", "").removeprefix("translate(").partition(",")[0])


def test_names_are_shown_and_harmless() -> None:
    rows = [{**row, "model": HOSTILE} for row in ROWS]
    chart = interval_chart(HOSTILE, rows, 1)
    assert chart is not None
    tags = {node.tag for node in ElementTree.fromstring(chart.svg).iter()}
    assert tags <= {"svg", "g", "path", "line", "text", "rect"}
    assert "\u202e" not in str(chart.svg)
    assert "\u202e" not in chart.words


def test_lines_of_models_can_be_hidden() -> None:
    shown = line_chart("t", LINES, Axes("x", "y"), models=["gold"])
    assert shown is not None
    assert any(param["name"] == "hidden" for param in shown.spec["params"])
    assert "params" not in lines().spec


def test_the_library_is_one_script_that_sets_vega_embed() -> None:
    assert "window.vegaEmbed" in library()
    assert len(library()) < 1_000_000
