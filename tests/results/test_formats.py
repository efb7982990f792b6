"""Markdown, CSV and JSON of a run: nothing that matters is lost on the way."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from alignbench.results.formats import CSV_COLUMNS, FORMATS
from alignbench.results.schema import load
from alignbench.stages import results as stage
from tests.fake_run import FakeRun

Record = dict[str, Any]
EFFECTS = {"base": -1.0, "sft": 0.0, "ppo": 2.0, "dpo": 0.3}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Record:
    root = tmp_path_factory.mktemp("formats")
    stage.run(FakeRun(root / "stages", EFFECTS, seeds=3, prompts=20).context(root / "out"))
    found = load(root / "out" / "results.json")
    found["flags"] = [
        {"level": "warning", "message": "looked at"},
        {"level": "error", "message": "Sentinel: a scorer failed"},
    ]
    return found


def cell(results: Record, model: str, metric: str) -> Record:
    return next(r for r in results["rows"] if (r["model"], r["metric"]) == (model, metric))


def lines(results: Record) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(FORMATS["csv"](results))))


def test_every_format_carries_judge_flags_and_intervals(results: Record) -> None:
    gold = cell(results, "ppo", "reward_gold")
    for form, make in FORMATS.items():
        text = make(results).replace("\\(", "(").replace("\\)", ")").replace("\\[", "[")
        assert results["judge"]["name"] in text, form
        assert "Sentinel: a scorer failed" in text, form
        assert f"{gold['value']:.2f}" in text, form
        assert text.endswith("\n"), form
        half = f"{(gold['high'] - gold['low']) / 2:.2f}"
        assert half in text if form == "latex" else f"{gold['low']:.2f}" in text, form


def test_csv_lines_stand_for_themselves(results: Record) -> None:
    found = lines(results)
    assert tuple(found[0]) == CSV_COLUMNS
    assert len(found) == len(results["rows"])
    gold = next(r for r in found if (r["model"], r["metric"]) == ("ppo", "reward_gold"))
    assert float(gold["low"]) < float(gold["value"]) < float(gold["high"])
    assert (gold["best"], gold["simulated"], gold["confidence"]) == ("true", "true", "0.95")
    assert gold["flags"].startswith("error: Sentinel")
    assert gold["better"] == "higher"
    proxy = next(r for r in found if r["metric"] == "reward_proxy")
    assert proxy["simulated"] == "false"
    unknown = next(r for r in found if (r["model"], r["metric"]) == ("sft", "win_rate_vs_sft"))
    assert (unknown["value"], unknown["low"]) == ("", "")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t="])
def test_spreadsheets_compute_nothing(results: Record, start: str) -> None:
    name = f"{start}HYPERLINK(1)"
    found = lines({**results, "judge": {**results["judge"], "name": name}})
    assert found[0]["judge"] == f"'{name.strip()}"
    assert float(found[0]["value"]) > 0  # numbers stay numbers


def test_a_negative_number_stays_a_number(results: Record) -> None:
    rows = [{**results["rows"][0], "value": -1.5, "low": -2.0, "high": -1.0}]
    (found,) = lines({**results, "rows": rows})
    assert float(found["low"]) == -2.0


def test_markdown_marks_the_best_and_what_is_simulated(results: Record) -> None:
    text = FORMATS["md"](results)
    gold = next(line for line in text.splitlines() if line.startswith("| Reward, gold \\(1-10\\)"))
    value = cell(results, "ppo", "reward_gold")
    assert f"**{value['value']:.2f}** \\[{value['low']:.2f}, {value['high']:.2f}\\]" in gold
    assert gold.count("**") == 2
    assert "*sim*" in gold
    assert "12.0 \\[–\\]" in text  # of a length without an interval
    assert text.index("**Error.** Sentinel") < text.index("**Warning.** looked")
    assert "alignbench run recipes/fake.yaml" in text


def test_markdown_renders_hostile_texts_as_text(results: Record) -> None:
    hostile = "<script>alert(1)</script> [x](javascript:1) | **b** `c` @me\n# h \u202e"
    record = {
        **results,
        "recipe": {**results["recipe"], "name": hostile},
        "judge": {**results["judge"], "name": hostile},
        "verdict": [hostile],
        "flags": [{"level": "error", "message": hostile}],
        "notes": [{"kind": hostile, "message": hostile}],
    }
    text, _, code = FORMATS["md"](record).partition("```sh\n")
    assert code.count("\n```") == 1  # in a fenced block all is text, and only its end ends it
    assert "<script" not in text
    assert "](javascript" not in text
    assert "\u202e" not in text
    assert "\n# h" not in text
    assert text.count("\n# ") == 0


def test_json_is_all_of_the_results(results: Record) -> None:
    text = FORMATS["json"](results)
    assert json.loads(text) == results
    assert text.isascii()
