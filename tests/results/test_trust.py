from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignbench.errors import UserError
from alignbench.files import read_jsonl, write_jsonl
from alignbench.results import load
from alignbench.results.conclusions import Question
from alignbench.results.estimates import Estimates
from alignbench.results.findings import verdict
from alignbench.results.observations import Row
from alignbench.results.sentinels import sentinel_flags
from alignbench.results.trust import judge_record
from alignbench.stages.results import run
from tests.fake_run import FakeRun

SMALL = {"base": -1.5, "sft": 0.0, "sft_copy": 0.0, "ppo": 1.5}


def finish(fake: FakeRun, out: Path) -> dict[str, Any]:
    run(fake.context(out))
    return load(out / "results.json")


def rewrite(path: Path, **change: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


@pytest.fixture
def fake(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path / "in", SMALL)


def by_a_model(fake: FakeRun) -> None:
    for name, folder in fake.inputs.items():
        if name.startswith("judge/"):
            rewrite(
                folder / "judge.json",
                name="m (openai)",
                identity={"kind": "openai", "model": "m"},
                simulated=False,
                deterministic=False,
            )


def test_the_exact_rule_agrees_with_itself(fake: FakeRun, tmp_path: Path) -> None:
    results = finish(fake, tmp_path / "out")
    audit = results["judge_audit"]
    # base 80 and sft 80 against each other, sft_copy 160, and 2 seeds of ppo with 160 each.
    assert audit["pairs"] == 640
    assert audit["truth"] == ["the exact rule"]
    assert audit["agrees"]["value"] == 100.0
    assert audit["inconsistent"]["value"] == 0.0
    assert results["judge"]["gold_simulated"] is True
    # One bill for all five rows and seeds; a price that one does not know nobody knows.
    assert results["judge"]["bill"]["questions"] == 5 * 9
    assert results["judge"]["bill"]["cost"] is None
    assert "ratings" not in audit  # the rule is what it would be compared with


def test_a_model_is_measured_against_the_rule(fake: FakeRun, tmp_path: Path) -> None:
    by_a_model(fake)
    path = fake.inputs["judge/ppo/0"] / "verdicts.jsonl"
    # Wrong on every pair of one of five rows: 160 of 640.
    write_jsonl(
        path,
        [{**line, "preference": 3 - line["preference"]} for line in read_jsonl(path)],
    )
    results = finish(fake, tmp_path / "out")
    assert results["judge_audit"]["agrees"]["value"] == pytest.approx(75, abs=0.1)
    # Ratings are those of the rule: the same order.
    assert results["judge_audit"]["ratings"]["helpful"]["value"] == pytest.approx(1.0)
    assert any("the sandbox's exact rule" in line for line in results["verdict"])


def test_a_judge_no_better_than_trivial_ones_is_flagged(fake: FakeRun, tmp_path: Path) -> None:
    by_a_model(fake)
    random = np.random.default_rng(0)
    for name, folder in fake.inputs.items():
        if name.startswith("judge/"):
            lines = read_jsonl(folder / "verdicts.jsonl")
            for ab, ba in zip(lines[::2], lines[1::2], strict=True):
                ab["preference"] = float(random.integers(1, 3))
                ba["preference"] = 3 - ab["preference"]
            write_jsonl(folder / "verdicts.jsonl", lines)
    flags = finish(fake, tmp_path / "out")["flags"]
    [flag] = [flag for flag in flags if "not evidence" in flag["message"]]
    assert flag["level"] == "error"


def test_a_judge_that_always_takes_the_first_is_flagged(fake: FakeRun, tmp_path: Path) -> None:
    by_a_model(fake)
    for name, folder in fake.inputs.items():
        if name.startswith("judge/"):
            lines = read_jsonl(folder / "verdicts.jsonl")
            write_jsonl(folder / "verdicts.jsonl", [{**line, "preference": 1.0} for line in lines])
    results = finish(fake, tmp_path / "out")
    agrees = results["judge_audit"]["agrees"]
    assert (agrees["value"], agrees["low"]) == (50.0, None)  # ties, all of them
    [flag] = [flag for flag in results["flags"] if "not evidence" in flag["message"]]
    assert flag["level"] == "error"


def test_repeats_tell_whether_the_judge_agrees_with_itself(fake: FakeRun, tmp_path: Path) -> None:
    by_a_model(fake)
    folder = fake.inputs["judge/sft/0"]
    first = read_jsonl(folder / "verdicts.jsonl")[::2][:4]
    again = [{**line, "repeat": 1} for line in first]
    again[0]["preference"] = 3 - again[0]["preference"]
    write_jsonl(folder / "repeats.jsonl", again)
    figure = finish(fake, tmp_path / "out")["judge_audit"]["self_agrees"]
    assert (figure["value"], figure["n"]) == (75.0, 4)


def test_rows_by_different_judges_share_no_table(fake: FakeRun) -> None:
    rewrite(fake.inputs["judge/ppo/1"] / "judge.json", identity={"kind": "openai", "model": "n"})
    with pytest.raises(UserError, match="judge/ppo/1 was judged by"):
        judge_record(fake.inputs, fake.rows)


def label(number: int, told: str, **more: Any) -> dict[str, Any]:
    numbers = {"model": 1.0, "tie": 1.5, "against": 2.0}
    unknown = dict.fromkeys(("prompt", "annotator", "response", "other"))
    return {
        **unknown,
        "prompt_id": f"p{number}",
        "model": "ppo",
        "against": "sft",
        "preference": numbers[told],
        "seed": 0,
        "sample": 0,
        **more,
    }


def test_people_correct_the_judge(fake: FakeRun, tmp_path: Path) -> None:
    by_a_model(fake)
    # People find SFT better in all of 30 prompts; the judge likes PPO.
    labels = [label(i, "against") for i in range(30)]
    labels += [label(0, "model", prompt_id="p999"), label(1, "tie", response="another text")]
    write_jsonl(fake.folder("human") / "labels.jsonl", labels)
    results = finish(fake, tmp_path / "out")
    human = results["human"]
    assert (human["labels"], human["unused"]) == (30, 2)
    [row] = human["rows"]
    assert (row["model"], row["seed"], row["against"], row["labelled"]) == ("ppo", 0, "sft", 30)
    assert row["judge"]["value"] > 75
    assert row["people"]["value"] == 0.0
    assert row["corrected"]["value"] < 20
    # Where there are people, they are the truth that the judge is measured by.
    assert results["judge_audit"]["truth"] == ["people", "the exact rule"]
    assert results["judge_audit"]["agrees"]["value"] < 100


def test_annotators_of_one_pair_are_averaged_and_texts_are_checked(
    fake: FakeRun, tmp_path: Path
) -> None:
    shown = read_jsonl(fake.inputs["generate/ppo/0"] / "responses.jsonl")[0]
    labels = [
        label(0, "model", annotator="a", response=shown["response"]),
        label(0, "against", annotator="b"),
        label(1, "model", prompt_id=None, prompt="Question 1? "),
    ]
    write_jsonl(fake.folder("human") / "labels.jsonl", labels)
    human = finish(fake, tmp_path / "out")["human"]
    assert (human["labels"], human["unused"]) == (2, 0)
    assert human["rows"][0]["people"]["value"] == 75.0  # a tie and a win


def test_the_majority_of_people_is_the_truth(fake: FakeRun, tmp_path: Path) -> None:
    by_a_model(fake)
    # Of three annotators two side with the judge, and one does not.
    verdicts = read_jsonl(fake.inputs["judge/ppo/0"] / "verdicts.jsonl")
    told = {
        v["prompt_id"]: v["preference"]
        for v in verdicts
        if (v["against"], v["order"], v["sample"]) == ("sft", "ab", 0)
    }
    words = {1: "model", 2: "against"}
    labels = [
        label(i, words[told[f"p{i}"] if annotator != "c" else 3 - told[f"p{i}"]])
        for i in range(40)
        for annotator in "abc"
    ]
    write_jsonl(fake.folder("human") / "labels.jsonl", labels)
    audit = finish(fake, tmp_path / "out")["judge_audit"]
    assert audit["truth"] == ["people", "the exact rule"]
    assert audit["agrees"]["value"] == 100.0


def test_a_label_against_a_name_that_is_no_row_fits_nothing(fake: FakeRun, tmp_path: Path) -> None:
    labels = [label(0, "model", against="baseline"), label(0, "model", model="nobody")]
    write_jsonl(fake.folder("human") / "labels.jsonl", labels)
    human = finish(fake, tmp_path / "out")["human"]
    assert human == {"labels": 0, "unused": 2, "rows": []}


def table(metric: str = "reward_proxy", /, **rows: float) -> Estimates:
    made = [
        Row(
            name,
            (0,),
            {metric: np.full((1, 4), value) + np.arange(4) / 10},
            {},
            [[(0, "x")]],
            [],
        )
        for name, value in rows.items()
    ]
    return Estimates(made, 50, 0.95, 0)


def test_a_scorer_that_likes_sentinels_is_flagged() -> None:
    good = table(sft=5, null_answer=1, padded_answer=4, ppo=6, dpo=7)
    assert sentinel_flags(good, ["ppo", "dpo"], "sft", "sft", {}) == []
    # Methods that are worse than SFT are no fault of a scorer that does not like padding.
    fallen = table(sft=9, null_answer=1, padded_answer=8, ppo=6, dpo=7)
    assert sentinel_flags(fallen, ["ppo", "dpo"], "sft", "sft", {}) == []
    some = table(sft=5, null_answer=1, padded_answer=6.5, ppo=6, dpo=7)
    [flag] = sentinel_flags(some, ["ppo", "dpo"], "sft", "sft", {})
    assert flag["level"] == "warning"
    assert "padded_answer is not below some methods" in flag["message"]
    assert "not below ppo" in flag["message"]
    every = table(sft=5, null_answer=8, padded_answer=1, ppo=6, dpo=7)
    [flag] = sentinel_flags(every, ["ppo", "dpo"], "sft", "sft", {})
    assert flag["level"] == "error"
    assert "null_answer is not below any method" in flag["message"]


@pytest.mark.parametrize(("by_rule", "scale"), [(True, "1-10"), (False, "0-10")])
def test_a_flag_names_gold_reward_by_its_scale(by_rule: bool, scale: str) -> None:
    estimates = table("reward_gold", sft=5, null_answer=8, padded_answer=1, ppo=6)
    [flag] = sentinel_flags(estimates, ["ppo"], "sft", "sft", {"gold_simulated": by_rule})
    assert f"Reward, gold ({scale}) (8.15)" in flag["message"]


def test_nobody_leads_where_all_are_equal() -> None:
    question = Question("sft", "reward_gold", "win_rate_vs_sft")
    estimates = table(sft=5, ppo=6, dpo=6)
    assert verdict([], [], ["ppo", "dpo"], estimates, [], question) == []  # nothing was measured
    question = Question("sft", "reward_proxy", "win_rate_vs_sft")
    said = verdict([], [], ["ppo", "dpo"], estimates, [], question)
    assert said == ["No method has the highest win rate: ppo and dpo are equal."]
