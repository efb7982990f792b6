"""The contract with TRL's GRPOTrainer, and the traps of `trl-notes.md` that it holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from alignbench.errors import UserError
from alignbench.metering.budget import Budget
from alignbench.metering.meter import Meter
from alignbench.methods.grpo import GRPO
from alignbench.methods.onpolicy import OnPolicy
from alignbench.methods.ppo import PPO
from alignbench.methods.reinforce import Reinforce
from alignbench.models.load import weights_digest
from alignbench.models.logprobs import padded_logprobs
from alignbench.models.reward import RewardScorer
from alignbench.models.text import decode_response
from alignbench.training import onpolicy
from alignbench.training.advantages import group_normalized
from alignbench.training.critic import CriticTraining
from alignbench.training.onpolicy import OnPolicyTrainer
from tests import tiny

COMMON: dict[str, Any] = {"learning_rate": 1e-3, "rollouts": 2, "prompts_per_rollout": 4}
METHODS: list[OnPolicy] = [Reinforce(**COMMON), GRPO(**COMMON), PPO(**COMMON)]


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[OnPolicyTrainer]:
    """The trainers that are built while the test runs."""
    made: list[OnPolicyTrainer] = []
    plain = OnPolicyTrainer.__init__

    def init(self: OnPolicyTrainer, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(OnPolicyTrainer, "__init__", init)
    return made


def one_rollout(trainer: OnPolicyTrainer) -> dict[str, Any]:
    # The first prompts of `tiny.inputs`, by their numbers.
    rows = [
        {"prompt": str(number)}
        for number in range(len(tiny.PROMPTS))
        for _ in range(trainer.num_generations)
    ]
    return trainer._generate_and_score_completions(rows)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_rollout_and_training_agree_on_log_probabilities(method: OnPolicy, tmp_path: Path) -> None:
    # Prompts of one to three words: rows are padded on the left (trl-notes, bite 2).
    _, offered, _ = tiny.train(tmp_path, method)
    assert offered.facts["rollout_logprob_error"] < 1e-4


def test_left_padding_without_position_ids_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = tiny.policy(tiny.start_folder(tmp_path))
    subject.model.base_model._forward_pre_hooks.clear()
    monkeypatch.setattr(onpolicy, "install_position_ids", lambda model: None)
    with pytest.raises(RuntimeError, match="log-probabilities of rollout and training differ"):
        METHODS[0].train(subject, tiny.inputs(tmp_path, subject, METHODS[0]), Meter())


def test_rounding_of_single_tokens_is_no_other_policy(
    tmp_path: Path, captured: list[OnPolicyTrainer]
) -> None:
    # Seen with SmolLM2-135M in bf16: one token of a rollout off by 0.57, rows by 0.05 on average.
    tiny.train(tmp_path, METHODS[0])
    trainer = captured[0]
    trainer.inputs = replace(trainer.inputs, precision="bf16")
    batch = one_rollout(trainer)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = batch["completion_mask"]
    attention = torch.cat([batch["prompt_mask"], mask], dim=1)
    sampled = trainer._answers.logprobs(mask.size(1), mask.device)
    noisy = sampled.clone()
    noisy[mask.sum(dim=1) > 1, 0] += 0.57
    with torch.no_grad():
        trainer._check_logprobs(ids, attention, noisy, mask)
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"differ by .* a token"):
        trainer._check_logprobs(ids, attention, sampled + 0.57, mask)


@pytest.mark.parametrize("sign", [1, -1], ids=["right", "flipped"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_push_says_whether_high_scores_are_raised(
    method: OnPolicy, sign: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = type(method).advantages

    def advantages(self: OnPolicy, rollout: Any) -> Any:
        found, extra = plain(self, rollout)
        return sign * found, extra

    monkeypatch.setattr(type(method), "advantages", advantages)
    _, offered, _ = tiny.train(tmp_path, method)
    pushes = [line["push"] for line in offered.facts["logs"] if "push" in line]
    assert pushes
    assert all(sign * push > 0.3 for push in pushes)


def test_dropout_in_the_checkpoint_is_off_in_rollouts_and_training(
    tmp_path: Path, captured: list[OnPolicyTrainer]
) -> None:
    subject = tiny.policy(tiny.start_folder(tmp_path, resid_pdrop=0.5, embd_pdrop=0.5))
    METHODS[1].train(subject, tiny.inputs(tmp_path, subject, METHODS[1]), Meter())
    for model in (captured[0].model, captured[0].ref_model):
        rates = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
        assert rates
        assert set(rates) == {0.0}


def other_reference(tmp_path: Path) -> Any:
    other = tiny.policy(tiny.start_folder(tmp_path)).model
    with torch.no_grad():
        other.transformer.wpe.weight.add_(0.1)
    return other


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_other_reference_is_refused(method: OnPolicy, tmp_path: Path) -> None:
    subject = tiny.policy(tiny.start_folder(tmp_path))
    offered = tiny.inputs(tmp_path, subject, method, reference=lambda: other_reference(tmp_path))
    with pytest.raises(RuntimeError, match="not the start model"):
        method.train(subject, offered, Meter())


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_trl_loads_no_reference_of_its_own(
    method: OnPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would load it from config._name_or_path (bite 1).
    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError("TRL loaded a reference")

    monkeypatch.setattr("trl.trainer.grpo_trainer.create_model_from_path", fail)
    trained, offered, _ = tiny.train(tmp_path, method)
    assert offered.facts["reference_digest"] == trained.digest


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_reference_is_the_start_model_and_stays_it(
    method: OnPolicy, tmp_path: Path, captured: list[OnPolicyTrainer]
) -> None:
    trained, offered, _ = tiny.train(tmp_path, method)
    assert offered.facts["reference_digest"] == trained.digest
    assert weights_digest(captured[0].reference) == trained.digest
    assert weights_digest(trained.model) != trained.digest


def test_grpo_without_kl_holds_no_reference(
    tmp_path: Path, captured: list[OnPolicyTrainer]
) -> None:
    _, offered, _ = tiny.train(tmp_path, GRPO(**COMMON, kl_coef=0.0))
    assert captured[0].ref_model is None
    assert captured[0].reference is None
    assert offered.facts["reference_digest"] is None


def test_rewards_in_training_are_rewards_in_evaluation(
    tmp_path: Path, captured: list[OnPolicyTrainer]
) -> None:
    # TRL scores re-tokenised text without EOS (bite 4); ours scores the same ids everywhere.
    subject = tiny.policy(tiny.start_folder(tmp_path))
    scorer = RewardScorer.load(tiny.reward_folder(tmp_path))
    offered = tiny.inputs(tmp_path, subject, METHODS[0], reward=scorer)
    METHODS[0].train(subject, offered, Meter())
    trainer = captured[0]
    batch = one_rollout(trainer)
    rows = [
        ids[mask.bool()].tolist()
        for ids, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True)
    ]
    prompts = [p for p in tiny.PROMPTS for _ in range(trainer.num_generations)]
    finished = trainer._answers.finished().nonzero()[:, 0].tolist()
    assert len(finished) >= 2
    texts = [decode_response(subject.tokenizer, rows[i]) for i in finished]
    again = scorer.score([prompts[i] for i in finished], texts)
    assert trainer._raw_scores[finished].tolist() == pytest.approx(again, abs=1e-5)


def test_an_unfinished_response_pays_the_penalty(
    tmp_path: Path, captured: list[OnPolicyTrainer]
) -> None:
    tiny.train(tmp_path, Reinforce(**COMMON, missing_eos_penalty=7.0))
    trainer = captured[0]
    one_rollout(trainer)
    plain = torch.tensor(trainer.reward.standardized(trainer._raw_scores.tolist()))
    paid = [0.0 if done else 7.0 for done in trainer._answers.finished().tolist()]
    assert 0 < sum(paid) < 7 * len(paid)
    assert (plain - trainer._scores).tolist() == pytest.approx(paid, abs=1e-5)


def test_our_group_advantages_are_those_of_trl(
    tmp_path: Path, captured: list[OnPolicyTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.train(tmp_path, METHODS[1])
    trainer = captured[0]
    theirs: dict[str, torch.Tensor] = {}
    inner = OnPolicyTrainer.__mro__[1]._generate_and_score_completions

    def spy(self: Any, rows: Any) -> Any:
        batch = inner(self, rows)
        theirs["advantages"] = batch["advantages"].clone()
        return batch

    monkeypatch.setattr(OnPolicyTrainer.__mro__[1], "_generate_and_score_completions", spy)
    for scaling, normalize in (("group", True), ("none", False)):
        trainer.scale_rewards = scaling
        one_rollout(trainer)
        ours = group_normalized(trainer._scores, trainer.num_generations, normalize)
        assert torch.allclose(ours, theirs["advantages"], atol=1e-5)
        assert ours.abs().max() > 0.1


def test_clipped_policy_loss_of_ppo_by_hand(
    tmp_path: Path, captured: list[OnPolicyTrainer]
) -> None:
    """TRL takes (B, T) advantages and clips each token's ratio; ours relies on both."""
    subject, _, _ = tiny.train(tmp_path, METHODS[2])
    trainer = captured[0]
    batch = one_rollout(trainer)
    mask = batch["completion_mask"]
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    attention = torch.cat([batch["prompt_mask"], mask], 1)
    with torch.no_grad():
        now, _ = padded_logprobs(subject.model, ids, attention, mask.size(1))
    generator = torch.Generator().manual_seed(3)
    old = now - 0.5 * torch.randn(now.shape, generator=generator)
    advantages = torch.randn(now.shape, generator=generator)
    ratio = (now - old).exp()
    token = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    expected = (token * mask).sum() / mask.sum()
    trainer.critic = None
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer._compute_loss(
        trainer.model, {**batch, "old_per_token_logps": old, "advantages": advantages}
    )
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert ((ratio < 0.8) | (ratio > 1.2)).any()


