from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from alignbench.judges.audit import JudgedPair, audit
from alignbench.report.html import render_report
from alignbench.report.judge import FIGURES, judge_section
from alignbench.stages.results import run
from tests.fake_run import EFFECTS, FakeRun
from tests.report.test_html import HOSTILE, Page

FIGURE = {"value": 61.25, "low": 55.0, "high": 67.5, "n": 40}
UNKNOWN = {"value": None, "low": None, "high": None, "n": 0}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("run")
    run(FakeRun(root / "stages", EFFECTS).context(root / "out"))
    return json.loads((root / "out" / "results.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture
def results(bare: dict[str, Any]) -> dict[str, Any]:
    pairs = [JudgedPair(f"p{i}", 1, 2 - (i % 4 == 0), 9, 5 + i % 7, 1 + i % 2) for i in range(24)]
    figures = audit(pairs, [("p0", 1.0, 1.0), ("p1", 1.0, 2.0)], 200, 0.95)
    given = {
        "judge": {
            "name": "m (OpenAI-compatible server, json)",
            "identity": {"kind": "openai", "model": "m"},
            "simulated": False,
            "gold_simulated": True,
            "deterministic": False,
            "refusals_by": "string-rule-1",
            "bill": {
                "questions": 1234,
                "unanswered": 5,
                "prompt_tokens": 99_000,
                "completion_tokens": 7,
                "cost": None,
            },
        },
        "judge_audit": {**figures, "truth": ["people"], "ratings": {"honest": FIGURE}},
        "human": {
            "labels": 31,
            "unused": 2,
            "rows": [
                {"model": "dpo", "seed": 1, "against": "sft", "labelled": 31, "kappa": None}
                | {"judge": UNKNOWN, "people": FIGURE, "corrected": FIGURE}
            ],
        },
    }
    return {**copy.deepcopy(bare), **given}


def test_every_figure_is_shown_with_its_interval_and_what_it_means(results: dict[str, Any]) -> None:
    page = Page(render_report(results, None)).text
    for _, label, meaning in FIGURES:
        assert label in page
        assert meaning in page
    found = results["judge_audit"]["agrees"]
    assert f"{found['value']:.1f} %" in page
    assert f"{found['low']:.1f} to {found['high']:.1f}" in page
    assert "questions: 1,234" in page
    assert "cost" not in page.partition("What the questions took")[2].partition("\n")[0]
    assert "string-rule-1" in page
    assert "31 pairs labelled by people (2 further labels fit no two answers of this run)" in page
    assert "Ranks honest as the exact rule does" in page


def test_unknown_figures_are_dashes(results: dict[str, Any]) -> None:
    shown = results
    shown["judge_audit"] = {**shown["judge_audit"], "self_agrees": UNKNOWN}
    section = judge_section(shown)
    assert section is not None
    [line] = [line for line in section["figures"] if line["label"].startswith("Says the same")]
    assert (line["value"], line["bounds"], line["n"]) == ("–", "–", "–")
    assert section["human"]["rows"][0]["kappa"] == "–"


def test_results_without_an_audit_have_no_section(results: dict[str, Any]) -> None:
    old = results
    del old["judge_audit"]
    assert judge_section(old) is None
    assert "Audit of the judge" not in render_report(old, None)


def test_hostile_names_are_inert(results: dict[str, Any]) -> None:
    shown = results
    shown["judge"] = {**shown["judge"], "name": HOSTILE, "refusals_by": HOSTILE}
    shown["judge_audit"] = {**shown["judge_audit"], "truth": [HOSTILE]}
    shown["human"]["rows"][0]["model"] = HOSTILE
    page = Page(render_report(shown, None))
    assert "img" not in {tag for tag, _ in page.tags}
