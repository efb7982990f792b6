from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignbench.errors import UserError
from alignbench.files import read_jsonl, write_jsonl
from alignbench.report.samples import distance, read_samples
from tests.fake_run import FAMILIES, FakeRun

EFFECTS = {"base": -1.0, "sft": 0.0, "sft_copy": 0.0, "dpo": 1.0}


@pytest.fixture
def fake(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path, EFFECTS, respond=lambda row, i: f"{row} answers {i}")


def test_every_prompt_that_fits_with_every_models_first_sample(fake: FakeRun) -> None:
    samples = read_samples(fake.inputs, list(EFFECTS))
    assert [s["prompt_id"] for s in samples] == [f"p{i}" for i in range(40)]
    assert {s["of"] for s in samples} == {40}
    answers = samples[5]["responses"]
    assert [answer["model"] for answer in answers] == list(EFFECTS)
    assert answers[3]["response"] == "dpo answers 5"
    gold = fake.scores["dpo", 0][5, 0]
    assert answers[3]["scores"] == {
        "gold": gold,
        "proxy": pytest.approx(gold + 0.5),
        "gold RM": gold,
    }
    assert answers[3]["ratings"]["honest"] == gold
    won = gold > fake.scores["sft", 0][5, 0]
    assert answers[3]["against"] == ("won" if won else "lost")
    assert (answers[1]["against"], answers[3]["opponent"]) == (None, "sft")


def test_what_does_not_fit_is_left_out_but_no_family_is(fake: FakeRun) -> None:
    whole = len(json.dumps(read_samples(fake.inputs, list(EFFECTS))))
    some = read_samples(fake.inputs, list(EFFECTS), max_bytes=whole // 4)
    assert 4 <= len(some) < 12
    assert {s["family"] for s in some} == set(FAMILIES)
    assert some == read_samples(fake.inputs, list(EFFECTS), max_bytes=whole // 4)


def test_disagreements_and_longest_losses_come_before_chance(fake: FakeRun) -> None:
    folder = fake.inputs["score/dpo/0"]
    scores = read_jsonl(folder / "scores.jsonl")
    for line in scores:
        number = int(line["prompt_id"][1:])
        if number == 17:
            line["reward_proxy"] = line["reward_gold"] + 7
        line["length"] = number  # the longest losses have the greatest numbers
    write_jsonl(folder / "scores.jsonl", scores)
    samples = {s["prompt_id"]: s for s in read_samples(fake.inputs, list(EFFECTS))}
    picked = {key: s["picked"] for key, s in samples.items()}
    lost = [
        key
        for key, s in samples.items()
        if s["responses"][3]["against"] == "lost" and picked[key] != "one of each family"
    ]
    assert picked["p17"] in ("scores disagree most", "one of each family")
    late = [key for key in lost if picked[key] == "among the longest losses of dpo"]
    assert all(int(a[1:]) > int(b[1:]) for a in late for b in lost if picked[b] == "at random")


def test_a_run_without_scores_has_its_answers(fake: FakeRun) -> None:
    only = {name: path for name, path in fake.inputs.items() if name.startswith("generate/")}
    samples = read_samples(only, list(EFFECTS))
    assert len(samples) == 40
    assert samples[0]["responses"][0]["scores"] == {}
    assert read_samples({}, list(EFFECTS)) == []


def test_a_contradiction_is_a_tie_and_silence_is_unknown(fake: FakeRun) -> None:
    folder = fake.inputs["judge/dpo/0"]
    verdicts = read_jsonl(folder / "verdicts.jsonl")
    for line in verdicts:
        if line["prompt_id"] == "p0":
            line["preference"] = 1  # the answer shown first, in both orders
        if line["prompt_id"] == "p1" and line["order"] == "ba":
            line["preference"] = None
    write_jsonl(folder / "verdicts.jsonl", verdicts)
    samples = read_samples(fake.inputs, list(EFFECTS))
    assert [s["responses"][3]["against"] for s in samples[:2]] == ["tied", None]


def test_rows_of_other_prompts_are_an_error(fake: FakeRun) -> None:
    path = fake.inputs["generate/dpo/0"] / "responses.jsonl"
    write_jsonl(path, read_jsonl(path)[:-50])
    with pytest.raises(UserError, match="same prompts"):
        read_samples(fake.inputs, list(EFFECTS))


def test_distance() -> None:
    assert distance({"scores": {"gold": 5, "proxy": 6}, "ratings": {"a": 1, "b": 3}}) == 3
    assert distance({"scores": {"gold": 5}, "ratings": {}}) is None
    assert distance({"scores": {"proxy": 5}, "ratings": {"a": 1}}) is None
