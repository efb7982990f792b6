"""Groups whose responses come from several temperatures and several models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from alignbench.engines.sampler import TransformersSampler
from alignbench.methods.grpo import GRPO, Mix
from alignbench.methods.onpolicy import Slot
from alignbench.methods.reinforce import Reinforce
from alignbench.models.decode import Completion, Decoding, sample
from alignbench.models.load import load_policy, weights_digest
from alignbench.models.logprobs import token_logprobs
from alignbench.models.padding import left_pad, right_pad
from alignbench.models.text import encode_prompt
from alignbench.training import onpolicy_run
from alignbench.training.mixed import Answers, answer, other_prompts, tempered_logprobs
from alignbench.training.onpolicy import OnPolicyTrainer
from tests import tiny

COMMON: dict[str, Any] = {"learning_rate": 1e-3, "rollouts": 2, "prompts_per_rollout": 4}
MIXED = GRPO(**COMMON, samples_per_prompt=4, mix=Mix(policy=2, sft=1, bad=1))
POLICY, SFT, BAD = (Slot(source, 1.0) for source in ("policy", "sft", "bad"))


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


def models(tmp_path: Path) -> tuple[Any, Any, Any]:
    """A policy, a start model that differs from it, and their tokenizer."""
    start, tokenizer = load_policy(tiny.start_folder(tmp_path))
    policy, _ = load_policy(tiny.start_folder(tmp_path))
    with torch.no_grad():
        policy.transformer.wte.weight.mul_(3)
    return policy, start, tokenizer


def sampled_logprobs(
    model: Any, tokenizer: Any, prompt: str, done: Completion, heat: float
) -> list[float]:
    """Of the response as an answer to `prompt`, at a temperature: one row, no padding."""
    ids = encode_prompt(tokenizer, prompt)
    logits = model(torch.tensor([[*ids, *done.ids]])).logits[0, len(ids) - 1 : -1]
    found = (logits / heat).log_softmax(-1).gather(-1, torch.tensor(done.ids)[:, None])
    return list(found[:, 0].tolist())


def test_each_slot_is_answered_by_its_own_model_at_its_own_temperature(tmp_path: Path) -> None:
    policy, start, tokenizer = models(tmp_path)
    slots = [Slot("policy", 0.5), Slot("policy", 2.0), Slot("sft", 1.0), Slot("bad", 1.0)]
    prompts = [prompt for prompt in tiny.PROMPTS[:3] for _ in slots]
    answers = answer(
        slots,
        prompts,
        TransformersSampler(policy, tokenizer),
        TransformersSampler(start, tokenizer),
        tokenizer,
        tiny.LIMIT,
        7,
    )
    assert answers.slots == slots * 3
    for row, (slot, done) in enumerate(zip(answers.slots, answers.completions, strict=True)):
        model = policy if slot.source == "policy" else start
        # A bad answer was given to the next prompt, and is scored and trained on with its own.
        asked = tiny.PROMPTS[(row // 4 + 1) % 3] if slot.source == "bad" else prompts[row]
        expected = sampled_logprobs(model, tokenizer, asked, done, slot.temperature)
        assert done.logprobs == pytest.approx(expected, abs=1e-4)
        assert answers.prompt_ids[row] == encode_prompt(tokenizer, prompts[row])


def test_one_slot_of_the_policy_is_one_plain_call(tmp_path: Path) -> None:
    policy, _, tokenizer = models(tmp_path)
    prompts = [prompt for prompt in tiny.PROMPTS for _ in range(2)]
    answers = answer(
        [POLICY] * 2,
        prompts,
        TransformersSampler(policy, tokenizer),
        None,
        tokenizer,
        tiny.LIMIT,
        7,
    )
    ids = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    decoding = Decoding(tiny.LIMIT, 1.0)
    assert answers.completions == sample(policy, tokenizer, ids, decoding, 7, 3)


def test_temperatures_of_a_ladder_share_no_random_numbers(tmp_path: Path) -> None:
    # With the numbers of the first call, two nearly equal temperatures would answer alike.
    _, start, tokenizer = models(tmp_path)
    slots = [Slot("policy", 1.0), Slot("policy", 1.0001), SFT]
    prompts = [prompt for prompt in tiny.PROMPTS * 4 for _ in slots]
    own = TransformersSampler(start, tokenizer)
    answers = answer(slots, prompts, own, own, tokenizer, tiny.LIMIT, 7)
    first, second, third = (
        [done.ids for done in answers.completions[k::3]] for k in range(len(slots))
    )
    for one, other in ((first, second), (first, third), (second, third)):
        assert sum(x == y for x, y in zip(one, other, strict=True)) < 4


def test_bad_answers_belong_to_the_prompts_that_follow() -> None:
    rows = [POLICY, BAD, BAD, BAD] * 3
    prompts = ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    assert other_prompts(prompts, rows) == {
        1: "b", 2: "c", 3: "b",
        5: "c", 6: "a", 7: "c",
        9: "a", 10: "b", 11: "a",
    }  # fmt: skip


def test_a_prompt_drawn_twice_is_not_another_prompt() -> None:
    assert other_prompts(["a", "a", "b"], [BAD] * 3) == {0: "b", 1: "b", 2: "a"}
    assert other_prompts(["a", "a"], [BAD] * 2) == {}


def test_log_probabilities_at_every_rows_own_temperature(tmp_path: Path) -> None:
    policy, _, tokenizer = models(tmp_path)
    prompts = [encode_prompt(tokenizer, prompt) for prompt in tiny.PROMPTS]
    responses = [[4, 5, 0], [6, 0], [7, 8, 9, 0], [3, 0]]
    heats = torch.tensor([2.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    (ids, mask), (more, more_mask) = (
        pad(rows, torch.device("cpu"), 1)
        for pad, rows in ((left_pad, prompts), (right_pad, responses))
    )
    found, entropies = tempered_logprobs(
        policy, torch.cat([ids, more], 1), torch.cat([mask, more_mask], 1), 4, heats
    )
    for row, (text, response) in enumerate(zip(tiny.PROMPTS, responses, strict=True)):
        done = Completion(response, True)
        expected = sampled_logprobs(policy, tokenizer, text, done, heats[row].item())
        assert found[row, : len(response)].tolist() == pytest.approx(expected, abs=1e-4)
    # At temperature 1 that is what `token_logprobs` gives.
    (plain,) = token_logprobs(policy, prompts[2:3], responses[2:3], 1)
    assert torch.allclose(found[2], plain, atol=1e-4)
    assert entropies.shape == found.shape


def test_ladder_and_mix_as_slots() -> None:
    method = GRPO(
        **COMMON,
        samples_per_prompt=8,
        temperature=0.9,
        temperatures=[0.5, 1.0],
        mix=Mix(policy=5, sft=2, bad=1),
    )
    assert [(slot.source, slot.temperature) for slot in method.slots] == [
        ("policy", 0.5), ("policy", 1.0), ("policy", 0.5), ("policy", 1.0), ("policy", 0.5),
        ("sft", 0.9), ("sft", 0.9), ("bad", 0.9),
    ]  # fmt: skip


def test_agreement_is_checked_at_the_temperatures_of_the_ladder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = GRPO(**COMMON, temperatures=[0.5, 0.8, 1.0, 1.5])
    _, offered, _ = tiny.train(tmp_path, method)
    assert offered.facts["rollout_logprob_error"] < 1e-4
    plain = Answers.temperatures
    monkeypatch.setattr(Answers, "temperatures", lambda *args: plain(*args).roll(1))
    with pytest.raises(RuntimeError, match="log-probabilities of rollout and training differ"):
        tiny.train(tmp_path, method)


def test_ratios_are_against_who_sampled(tmp_path: Path, captured: list[OnPolicyTrainer]) -> None:
    trained, offered, _ = tiny.train(tmp_path, MIXED)
    # The check leaves out rows of others: as samples of the policy they would not pass.
    assert offered.facts["rollout_logprob_error"] < 1e-4
    assert offered.facts["reference_digest"] == trained.digest
    trainer = captured[0]
    with torch.no_grad():  # a policy far from the start model
        trained.model.transformer.wte.weight.mul_(2)
    rows = [{"prompt": str(number)} for number in range(4) for _ in range(4)]
    batch = trainer._generate_and_score_completions(rows)
    answers, mask = trainer._answers, batch["completion_mask"]
    for row, (slot, done) in enumerate(zip(answers.slots, answers.completions, strict=True)):
        prompt = answers.prompts[row]
        start = load_policy(trained.folder)[0]
        model = trained.model if slot.source == "policy" else start
        if slot.source == "bad":
            prompt = tiny.PROMPTS[(row // 4 + 1) % 4]
        expected = sampled_logprobs(model, trained.tokenizer, prompt, done, 1.0)
        found = batch["old_per_token_logps"][row][mask[row].bool()].tolist()
        assert found == pytest.approx(expected, abs=1e-3)


def test_loss_of_a_mixed_group_by_hand(tmp_path: Path, captured: list[OnPolicyTrainer]) -> None:
    """-min(r A, clip(r) A) with r <= 10, mean over tokens, then over sequences; no KL."""
    method = MIXED.model_copy(update={"kl_coef": 0.0})
    trained, _, _ = tiny.train(tmp_path, method)
    trainer = captured[0]
    with torch.no_grad():
        trained.model.transformer.wte.weight.mul_(2)
    rows = [{"prompt": str(number)} for number in range(4) for _ in range(4)]
    batch = trainer._generate_and_score_completions(rows)
    batch["advantages"] = torch.linspace(-1, 1, 16).roll(5)
    batch["old_per_token_logps"][2::4] -= 3  # the SFT model's rows: ratios beyond the bound
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer._compute_loss(trainer.model, batch)
    expected, bounded = 0.0, 0
    for row, done in enumerate(trainer._answers.completions):
        prompt = trainer._answers.prompts[row]
        now = torch.tensor(sampled_logprobs(trained.model, trained.tokenizer, prompt, done, 1.0))
        ratio = (now - batch["old_per_token_logps"][row][: len(now)]).exp()
        a = float(batch["advantages"][row])
        bounded += int((ratio > 10).sum()) if a < 0 else 0
        token = -torch.minimum(ratio.clamp(max=10) * a, ratio.clamp(0.8, 1.2) * a)
        expected += token.mean().item() / 16
        if trainer._answers.slots[row].source == "policy":
            assert torch.allclose(ratio, torch.ones_like(ratio), atol=1e-3)
    assert bounded
    assert loss.item() == pytest.approx(expected, rel=1e-3)


def test_the_log_is_about_the_policys_samples(
    tmp_path: Path, captured: list[OnPolicyTrainer]
) -> None:
    _, offered, _ = tiny.train(tmp_path, MIXED)
    trainer, last = captured[0], offered.facts["logs"][1]
    raw = trainer._raw_scores.view(4, 4)
    assert last["reward_raw"] == pytest.approx(raw[:, :2].mean().item())
    assert last["reward_raw_sft"] == pytest.approx(raw[:, 2].mean().item())
    assert last["reward_raw_bad"] == pytest.approx(raw[:, 3].mean().item())
    finished = trainer._answers.finished().view(4, 4)[:, :2]
    assert last["finished"] == pytest.approx(finished.mean().item())


def test_mix_without_kl_loads_the_start_model(
    tmp_path: Path, captured: list[OnPolicyTrainer]
) -> None:
    trained, offered, _ = tiny.train(tmp_path, MIXED.model_copy(update={"kl_coef": 0.0}))
    assert captured[0].ref_model is None
    assert offered.facts["reference_digest"] == trained.digest
    assert weights_digest(captured[0].reference) == trained.digest


def test_mixed_group_and_ladder_learn(tmp_path: Path) -> None:
    method = GRPO(
        learning_rate=1e-2,
        rollouts=20,
        prompts_per_rollout=16,
        samples_per_prompt=4,
        kl_coef=0.02,
        missing_eos_penalty=0.0,
        temperatures=[0.8, 1.2],
        mix=Mix(policy=2, sft=1, bad=1),
    )
    trained, _, _ = tiny.train(tmp_path, method)
    assert tiny.good_share(trained) > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mix": Mix(policy=2, sft=1)}, "add up to 3, and samples_per_prompt is 4"),
        ({"mix": Mix(policy=3, bad=1), "prompts_per_rollout": 1}, "needs other prompts"),
        ({"temperatures": [1.0] * 5}, "5 are given, but the policy has 4 samples"),
        ({"mix": Mix(policy=1, sft=3), "temperatures": [0.5, 1.0]}, "the policy has 1 samples"),
        ({"loss": "dapo", "importance": "sequence"}, "importance: sequence goes with"),
        ({"loss": "luspo"}, "set it"),
        ({"loss": "sapo", "clip_high": 0.3}, "does not clip"),
        ({"loss": "cispo", "clip_high": 0.3}, "1 or more"),
    ],
)
def test_options_that_disagree_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GRPO(**{**COMMON, **options})


VARIANTS: list[dict[str, Any]] = [
    *({"loss": loss} for loss in ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo")),
    {"loss": "dapo", "clip_high": 0.28},
    *({"loss": loss, "importance": "sequence"} for loss in ("grpo", "sapo", "luspo")),
]


@pytest.mark.parametrize("mix", [None, Mix(policy=2, sft=1, bad=1)], ids=["pure", "mixed"])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(map(str, v.values())))
def test_every_loss_variant_trains(
    variant: dict[str, Any], mix: Mix | None, tmp_path: Path, captured: list[OnPolicyTrainer]
) -> None:
    method = GRPO(**{**COMMON, "rollouts": 1}, **variant, mix=mix, minibatches=2)
    trained, offered, meter = tiny.train(tmp_path, method)
    args = captured[0].args
    assert args.loss_type == variant["loss"]
    assert args.importance_sampling_level == variant.get("importance", "token")
    assert meter.bill()["optimizer_steps"] == 2
    assert weights_digest(trained.model) != trained.digest
    assert all(torch.isfinite(p).all() for p in trained.model.parameters())
    assert all("loss" in line for line in offered.facts["logs"][:2])


@pytest.mark.parametrize(
    ("method", "low", "high"),
    [
        (GRPO(**COMMON, clip=0.1), 0.1, 0.1),
        (GRPO(**COMMON, clip=0.1, clip_high=0.3), 0.1, 0.3),
        (GRPO(**COMMON, loss="cispo"), 0.2, 5.0),
        (Reinforce(**COMMON, clip=0.1), 0.1, 0.1),
    ],
)
def test_clips_reach_the_loss(method: Any, low: float, high: float, tmp_path: Path) -> None:
    subject = tiny.policy(tiny.start_folder(tmp_path))
    args = onpolicy_run._arguments(method, tiny.inputs(tmp_path, subject, method))
    assert (args.epsilon, args.epsilon_high) == (low, high)
