from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignbench.errors import UserError
from alignbench.files import read_jsonl
from alignbench.judges import make
from alignbench.judges.base import Judge
from alignbench.stage import StageContext
from alignbench.stages import matches
from tests import tiny
from tests.stages import test_judge
from tests.stages.test_judge import SECTION, Scripted, responses

by_word = test_judge.by_word  # good 9, w1 and w2 3, by the rule


def run(root: Path, section: dict[str, Any], **texts: list[str]) -> Path:
    """The stage's folder; `texts` are answers by ``<row>_<seed>``, as many seeds of each row."""
    inputs, rows = {}, {}
    for name, answers in texts.items():
        row, _, seed = name.rpartition("_")
        if row == "reward":
            inputs["reward_gold"] = Path(answers[0])
            continue
        inputs[f"generate/{row}/{seed}"] = responses(root, name, *answers)
        rows.setdefault(row, []).append(int(seed))
    out = root / "out"
    out.mkdir()
    config = {"judge": section, "rows": [[row, seeds] for row, seeds in rows.items()]}
    matches.run(StageContext(out, config, inputs, lambda *_, **__: None, lambda *_: None))
    return out


@pytest.mark.usefixtures("by_word")
def test_every_pair_in_both_orders_with_seeds_paired_by_place(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        {"kind": "sandbox"},
        ppo_0=["good", "w1"],
        ppo_7=["w1", "w2"],
        dpo_3=["w1", "w2"],
        dpo_4=["good", "w1"],
        kto_0=["w2", "good"],
        kto_1=["w2", "w1"],
    )
    names = {path.name for path in (out / "verdicts").iterdir()}
    assert names == {"ppo-dpo.jsonl", "ppo-kto.jsonl", "dpo-kto.jsonl"}
    found = read_jsonl(out / "verdicts" / "ppo-dpo.jsonl")
    assert found == [
        {"seed": 0, "other_seed": 3, "prompt_id": "p0", "sample": 0, "ab": 1.0, "ba": 2.0},
        {"seed": 0, "other_seed": 3, "prompt_id": "p1", "sample": 0, "ab": 1.5, "ba": 1.5},
        {"seed": 7, "other_seed": 4, "prompt_id": "p0", "sample": 0, "ab": 2.0, "ba": 1.0},
        {"seed": 7, "other_seed": 4, "prompt_id": "p1", "sample": 0, "ab": 1.5, "ba": 1.5},
    ]
    who = json.loads((out / "judge.json").read_text())
    assert who["identity"] == {"kind": "sandbox"}
    # 3 pairs x 2 seeds x 2 prompts x 2 orders.
    assert who["bill"]["questions"] == 24


def test_a_models_words_and_the_limits_of_what_it_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Scripted(silent_on="w2")
    monkeypatch.setattr(make, "make_judge", lambda *_: judge)
    section = {**SECTION, "prompts": 2}
    out = run(tmp_path, section, ppo_0=["good", "w1", "w1"], dpo_0=["w1", "w2", "w1"])
    assert judge.asked == [
        ("compare", "good", "w1", 0),
        ("compare", "w1", "w2", 0),
        ("compare", "w1", "good", 0),
        ("compare", "w2", "w1", 0),
    ]
    first, second = read_jsonl(out / "verdicts" / "ppo-dpo.jsonl")
    words = {"raw": "said 1.0", "prompt_tokens": 10, "completion_tokens": 2}
    assert (first["ab"], first["ba"], first["said"]) == (1.0, 1.0, {"ab": words, "ba": words})
    silent = {"problem": "timed out", "prompt_tokens": 10}
    assert (second["ab"], second["said"]["ba"]) == (None, silent)
    bill = json.loads((out / "judge.json").read_text())["bill"]
    assert (bill["questions"], bill["unanswered"], bill["prompt_tokens"]) == (4, 2, 40)


def test_a_judge_that_answers_nothing_ends_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge: Judge = Scripted(silent_on="w1")
    monkeypatch.setattr(make, "make_judge", lambda *_: judge)
    with pytest.raises(UserError, match="answered none of 2 questions"):
        run(tmp_path, SECTION, ppo_0=["w1"], dpo_0=["w1"])


def test_without_a_judge_the_gold_reward_model_compares(tmp_path: Path) -> None:
    reward = tiny.reward_folder(tmp_path)
    out = run(
        tmp_path,
        {"kind": "none"},
        ppo_0=["good", "w1"],
        dpo_0=["good", "w2"],
        reward_gold=[str(reward)],
    )
    same, other = read_jsonl(out / "verdicts" / "ppo-dpo.jsonl")
    assert (same["ab"], same["ba"]) == (1.5, 1.5)
    assert {other["ab"], other["ba"]} == {1.0, 2.0}


@pytest.mark.parametrize("long", ["ppo_0", "dpo_0"])
def test_rows_that_answered_other_prompts_are_refused(tmp_path: Path, long: str) -> None:
    texts = {"ppo_0": ["w1"], "dpo_0": ["w1"], long: ["w1", "w2"]}
    with pytest.raises(UserError, match="not sampled on the same prompts"):
        run(tmp_path, {"kind": "sandbox"}, **texts)
