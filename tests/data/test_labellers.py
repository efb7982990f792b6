from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from alignbench.data.collect import Asked, pairs
from alignbench.data.labellers import JudgeLabeller, RewardLabeller, SandboxLabeller, make
from alignbench.errors import UserError
from alignbench.judges.base import Answer, Reply
from tests.tiny import reward_folder, start_folder


def _silent(done: int, total: int) -> None:
    pass


def test_the_reward_model_labels_by_its_scores(tmp_path: Path) -> None:
    labeller = RewardLabeller.load(reward_folder(tmp_path))
    asked = [Asked("w1", ("good", "w2", "w3 w4"))]
    scores = labeller._scorer.score(["w1"] * 3, asked[0].answers)
    assert labeller.utilities(asked, _silent) == [pytest.approx(scores)]
    best = max(zip(scores, asked[0].answers, strict=True))[1]
    rows, _ = pairs(asked, labeller, _silent)
    assert sum(row["chosen"] == best for row in rows) == 2
    assert labeller.identity["kind"] == "reward"
    with pytest.raises(UserError, match=r"has no config\.json; name a folder that .*export RUN"):
        RewardLabeller.load(tmp_path)


def test_an_exported_reward_model_labels_as_the_stage_does(tmp_path: Path) -> None:
    stage = reward_folder(tmp_path)
    asked = [Asked("w1", ("good", "w2"))]
    expected = RewardLabeller.load(stage).utilities(asked, _silent)
    exported = RewardLabeller.load(stage / "model")
    assert exported.utilities(asked, _silent) == expected
    assert exported.name == "reward model model"
    with pytest.raises(UserError):
        RewardLabeller.load(start_folder(tmp_path / "policy"))


def test_an_answer_too_long_for_the_reward_model_has_no_rating(tmp_path: Path) -> None:
    labeller = RewardLabeller.load(reward_folder(tmp_path))
    asked = [Asked("w1", ("w2", "w3 " * 5000)), Asked("w2", ("w3 " * 5000,))]
    (short, long), (alone,) = labeller.utilities(asked, _silent)
    assert short is not None
    assert (long, alone) == (None, None)
    assert pairs(asked, labeller, _silent) == ([], {"answers without a rating": 2})


class Rater:
    """Rates by length, and has nothing to say of one answer by one rubric."""

    name = "rater"
    identity: ClassVar[dict[str, Any]] = {"kind": "test"}

    def rate(
        self, answers: Sequence[Answer], rubric: str, progress: Any, repeat: int = 0
    ) -> list[Reply]:
        progress(len(answers), len(answers))
        extra = {"helpful": 0, "harmless": 1, "honest": 5}[rubric]
        silent = rubric == "honest"
        return [
            Reply(None if silent and each.response == "mute" else len(each.response) + extra)
            for each in answers
        ]


def test_the_judge_labels_by_its_mean_rating() -> None:
    told: list[tuple[int, int]] = []
    labeller = JudgeLabeller(Rater())  # type: ignore[arg-type]
    asked = [Asked("Q", ("a", "mute", "ccc"))]
    assert labeller.utilities(asked, lambda *at: told.append(at)) == [[3.0, None, 5.0]]
    assert told == [(3, 9), (6, 9), (9, 9)]
    rows, left_out = pairs(asked, labeller, _silent)
    assert [(row["chosen"], row["rejected"]) for row in rows] == [("ccc", "a")]
    assert left_out == {"answers without a rating": 1}


def test_the_sandbox_labeller_knows_its_prompts_only() -> None:
    labeller = make("sandbox", 3, lambda *_: None)
    assert isinstance(labeller, SandboxLabeller)
    assert labeller.identity == {"kind": "sandbox", "seed": 3}
    with pytest.raises(UserError):
        labeller.utilities([Asked("not of the sandbox", ("a", "b"))], _silent)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sandbx", 'did you mean "sandbox"'),
        ("reward:", "one of: sandbox, reward:FOLDER"),
        ("sandbox:3", "is not known"),
        ("judge:none.yaml", "none.yaml"),
    ],
)
def test_unknown_labellers(name: str, told: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        make(name, 0, lambda *_: None)


def test_a_judge_file_is_validated_by_the_rules_of_recipes(tmp_path: Path) -> None:
    path = tmp_path / "judge.yaml"
    path.write_text("kind: locl\nmodel: x\n")
    with pytest.raises(UserError, match=r'judge\.yaml:1.*did you mean "local"'):
        make(f"judge:{path}", 0, lambda *_: None)
    path.write_text("kind: none\n")
    with pytest.raises(UserError, match="nobody rates"):
        make(f"judge:{path}", 0, lambda *_: None)
    path.write_text("kind: sandbox\n")
    made = make(f"judge:{path}", 0, lambda *_: None)
    assert made.identity == {
        "kind": "judge", "name": "sandbox (simulated judge)", "judge": {"kind": "sandbox"},
    }  # fmt: skip
