"""People's part of results.json: `results.human` and `results.annotators`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignbench.files import read_jsonl, write_jsonl
from alignbench.judges.base import FIRST, SECOND, TIE
from alignbench.report.human import sentences, tables
from alignbench.results import load
from alignbench.results.annotators import Told, agreement, screen
from alignbench.stages.results import run
from tests.fake_run import FakeRun

SMALL = {"base": -1.5, "sft": 0.0, "sft_copy": 0.0, "ppo": 1.5}


def label(number: int, preference: float, annotator: str | None, **more: Any) -> dict[str, Any]:
    unknown = dict.fromkeys(("prompt", "response", "other", "ratings", "expected"))
    return {
        **unknown,
        "prompt_id": f"p{number}",
        "model": "ppo",
        "against": "sft",
        "preference": preference,
        "annotator": annotator,
        "seed": 0,
        "against_seed": 0,
        "sample": 0,
        **more,
    }


def gold(number: int, preference: float, annotator: str) -> dict[str, Any]:
    rows = {"model": "known_better", "against": "known_worse", "expected": FIRST}
    return label(number, preference, annotator, **rows)


def human(
    tmp_path: Path,
    lines: list[dict[str, Any]],
    change: Callable[[FakeRun], Any] = lambda fake: None,
) -> dict[str, Any]:
    fake = FakeRun(tmp_path / "in", SMALL)
    change(fake)
    write_jsonl(fake.folder("human") / "labels.jsonl", lines)
    run(fake.context(tmp_path / "out"))
    return load(tmp_path / "out" / "results.json")["human"]  # type: ignore[no-any-return]


def test_screening_counts_gold_and_leaves_out_who_fails_it() -> None:
    lines = [label(0, FIRST, None), label(0, TIE, "few"), gold(0, SECOND, "few")]
    for name, right in (("three", 3), ("two", 2)):
        lines += [gold(n, FIRST if n < right else TIE, name) for n in range(4)]
        lines.append(label(0, FIRST, name))
    few, three, two = screen(lines)
    # One wrong answer to the only gold question is no evidence yet.
    assert few.record() == {"name": "few", "answers": 1, "gold": 1, "right": 0, "excluded": False}
    assert (three.gold, three.right, three.excluded) == (4, 3, False)
    assert (two.gold, two.right, two.excluded) == (4, 2, True)


def test_win_rates_average_annotators_then_items_then_prompts(tmp_path: Path) -> None:
    lines = [label(0, FIRST, "a"), label(0, SECOND, "b"), label(0, FIRST, "c", sample=1)]
    lines += [label(n, TIE, "a") for n in (1, 2)]
    lines += [gold(n, SECOND, "out") for n in range(4)] + [label(5, SECOND, "out")]
    found = human(tmp_path, lines)
    [wins] = found["win_rates"]
    # p0: (50 + 100) / 2; p1 and p2: 50.
    assert wins["value"] == pytest.approx((75 + 50 + 50) / 3)
    assert (wins["n"], wins["labels"], wins["seeds"]) == (3, 5, [0])
    assert wins["low"] < wins["value"] < wins["high"]
    assert found["unused"] == 0
    assert [who["excluded"] for who in found["annotators"]] == [False, False, False, True]
    # Whoever is left out corrects no judge either.
    assert sum(row["labelled"] for row in found["rows"]) == 4


def test_lines_are_in_the_order_of_the_table_and_bounds_stay_on_the_scale(tmp_path: Path) -> None:
    lines = [label(n, n % 2 + FIRST, "a") for n in range(3)]
    lines += [label(n, n % 2 + FIRST, "a", model="base", against="sft") for n in range(3)]
    found = human(tmp_path, lines)
    assert [line["model"] for line in found["win_rates"]] == ["base", "ppo"]
    for line in found["rows"]:
        # Student's t for two or three prompts would say -77 to 210 %.
        assert 0 <= line["people"]["low"] <= line["people"]["high"] <= 100


def test_rows_with_each_other_count_though_no_judge_compared_them(tmp_path: Path) -> None:
    lines = [label(n, FIRST, "a", against="ppo", against_seed=1) for n in range(6)] + [
        label(0, FIRST, "a", against="ppo")
    ]  # an answer with itself
    found = human(tmp_path, lines)
    [wins] = found["win_rates"]
    assert (wins["against"], wins["value"], wins["high"]) == ("ppo", 100.0, 100.0)
    assert 40 < wins["low"] < 60  # Clopper-Pearson, 6 of 6: 0.025 ** (1 / 6) = 54 %
    assert (found["labels"], found["unused"], found["rows"]) == (0, 1, [])
    assert found["judge_agreement"]["value"] is None


def test_nameless_labels_of_pairs_that_no_judge_compared_are_not_lost(tmp_path: Path) -> None:
    lines = [label(n, FIRST, None, against="ppo", against_seed=1) for n in range(6)]
    found = human(tmp_path, lines)
    assert (found["labels"], found["unused"], found["annotators"]) == (0, 0, [])
    [wins] = found["win_rates"]
    assert (wins["against"], wins["labels"], wins["value"]) == ("ppo", 6, 100.0)


def test_a_and_b_are_the_comparison_of_b_and_a(tmp_path: Path) -> None:
    ppo, sft = {"helpful": 9}, {"helpful": 2}
    one_way = {"ratings": {"response": ppo, "other": sft}}
    turned = {"model": "sft", "against": "ppo", "ratings": {"response": sft, "other": ppo}}
    lines = [label(n, FIRST, "a", **one_way) for n in range(4)]
    lines += [label(n, SECOND if n else FIRST, "b", **turned) for n in range(4)]
    found = human(tmp_path, lines)
    [wins] = found["win_rates"]
    assert (wins["model"], wins["against"], wins["labels"], wins["n"]) == ("ppo", "sft", 8, 4)
    assert wins["value"] == pytest.approx((50 + 3 * 100) / 4)
    [pair] = found["agreement"]["kappas"]
    assert (found["agreement"]["items"], pair["items"], pair["equal"]) == (4, 4, 75.0)
    ratings = {line["model"]: line["helpful"]["value"] for line in found["ratings"]}
    assert ratings == {"sft": 2.0, "ppo": 9.0}
    [row] = found["rows"]
    assert (row["model"], row["against"], row["labelled"]) == ("ppo", "sft", 4)
    assert row["people"]["value"] == wins["value"]


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"model": "sft", "against": "base"}, ("base", "sft", 0.0)),
        ({"model": "base", "against": "ppo"}, ("ppo", "base", 0.0)),
        ({"model": "ppo", "against": "base"}, ("ppo", "base", 100.0)),
        ({"model": "sft_copy", "against": "ppo"}, ("sft_copy", "ppo", 100.0)),
        ({"seed": 1, "against": "ppo"}, ("ppo", "ppo", 0.0)),
    ],
)
def test_the_reference_and_what_the_judge_was_asked_about_come_second(
    tmp_path: Path, told: dict[str, Any], line: tuple[str, str, float]
) -> None:
    found = human(tmp_path, [label(n, FIRST, "a", **told) for n in range(3)])
    [wins] = found["win_rates"]
    assert (wins["model"], wins["against"], wins["value"]) == line
    judged = [(row["model"], row["against"], row["people"]["value"]) for row in found["rows"]]
    assert judged == ([line] if line[1] in ("base", "sft") else [])


def test_a_pair_that_was_judged_the_other_way_round_corrects_the_judge(tmp_path: Path) -> None:
    def one_way(fake: FakeRun) -> None:
        path = fake.inputs["judge/base/0"] / "verdicts.jsonl"
        write_jsonl(path, [line for line in read_jsonl(path) if line["against"] != "sft"])

    lines = [label(n, FIRST, "a", model="base", against="sft") for n in range(3)]
    [row] = human(tmp_path, lines, one_way)["rows"]
    assert (row["model"], row["against"], row["people"]["value"]) == ("sft", "base", 0.0)


def test_ratings_are_means_of_each_row_and_unknown_spread_is_unknown(tmp_path: Path) -> None:
    rated = [{"response": {"helpful": r, "honest": 7}, "other": {"helpful": 2}} for r in (4, 8)]
    lines = [label(n % 2, FIRST, "ab"[n // 2], ratings=rated[n % 2]) for n in range(4)]
    found = human(tmp_path, lines)
    sft, ppo = found["ratings"]
    assert (sft["model"], ppo["model"]) == ("sft", "ppo")
    assert ppo["helpful"]["value"] == 6.0
    assert ppo["helpful"]["low"] >= 1
    assert (ppo["honest"]["value"], ppo["honest"]["low"]) == (7.0, None)
    assert ppo["harmless"]["value"] is None
    assert (sft["helpful"]["value"], sft["helpful"]["n"]) == (2.0, 2)
    shown = tables(found, 0.95)[1].rows
    assert shown[0] == ["sft", "2.00 (–)", "– (–)", "– (–)"]


def test_judge_and_people_are_compared_on_what_both_saw(tmp_path: Path) -> None:
    # PPO is better by the rule nearly always; people say so of half the prompts.
    lines = [label(n, FIRST if n % 2 else SECOND, "a") for n in range(40)]
    found = human(tmp_path, lines)["judge_agreement"]
    assert found["pairs"] == 40
    assert 40 <= found["value"] <= 60
    assert found["low"] < found["value"] < found["high"]
    assert abs(found["kappa"]) < 0.2


def told(prompt: int, preference: float, annotator: str | None, rating: int = 5) -> Told:
    key = (f"p{prompt}", 0)
    ratings = {"response": {"helpful": rating}}
    return Told(annotator, ("ppo", 0, *key), ("sft", 0, *key), preference, ratings)


def test_agreement_by_hand() -> None:
    # Two annotators, four items: they agree on three. Shares a: 2/4, 2/4; b: 3/4, 1/4.
    choices = [(FIRST, FIRST), (FIRST, FIRST), (SECOND, SECOND), (SECOND, FIRST)]
    lines = [
        told(n, choice, name, 3 + n)
        for n, pair in enumerate(choices)
        for name, choice in zip("ab", pair, strict=True)
    ]
    found = agreement([*lines, told(9, FIRST, "a"), told(0, SECOND, None)])
    assert found["items"] == 4
    [pair] = found["kappas"]
    assert (pair["items"], pair["equal"]) == (4, 75.0)
    # expected 1/2 * 3/4 + 1/2 * 1/4 = 1/2, so (3/4 - 1/2) / (1 - 1/2)
    assert pair["kappa"] == pytest.approx(0.5)
    # Of 8 choices 5 are FIRST, 3 SECOND: D_e = 2 * 5 * 3 / (8 * 7), D_o = 2 / 8.
    assert found["choice"]["nominal"] == pytest.approx(1 - (1 / 4) / (30 / 56))
    assert found["ratings"]["helpful"] == {"ordinal": 1.0, "interval": 1.0}
    assert found["ratings"]["honest"] == {"ordinal": None, "interval": None}


def test_one_annotator_agrees_with_nobody() -> None:
    found = agreement([told(0, FIRST, "a"), told(1, TIE, "a")])
    assert (found["items"], found["kappas"]) == (0, [])
    assert found["choice"] == {"nominal": None, "ordinal": None}


def test_old_results_have_no_tables(tmp_path: Path) -> None:
    old = {"labels": 3, "unused": 0, "rows": []}
    assert tables(old, 0.95) == []
    assert sentences(old) == []
    found = human(tmp_path, [label(n, FIRST, None) for n in range(3)])
    assert [table.headers[0] for table in tables(found, 0.95)] == ["Row"]
