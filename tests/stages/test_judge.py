from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alignbench.errors import UserError
from alignbench.files import read_jsonl, write_jsonl
from alignbench.sandbox import gold
from alignbench.stage import StageContext
from alignbench.stages import judge
from tests import tiny

IDS = {"good": [3, 0], "w1": [4, 0], "w2": [5, 0]}


def responses(root: Path, name: str, *texts: str) -> Path:
    folder = root / name
    folder.mkdir()
    lines = [
        {"prompt_id": f"p{i}", "prompt": f"w{i}", "family": "facts", "sample": 0}
        | {"response": text, "token_ids": IDS[text], "finished": True}
        for i, text in enumerate(texts)
    ]
    write_jsonl(folder / "responses.jsonl", lines)
    return folder


def run(root: Path, kind: str = "sandbox", **inputs: Path) -> list[dict[str, Any]]:
    out = root / "out"
    out.mkdir()
    config = {"judge": {"kind": kind}}
    judge.run(StageContext(out, config, inputs, lambda *_, **__: None, print))
    return read_jsonl(out / "verdicts.jsonl")


@pytest.fixture
def by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    overall = {"good": 9.0, "w1": 3.0, "w2": 3.0}
    monkeypatch.setattr(gold, "score", lambda _, text: SimpleNamespace(overall=overall[text]))


@pytest.mark.usefixtures("by_word")
def test_both_orders_against_both_opponents(tmp_path: Path) -> None:
    verdicts = run(
        tmp_path,
        responses=responses(tmp_path, "own", "good", "w1"),
        base_responses=responses(tmp_path, "base", "w1", "w2"),
        sft_responses=responses(tmp_path, "sft", "w2", "good"),
    )
    told = [(v["against"], v["prompt_id"], v["order"], v["preference"]) for v in verdicts]
    assert told == [
        ("base", "p0", "ab", 1.0),
        ("base", "p0", "ba", 2.0),
        ("base", "p1", "ab", 1.5),
        ("base", "p1", "ba", 1.5),
        ("sft", "p0", "ab", 1.0),
        ("sft", "p0", "ba", 2.0),
        ("sft", "p1", "ab", 2.0),
        ("sft", "p1", "ba", 1.0),
    ]
    assert {v["judge"] for v in verdicts} == {"sandbox (simulated judge)"}


@pytest.mark.usefixtures("by_word")
def test_a_row_is_not_compared_with_itself(tmp_path: Path) -> None:
    own = responses(tmp_path, "sft", "good")
    base = responses(tmp_path, "base", "w1")
    verdicts = run(tmp_path, responses=own, sft_responses=own, base_responses=base)
    assert {v["against"] for v in verdicts} == {"base"}


@pytest.mark.usefixtures("by_word")
def test_other_prompts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="same prompts"):
        run(
            tmp_path,
            responses=responses(tmp_path, "own", "good", "w1"),
            base_responses=responses(tmp_path, "base", "w1"),
            sft_responses=responses(tmp_path, "sft", "w1", "w2"),
        )


def test_without_a_judge_the_gold_reward_model_decides_and_says_so(tmp_path: Path) -> None:
    reward = tiny.reward_folder(tmp_path)
    scorer = tiny.RewardScorer.load(reward)
    prompt = [4, 2]  # "w1" and the chat template's ">"
    better, worse = sorted(
        ("w1", "w2"), key=lambda word: scorer.score_ids([prompt], [IDS[word]])[0], reverse=True
    )
    verdicts = run(
        tmp_path,
        kind="none",
        responses=responses(tmp_path, "own", "good", better),
        base_responses=responses(tmp_path, "base", "good", worse),
        sft_responses=responses(tmp_path, "sft", "good", better),
        reward_gold=reward,
    )
    told = {(v["against"], v["prompt_id"], v["order"]): v["preference"] for v in verdicts}
    assert told["base", "p0", "ab"] == told["sft", "p1", "ba"] == 1.5
    assert (told["base", "p1", "ab"], told["base", "p1", "ba"]) == (1.0, 2.0)
    assert {v["judge"] for v in verdicts} == {"gold reward model (no judge)"}
