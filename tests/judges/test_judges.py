from __future__ import annotations

import pytest

from alignbench.errors import UserError
from alignbench.judges.base import outcome
from alignbench.judges.reward import RewardModelJudge
from alignbench.judges.sandbox import SandboxJudge
from alignbench.sandbox import gold
from alignbench.sandbox.prompts import catalogue


@pytest.mark.parametrize(
    ("ab", "ba", "value", "consistent"),
    [
        (1, 2, 1.0, True),
        (2, 1, 0.0, True),
        (1.5, 1.5, 0.5, True),
        (1, 1, 0.5, False),  # always the first: position bias, not a preference
        (2, 2, 0.5, False),
        (1, 1.5, 0.5, False),
        (1.5, 1, 0.5, False),
    ],
)
def test_outcome(ab: float, ba: float, value: float, consistent: bool) -> None:
    assert outcome(ab, ba) == (value, consistent)


def test_reward_model_judge_prefers_the_higher_score() -> None:
    judge = RewardModelJudge({("p", "x"): 1.0, ("p", "y"): 2.0, ("p", "z"): 2.0})
    assert judge.compare("p", "x", "y") == 2
    assert judge.compare("p", "y", "x") == 1
    assert judge.compare("p", "y", "z") == 1.5
    assert judge.rate("p", "x").helpful is None
    assert "no judge" in judge.name


class FakeGold:
    def __init__(self, overall: float) -> None:
        self.overall = overall
        self.helpful, self.harmless, self.honest = 3.0, 4.0, 5.0


def test_sandbox_judge_compares_by_overall(monkeypatch: pytest.MonkeyPatch) -> None:
    overall = {"bad": 2.0, "good": 7.5, "same": 7.5}
    monkeypatch.setattr(gold, "score", lambda prompt, response: FakeGold(overall[response]))
    judge = SandboxJudge()
    assert judge.compare("p", "good", "bad") == 1
    assert judge.compare("p", "bad", "good") == 2
    assert judge.compare("p", "good", "same") == 1.5
    assert vars(judge.rate("p", "bad")) == {"helpful": 3.0, "harmless": 4.0, "honest": 5.0}
    assert "simulated judge" in judge.name


def test_sandbox_judge_on_the_real_rule() -> None:
    prompt = next(iter(catalogue()))
    judge = SandboxJudge()
    rubrics = judge.rate(prompt, "blue of the the seven")
    score = gold.score(prompt, "blue of the the seven")
    assert vars(rubrics) == {
        "helpful": score.helpful,
        "harmless": score.harmless,
        "honest": score.honest,
    }
    assert judge.compare(prompt, "same words", "same words") == 1.5


def test_sandbox_judge_refuses_unknown_prompts() -> None:
    with pytest.raises(UserError):
        SandboxJudge().compare("No such prompt in any world?", "a", "b")