def test_reinforce_gradient_is_advantage_times_score_function(
    tmp_path: Path, captured: list[OnPolicyTrainer]
) -> None:
    subject, _, _ = tiny.train(tmp_path, METHODS[0])
    trainer = captured[0]
    batch = one_rollout(trainer)
    mask = batch["completion_mask"]
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    attention = torch.cat([batch["prompt_mask"], mask], 1)
    trainer.current_gradient_accumulation_steps = 1
    weight = subject.model.transformer.h[0].attn.c_attn.weight
    (found,) = torch.autograd.grad(trainer._compute_loss(trainer.model, batch), weight)
    logprobs, _ = padded_logprobs(subject.model, ids, attention, mask.size(1))
    logprob = (logprobs * mask).sum(1)
    (expected,) = torch.autograd.grad(-(batch["advantages"] * logprob).mean(), weight)
    assert found.abs().max() > 1e-4
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("method", METHODS[:2], ids=lambda m: m.name)
def test_accumulation_does_not_change_the_update(method: OnPolicy, tmp_path: Path) -> None:
    # TRL's online DPO sums gradients over accumulation steps (bite 5); nothing here may.
    weights = []
    for pieces in (1, 2):
        changed = method.model_copy(update={"gradient_accumulation": pieces, "rollouts": 1})
        trained, _, meter = tiny.train(tmp_path, changed)
        assert meter.bill()["optimizer_steps"] == 1
        weights.append(trained.model.transformer.wte.weight.detach().clone())
    assert torch.allclose(*weights, atol=1e-5)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_same_seed_same_weights_other_seed_other_weights(method: OnPolicy, tmp_path: Path) -> None:
    digests = [weights_digest(tiny.train(tmp_path, method, seed)[0].model) for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_batches_that_do_not_divide_are_named() -> None:
    with pytest.raises(ValidationError, match="cannot be cut into 3 equal pieces"):
        GRPO(**COMMON, minibatches=3)


def test_meter_counts_the_work(tmp_path: Path, captured: list[OnPolicyTrainer]) -> None:
    method = PPO(**COMMON, samples_per_prompt=2, minibatches=2, epochs=3)
    _, _, meter = tiny.train(tmp_path, method)
    bill = meter.bill()
    assert bill["optimizer_steps"] == 2 * 2 * 3
    assert bill["prompts"] == 2 * 4
    assert 16 <= bill["tokens_generated"] <= 16 * tiny.LIMIT
    # Policy and critic each see every sequence in each of three epochs.
    assert bill["tokens_trained"] > 2 * 3 * bill["tokens_generated"]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_without_rollouts_the_budget_ends_it(method: OnPolicy, tmp_path: Path) -> None:
    endless = method.model_copy(update={"rollouts": None})
    assert endless.needs_budget()
    assert not method.needs_budget()
    _, offered, meter = tiny.train(tmp_path, endless, budget=Budget(optimizer_steps=6))
    assert meter.bill()["optimizer_steps"] == 6
    assert meter.early_reason is None
    logs = offered.facts["logs"]
    spent = [line["spent_fraction"] for line in logs[:6]]
    assert spent == pytest.approx([n / 6 for n in range(1, 7)])
    # The learning rate ends with the budget: from 1e-3 to 0.
    rates = [line["learning_rate"] for line in logs[:6]]
    assert rates == pytest.approx([1e-3 * (1 - n / 6) for n in range(6)])
    flops = [line["flops"] for line in logs[:6]]
    assert 0 < flops[0] < flops[-1] <= meter.bill()["flops"]


def test_a_budget_of_tokens_ends_it_at_a_step(tmp_path: Path) -> None:
    endless = GRPO(**{**COMMON, "rollouts": None})
    _, _, meter = tiny.train(tmp_path, endless, budget=Budget(tokens_generated=200))
    bill = meter.bill()
    # A rollout of 16 responses has 16 to 96 tokens.
    assert 200 <= bill["tokens_generated"] <= 296
    assert bill["optimizer_steps"] == bill["prompts"] / 4


def test_rollouts_that_end_before_the_budget_say_so(tmp_path: Path) -> None:
    _, offered, meter = tiny.train(tmp_path, METHODS[1], budget=Budget(optimizer_steps=100))
    assert meter.bill()["optimizer_steps"] == 2
    assert meter.early_reason is not None
    assert "rollouts: 2" in meter.early_reason
    # The schedule ends with them, too.
    rates = [line["learning_rate"] for line in offered.facts["logs"][:2]]
    assert rates == pytest.approx([1e-3, 0.5e-3])


def test_only_prompts_that_are_answered_are_on_the_bill(tmp_path: Path) -> None:
    _, offered, meter = tiny.train(tmp_path, GRPO(**{**COMMON, "rollouts": 1}))
    assert (meter.bill()["prompts"], len(offered.prompts)) == (4, 32)


def test_fewer_prompts_than_a_rollout_takes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="takes 4 different prompts, and there are 3"):
        tiny.train(tmp_path, METHODS[1], budget=Budget(prompts=3))


def test_the_critic_follows_the_policys_learning_rate(
    tmp_path: Path, captured: list[OnPolicyTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    factors: list[float] = []
    monkeypatch.setattr(CriticTraining, "step", lambda self, factor: factors.append(factor))
    tiny.train(tmp_path, PPO(**COMMON, minibatches=2, epochs=1))
    assert factors == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_sampled_kl_of_the_start_model_is_zero(
    tmp_path: Path, captured: list[OnPolicyTrainer]
) -> None:
    _, offered, _ = tiny.train(tmp_path, METHODS[0])
    first = offered.facts["logs"][0]
    assert first["sequence_kl"] == pytest.approx(0.0, abs=1e-4)


def test_no_module_of_ours_shadows_vllm() -> None:
    # A module named vllm.py on the path breaks TRL's imports (bite 11).
    package = Path(onpolicy.__file__).parents[1]
    assert not list(package.rglob("vllm.py"))
