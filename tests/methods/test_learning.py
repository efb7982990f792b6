"""Every method learns a trivial preference, and does not with its sign flipped.

The preference: answers that hold the word "good", which a random model gives about one time in
four. A method whose advantage or label has the wrong sign must drive it out instead.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from alignbench.methods.base import Method, Pair
from alignbench.methods.dpo import DPO
from alignbench.methods.grpo import GRPO
from alignbench.methods.ppo import PPO
from alignbench.methods.reinforce import Reinforce
from alignbench.methods.rlaif import RLAIF
from alignbench.models.load import weights_digest
from alignbench.recipe.schema import RewardModel
from tests import tiny

ON_POLICY: dict[str, Any] = {
    "learning_rate": 1e-2, "prompts_per_rollout": 16, "samples_per_prompt": 4, "kl_coef": 0.02,
    "missing_eos_penalty": 0.0,
}  # fmt: skip
METHODS = {
    "reinforce": Reinforce(**ON_POLICY, rollouts=30),
    "grpo": GRPO(**ON_POLICY, rollouts=30),
    "ppo": PPO(**ON_POLICY, rollouts=10),
}
DPO_OPTIONS = DPO(learning_rate=1e-2, epochs=4)


def flipped(method: Method) -> Method:
    """The same method with the sign of its advantages turned."""

    class Flipped(type(method)):  # type: ignore[misc]
        def advantages(self, rollout: Any) -> Any:
            advantages, extra = super().advantages(rollout)
            return -advantages, extra

    return Flipped(**method.model_dump())


@pytest.fixture
def before(tmp_path: Path) -> float:
    share = tiny.good_share(tiny.policy(tiny.start_folder(tmp_path)))
    assert 0.1 < share < 0.5, "the start model must neither know nor rule out the word"
    return share


@pytest.mark.parametrize("name", METHODS)
def test_on_policy_method_learns(name: str, tmp_path: Path, before: float) -> None:
    trained, _, _ = tiny.train(tmp_path, METHODS[name])
    assert tiny.good_share(trained) > 0.9


@pytest.mark.parametrize("name", METHODS)
def test_flipped_advantages_do_not(name: str, tmp_path: Path, before: float) -> None:
    trained, _, _ = tiny.train(tmp_path, flipped(METHODS[name]))
    assert tiny.good_share(trained) < before


def test_dpo_learns(tmp_path: Path, before: float) -> None:
    trained, _, meter = tiny.train(tmp_path, DPO_OPTIONS)
    assert tiny.good_share(trained) > 0.9
    assert meter.bill()["human_labels"] == 256


def test_dpo_with_flipped_labels_does_not(tmp_path: Path, before: float) -> None:
    wrong = [Pair(p.prompt, p.rejected, p.chosen) for p in tiny.pairs()]
    trained, _, _ = tiny.train(tmp_path, DPO_OPTIONS, pairs=wrong)
    assert tiny.good_share(trained) < before


@pytest.mark.parametrize(("sign", "learns"), [(1.0, True), (-1.0, False)])
def test_rlaif_follows_its_labeller(
    sign: float, learns: bool, tmp_path: Path, before: float
) -> None:
    method = RLAIF(prompts=32, samples_per_prompt=8, dpo=DPO_OPTIONS)
    # Longer answers than elsewhere: random ones rarely end within six tokens.
    trained, offered, meter = tiny.train(
        tmp_path, method, labeller=tiny.WordLabeller(sign), max_response_tokens=20
    )
    share = tiny.good_share(trained)
    assert share > 0.8 if learns else share < before
    cut = offered.facts["cut_answers"]
    assert 0 < cut < 256
    # A prompt with one complete answer costs no label.
    assert 0 < meter.bill()["ai_labels"] <= 256 - cut
    assert meter.bill()["human_labels"] == 0
    assert offered.facts["labeller"] == "word labeller"


def test_rlaif_trains_its_own_reward_model_for_ppo(tmp_path: Path) -> None:
    """The plumbing, on AI labels alone; the policy's learning is PPO's own test."""
    method = RLAIF(
        prompts=32,
        samples_per_prompt=8,
        then="ppo",
        ppo=PPO(**ON_POLICY, rollouts=2),
        reward_model=RewardModel(learning_rate=5e-3, epochs=3, batch_size=16),
    )
    prompts = [" ".join(p) for p in itertools.product(("w1", "w2", "w3"), repeat=3)][:32]
    trained, offered, meter = tiny.train(
        tmp_path, method, prompts=[*prompts, *tiny.PROMPTS, "w8"], max_response_tokens=20
    )
    assert offered.facts["ai_reward_accuracy"] > 0.6
    assert weights_digest(trained.model) != trained.digest
    bill = meter.bill()
    assert (bill["human_labels"], bill["optimizer_steps"]) == (0, 2 * 2 * 2)
