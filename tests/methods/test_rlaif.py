from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from alignbench.metering.budget import Budget
from alignbench.methods import rlaif
from alignbench.methods.base import Pair
from alignbench.methods.dpo import DPO
from alignbench.methods.ppo import PPO
from alignbench.methods.rlaif import RLAIF, ranked_pairs
from alignbench.models.load import weights_digest
from alignbench.recipe.schema import RewardModel
from tests import tiny

METHOD = RLAIF(prompts=12, samples_per_prompt=4, dpo=DPO(learning_rate=1e-3, batch_size=8))


def test_all_pairs_of_a_ranking() -> None:
    # Utilities 2 > 1 > 0 over (b, a, c): three pairs, better first.
    assert ranked_pairs("p", ["a", "b", "c"], [1.0, 2.0, 0.0]) == [
        Pair("p", "b", "a"),
        Pair("p", "a", "c"),
        Pair("p", "b", "c"),
    ]


def test_ties_and_equal_texts_make_no_pair() -> None:
    assert ranked_pairs("p", ["a", "b"], [1.0, 1.0]) == []
    assert ranked_pairs("p", ["a", "a", "b"], [1.0, 0.0, 0.0]) == [Pair("p", "a", "b")]


@pytest.mark.parametrize("then", ["dpo", "ppo"])
def test_options_of_the_second_half_are_needed(then: str) -> None:
    with pytest.raises(ValidationError, match=f"then: {then} needs the section"):
        RLAIF(prompts=10, then=then)


class Recorder(tiny.WordLabeller):
    """Remembers what it rated."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...]]] = []

    def utilities(self, prompt: str, responses: Sequence[str]) -> list[float]:
        self.seen.append((prompt, tuple(responses)))
        return [float(len(text)) for text in responses]


def run(tmp_path: Path, method: RLAIF = METHOD, **changes: Any) -> tuple[Any, Any, Any, list[str]]:
    """Policy, inputs, meter and notes of a training with answers long enough to end."""
    notes: list[str] = []
    trained, offered, meter = tiny.train(
        tmp_path,
        method,
        **{
            "labeller": Recorder(),
            "max_response_tokens": 20,
            "note": lambda kind, message: notes.append(message),
            **changes,
        },
    )
    return trained, offered, meter, notes


def test_labelling_stops_where_another_prompt_is_not_affordable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rlaif, "PROMPTS_AT_A_TIME", 2)
    trained, offered, meter, notes = run(tmp_path, budget=Budget(ai_labels=14))
    bill = meter.bill()
    # Less than the 4 labels that a prompt may cost are left, and no further prompt was read.
    assert 14 - 4 < bill["ai_labels"] <= 14
    assert bill["prompts"] < 12
    assert notes == [f"only {bill['prompts']} of 12 prompts are within the budget"]
    assert weights_digest(trained.model) != trained.digest
    assert offered.facts["ai_pairs"] > 0


def test_without_a_limit_all_prompts_are_labelled(tmp_path: Path) -> None:
    _, _, meter, notes = run(tmp_path)
    assert meter.bill()["prompts"] == 12
    assert notes == []


def test_fewer_prompts_than_asked_for_are_a_warning(tmp_path: Path) -> None:
    _, _, meter, notes = run(tmp_path, prompts=tiny.PROMPTS * 2)
    assert meter.bill()["prompts"] == 8
    assert notes == ["only 8 of 12 prompts exist"]


def test_calls_of_the_decoder_do_not_repeat_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rlaif, "PROMPTS_AT_A_TIME", 1)
    labeller = Recorder()
    # The same prompt twelve times, in a call each.
    run(tmp_path, labeller=labeller, prompts=["w1"] * 12)
    answers = [responses for _, responses in labeller.seen]
    assert len(set(answers)) > len(answers) / 2


def test_a_budget_spent_on_sampling_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rlaif, "PROMPTS_AT_A_TIME", 1)
    trained, _, meter, notes = run(tmp_path, budget=Budget(tokens_generated=200))
    assert weights_digest(trained.model) == trained.digest
    assert meter.bill()["optimizer_steps"] == 0
    assert meter.bill()["prompts"] < 12
    assert any("nothing was trained" in note for note in notes)


def test_only_a_budget_ends_it_if_only_a_budget_ends_the_second_half() -> None:
    reward_model = RewardModel(learning_rate=1e-3)
    ppo = PPO(learning_rate=1e-3)
    assert not METHOD.needs_budget()
    assert RLAIF(prompts=1, dpo=DPO(learning_rate=1e-3, epochs=None)).needs_budget()
    assert RLAIF(prompts=1, then="ppo", ppo=ppo, reward_model=reward_model).needs_budget()
