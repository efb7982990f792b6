from __future__ import annotations

import pytest

from alignbench.report.plots import LABEL, PLOT, curve_plot, interval_plot, nice_ticks
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
