from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from alignbench.report.plots import (
    LABEL,
    PLOT,
    band_plot,
    compact,
    curve_plot,
    interval_plot,
    nice_ticks,
)
from alignbench.report.reveal import reveal


def test_ticks_are_round_and_span() -> None:
    assert nice_ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert nice_ticks(3.2, 7.1) == [3, 4, 5, 6, 7, 8]
    assert nice_ticks(0.041, 0.043) == pytest.approx([0.041, 0.0415, 0.042, 0.0425, 0.043])
    assert nice_ticks(5, 5)[0] <= 5 <= nice_ticks(5, 5)[-1]


def test_interval_plot_places_values_on_the_axis() -> None:
    rows = [
        {"model": "a", "value": 20.0, "low": 0.0, "high": 40.0},
        {"model": "b", "value": None, "low": None, "high": None},
        {"model": "c", "value": 100.0, "low": None, "high": None},
    ]
    plot = interval_plot(rows, "Title", 1, marks=(50.0,))
    assert plot is not None
    first, last = plot["rows"]
    assert (first["low"], first["x"], first["high"]) == (
        LABEL,
        LABEL + PLOT * 0.2,
        LABEL + PLOT * 0.4,
    )
    assert (last["model"], last["x"], last["low"]) == ("c", LABEL + PLOT, None)
    assert plot["marks"] == [LABEL + PLOT * 0.5]
    assert interval_plot(rows[1:2], "Title", 1) is None


def test_curve_plot_spans_its_box() -> None:
    plot = curve_plot("kl", {"0": [(0, 1.0), (10, 3.0)], "1": [(5, 2.0)]})
    assert plot is not None
    assert (plot["low"], plot["high"], plot["last"]) == ("1", "3", "step 10")
    start, end = (tuple(map(float, p.split(","))) for p in plot["lines"][0]["points"].split())
    [middle] = (tuple(map(float, p.split(","))) for p in plot["lines"][1]["points"].split())
    assert middle == pytest.approx(((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), abs=0.1)
    assert start[0] == plot["left"]
    assert start[1] > end[1]  # SVG's y points down
    assert curve_plot("kl", {}) is None


def test_reveal() -> None:
    assert reveal("plain é 漢 🙂\n\ttext") == "plain é 漢 🙂\n\ttext"
    assert reveal("a\u202eb\u2066c\u200d\ufeff\x1b\x7f\u2028") == (
        "a⟦U+202E⟧b⟦U+2066⟧c⟦U+200D⟧⟦U+FEFF⟧⟦U+001B⟧⟦U+007F⟧⟦U+2028⟧"
    )
    assert reveal("\U000e0041") == "⟦U+E0041⟧"


def test_band_plot_places_points_on_both_axes() -> None:
    points = [(0.0, 1.0, 0.5, 1.5), (50.0, 2.0, 1.0, 3.0), (100.0, 3.0, None, None)]
    lines = [{"name": "gold", "style": 0, "points": points}]
    plot = band_plot("ppo", lines, "% of the budget", (0, 100), (0, 4))
    [line] = plot["lines"]
    left, middle, right = line["dots"]
    assert (left["x"], right["x"]) == (plot["left"], plot["right"])
    assert middle["x"] == pytest.approx((left["x"] + right["x"]) / 2, abs=0.1)
    # A value of 1 of 0 to 4 is a quarter of the way up; SVG's y points down.
    assert left["y"] == pytest.approx(plot["bottom"] - (plot["bottom"] - plot["top"]) / 4, abs=0.1)
    # The band goes along the upper bounds and back along the lower; the last point has none.
    [band] = line["bands"]
    corners = [tuple(map(float, corner.split(","))) for corner in band.split()]
    assert [x for x, _ in corners] == [left["x"], middle["x"], middle["x"], left["x"]]
    assert corners[0][1] < left["y"] < corners[3][1]
    assert [tick["text"] for tick in plot["x_ticks"]] == ["0", "50", "100"]
    assert middle["text"] == "2.00 [1.00, 3.00] at 50"


def test_band_plot_keeps_to_its_range_and_leaves_out_unknown_values() -> None:
    lines: list[dict[str, Any]] = [
        {"name": "a", "style": 0, "points": [(0.0, None, None, None), (1.03, 5.0, None, None)]},
        {"name": "b", "style": 1, "points": [(0.0, None, None, None)]},
    ]
    plot = band_plot("t", lines, "x", (0, 1.03), (5.0, 5.0))
    assert [line["name"] for line in plot["lines"]] == ["a"]
    assert plot["lines"][0]["dots"][0]["x"] == plot["right"]
    assert all(plot["left"] <= tick["at"] <= plot["right"] for tick in plot["x_ticks"])
    assert all(plot["top"] <= tick["at"] <= plot["bottom"] for tick in plot["y_ticks"])


def test_labels_of_lines_that_end_together_do_not_overlap() -> None:
    lines = [
        {"name": str(i), "style": i, "points": [(0.0, 0.0, None, None), (1.0, 1.0, None, None)]}
        for i in range(4)
    ]
    labels = sorted(line["label"] for line in band_plot("t", lines, "x", (0, 1), (0, 2))["lines"])
    assert all(b - a >= 11 for a, b in pairwise(labels))


def test_compact() -> None:
    assert [compact(v) for v in (0.25, 40, 1500, 2e6, 3.5e9, 3e13, 0)] == [
        "0.25",
        "40",
        "1.5k",
        "2M",
        "3.5G",
        "3e+13",
        "0",
    ]
