from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignbench.errors import UserError
from alignbench.files import read_jsonl, write_jsonl
from alignbench.results import load
from alignbench.stages.results import run
from tests.fake_run import FakeRun

EFFECTS = {"base": -1.5, "sft": 0.0, "sft_copy": 0.0, "ppo": 1.5, "dpo": 1.2, "kto": 0.2}
MODELS = ["base", "sft", "ppo", "dpo", "kto"]


def finish(fake: FakeRun, out: Path) -> dict[str, Any]:
    run(fake.context(out))
    return load(out / "results.json")


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> FakeRun:
    made = FakeRun(tmp_path_factory.mktemp("stages"), EFFECTS, seeds=3)
    made.match()
    return made


@pytest.fixture(scope="module")
def results(fake: FakeRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return finish(fake, tmp_path_factory.mktemp("out"))


def win(results: dict[str, Any], row: str, other: str) -> Any:
    return results["pairwise"]["wins"][MODELS.index(row)][MODELS.index(other)]


def test_every_row_against_every_other_but_no_sentinel(
    fake: FakeRun, results: dict[str, Any]
) -> None:
    pairwise = results["pairwise"]
    assert pairwise["models"] == MODELS
    assert pairwise["judge"] == results["judge"]["name"]
    assert pairwise["problems"] == []
    wins = np.mean([fake.scores["ppo", s] > fake.scores["dpo", s] for s in range(3)])
    cell = win(results, "ppo", "dpo")
    assert cell["value"] == pytest.approx(100 * wins)
    assert cell["low"] < cell["value"] < cell["high"]
    assert cell["n"] == 40
    for i, row in enumerate(MODELS):
        assert win(results, row, row) is None
        for other in MODELS[:i]:
            one, back = win(results, row, other), win(results, other, row)
            assert back["value"] == pytest.approx(100 - one["value"])
            assert (back["low"], back["high"]) == pytest.approx(
                (100 - one["high"], 100 - one["low"])
            )


def test_cells_of_the_table_are_those_of_the_table(results: dict[str, Any]) -> None:
    table = {(r["model"], r["metric"]): r for r in results["rows"]}
    for row in ("ppo", "dpo", "kto"):
        shown, cell = table[row, "win_rate_vs_sft"], win(results, row, "sft")
        assert [cell[n] for n in ("value", "low", "high")] == [
            shown[n] for n in ("value", "low", "high")
        ]
        assert cell["n"] == shown["n_prompts"]


def test_a_win_rate_of_all_has_the_binomial_bounds(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path / "in", {"base": -1, "sft": 0, "sft_copy": 0, "ppo": 0, "dpo": 5})
    fake.match()
    for lines in (fake.inputs["matches"] / "verdicts" / "ppo-dpo.jsonl",):
        write_jsonl(lines, [{**line, "ab": 2.0, "ba": 1.0} for line in read_jsonl(lines)])
    results = finish(fake, tmp_path / "out")
    wins, models = results["pairwise"]["wins"], results["pairwise"]["models"]
    cell = wins[models.index("dpo")][models.index("ppo")]
    # 40 prompts, whatever the number of samples and seeds.
    assert (cell["value"], cell["high"], cell["n"]) == (100.0, 100.0, 40)
    assert cell["low"] == pytest.approx(100 * 0.025 ** (1 / 40))


def test_strengths_order_the_rows_by_what_they_are(results: dict[str, Any]) -> None:
    strengths = {line["model"]: line for line in results["pairwise"]["strengths"]}
    values = [strengths[row]["value"] for row in ("base", "sft", "kto", "dpo", "ppo")]
    assert values == sorted(values)
    assert sum(values) == pytest.approx(0, abs=1e-6)
    assert {line["component"] for line in strengths.values()} == {0}
    for line in strengths.values():
        assert line["low"] < line["value"] < line["high"]
        assert line["elo"] == pytest.approx(1000 + 400 / np.log(10) * line["value"])


def test_without_matches_methods_are_ordered_by_common_opponents_and_it_is_said(
    tmp_path: Path, results: dict[str, Any]
) -> None:
    found = finish(FakeRun(tmp_path / "in", EFFECTS, seeds=3), tmp_path / "out")
    assert win(found, "ppo", "dpo") is None
    assert win(found, "ppo", "sft") == win(results, "ppo", "sft")
    assert found["pairwise"]["problems"] == [
        "the judge was not asked to compare the methods with each other"
    ]
    strengths = {line["model"]: line["value"] for line in found["pairwise"]["strengths"]}
    assert strengths["ppo"] > strengths["kto"] > strengths["base"]
    # What must agree to share a table does not know of the matches.
    assert found["certificate"] == results["certificate"]


def test_unanswered_and_contradictory_verdicts(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path / "in", EFFECTS, seeds=1, prompts=4, samples=1)
    fake.match()
    path = fake.inputs["matches"] / "verdicts" / "ppo-dpo.jsonl"
    # p0: unanswered in one order; p1: first in both orders, a tie; p2 and p3 won.
    orders = [(1.0, None), (1.0, 1.0), (1.0, 2.0), (1.0, 2.0)]
    lines = [
        {**line, "ab": ab, "ba": ba}
        for line, (ab, ba) in zip(read_jsonl(path), orders, strict=True)
    ]
    write_jsonl(path, lines)
    results = finish(fake, tmp_path / "out")
    cell = win(results, "ppo", "dpo")
    assert cell["value"] == pytest.approx(100 * 2.5 / 3)
    assert cell["n"] == 3


def test_no_verdict_at_all_is_no_record(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path / "in", EFFECTS, seeds=1, prompts=3)
    for name, folder in fake.inputs.items():
        if name.startswith("judge/"):
            path = folder / "verdicts.jsonl"
            write_jsonl(path, [{**line, "preference": None} for line in read_jsonl(path)])
    assert finish(fake, tmp_path / "out")["pairwise"] is None


def test_the_matches_are_on_the_bill_and_their_judge_is_checked(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path / "in", EFFECTS, seeds=1, prompts=3)
    plain = finish(fake, tmp_path / "plain")
    fake.match()
    path = fake.inputs["matches"] / "judge.json"
    who = json.loads(path.read_text())
    who["bill"] |= {"questions": 18, "unanswered": 2, "prompt_tokens": 7}
    path.write_text(json.dumps({**who, "served": ["m-2026"]}))
    results = finish(fake, tmp_path / "out")
    bill, before = results["judge"]["bill"], plain["judge"]["bill"]
    assert bill["questions"] == before["questions"] + 18
    assert bill["unanswered"] == before["unanswered"] + 2
    assert (bill["prompt_tokens"], bill["cost"]) == (7, None)
    # Served by another model than the rows: said, and no part of the certificate.
    problem, *_ = results["pairwise"]["problems"]  # others: base lost everything
    assert "served by m-2026, those with base and sft by a server that did not say" in problem
    assert results["certificate"] == plain["certificate"]
    path.write_text(json.dumps({**who, "identity": {"kind": "openai"}}))
    with pytest.raises(UserError, match="matches was judged by"):
        finish(fake, tmp_path / "other")
