from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from alignbench.results import load, render_table
from alignbench.results.metrics import METRICS, label
from alignbench.results.render import GROUPS
from tests.finished_run import finished_run

LONG = "a_method_whose_name_is_longer_than_any_terminal_is_wide" * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("run")).folder


@pytest.fixture
def results(folder: Path) -> dict[str, Any]:
    return load(folder / "results.json")


def shown(results: dict[str, Any], width: int, encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    render_table(Console(file=file, width=width, color_system=None), results)
    file.seek(0)
    return file.read().splitlines()


def test_every_metric_is_in_one_group() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(metric.name for metric in METRICS)


def test_metrics_stand_below_the_heading_of_their_group(results: dict[str, Any]) -> None:
    lines = [line.strip() for line in shown(results, 200)]
    places = [lines.index(heading) for heading in GROUPS]
    assert places == sorted(places)
    names = {metric.name: label(metric, results) for metric in METRICS}
    for heading, place in zip(GROUPS, places, strict=True):
        assert lines[place + 1].startswith(names[GROUPS[heading][0]])


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_long_name_cuts_no_number(results: dict[str, Any], width: int, encoding: str) -> None:
    figures = {f"{row['value']:.2f}" for row in results["rows"] if row["metric"] == "reward_gold"}
    renamed = {"ppo": LONG}
    results["models"] = [renamed.get(name, name) for name in results["models"]]
    for row in (*results["rows"], *results["targets"]):
        row["model"] = renamed.get(row["model"], row["model"])
    lines = shown(results, width, encoding)
    assert max(len(line) for line in lines) <= width
    assert all(any(figure in line for line in lines) for figure in figures)
    assert any("a_method" in line and ("…" in line or "." in line) for line in lines)


def test_the_best_is_marked_by_a_sign(results: dict[str, Any]) -> None:
    results["statistics"]["best"]["reward_gold"] = "ppo"
    (line,) = (line for line in shown(results, 200) if "Reward, gold (1-10)" in line)
    assert line.count("*") == 1
