"""The loop that all on-policy methods share: a subclass of TRL's GRPOTrainer.

Why TRL's trainer and not a loop of our own: its loss takes per-token advantages, and it brings
accelerate, DeepSpeed, vLLM rollouts, callbacks and resume along. What we replace, and why:

* rollouts are ours (`models.decode.sample`), so that training samples exactly as evaluation does;
* rewards are ours (`models.reward.RewardScorer` on token ids): TRL scores re-tokenised text
  without EOS, which is not what the reward model was trained on;
* advantages come from the method; the reference of a KL-in-reward method is the harness's, loaded
  from the certified checkpoint, and the one TRL loads for a KL-in-loss method is checked by digest;
* GPT-2 gets `position_ids` (TRL pads prompts to the left and passes none);
* log-probabilities come from `models.logprobs` over rows of similar length: TRL pads a rollout to
  its longest answer, and its fused LM head computes every logit twice.

`tests/training/test_onpolicy.py` pins every behaviour of TRL that this relies on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import TrainerCallback, set_seed
from trl import GRPOConfig, GRPOTrainer

from alignbench.methods.base import Inputs, Policy
from alignbench.models.decode import Decoding, sample
from alignbench.models.load import install_position_ids, weights_digest
from alignbench.models.logprobs import padded_logprobs
from alignbench.models.text import encode_prompt
from alignbench.training.batching import by_length
from alignbench.training.common import LogCallback, attach, trainer_arguments
from alignbench.training.critic import Critic, CriticOptimizer

if TYPE_CHECKING:
    from alignbench.methods.meter import Meter
    from alignbench.methods.onpolicy import OnPolicy

LOGPROB_TOLERANCE = {"fp32": 1e-3, "bf16": 0.5, "fp16": 0.1}
"""Largest difference allowed between a token's log-probability when sampled and when trained on;
cached and uncached forwards differ by rounding only."""


@dataclass(frozen=True)
class Rollout:
    """One batch of sampled responses, K per prompt next to each other.

    Attributes:
        scores: (B,) standardised reward-model scores, less the penalty for a missing EOS.
        mask: (B, T) 1 on response tokens, EOS included.
        logprobs: (B, T) of the sampled tokens under the policy, at the sampling temperature.
        reference_logprobs: (B, T) under the frozen reference, None when the method holds none.
        values: (B, T) critic's V(s_t), None without a critic.
        samples_per_prompt: K.
    """

    scores: Tensor
    mask: Tensor
    logprobs: Tensor
    reference_logprobs: Tensor | None
    values: Tensor | None
    samples_per_prompt: int

    def sequence_kl(self) -> Tensor:
        """(B,) sum over tokens of log(pi/pi_ref): the sampled estimate of the sequence KL.

        Raises:
            ValueError: the method holds no reference.
        """
        if self.reference_logprobs is None:
            raise ValueError("this method holds no reference model, so its KL is unknown")
        return ((self.logprobs - self.reference_logprobs) * self.mask).sum(dim=1)


class OnPolicyTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL ships no types
    """GRPOTrainer with our rollouts, rewards and advantages, and an optional critic."""

    def __init__(
        self,
        method: OnPolicy,
        policy: Policy,
        inputs: Inputs,
        meter: Meter,
        args: GRPOConfig,
    ) -> None:
        assert inputs.reward is not None
        self.method, self.inputs, self.meter, self.reward = method, inputs, meter, inputs.reward
        self.critic: Critic | None = None
        self.critic_optimizer: CriticOptimizer | None = None
        self._sampled_logprobs: list[Tensor] = []
        self._raw_scores = torch.empty(0)
        self._finished: list[bool] = []
        self.max_logprob_error: float | None = None
        super().__init__(
            model=policy.model,
            reward_funcs=self._score,
            args=args,
            train_dataset=Dataset.from_dict({"prompt": list(inputs.prompts)}),
            processing_class=policy.tokenizer,
            rollout_func=_rollout,
        )
        install_position_ids(self.model)
        self.reference = inputs.reference() if method.kl_in_reward > 0 else None
        if self.ref_model is not None:
            install_position_ids(self.ref_model)

    def attach_critic(self, critic: Critic, optimizer: CriticOptimizer) -> None:
        """Train `critic` beside the policy."""
        self.critic, self.critic_optimizer = critic, optimizer

    def _score(self, completion_ids: list[list[int]], **extra: Any) -> list[float]:
        """TRL's reward function: standardised scores less the missing-EOS penalty."""
        raw = self.reward.score_ids(extra["prompt_token_ids"], completion_ids)
        self._raw_scores = torch.tensor(raw, dtype=torch.float32)
        scores = torch.tensor(self.reward.standardized(raw), dtype=torch.float32)
        missing = torch.tensor([not done for done in self._finished], dtype=torch.float32)
        self._scores = scores - self.method.missing_eos_penalty * missing
        tokens = sum(map(len, completion_ids)) + sum(map(len, extra["prompt_token_ids"]))
        self.meter.charge(tokens_scored=tokens)
        return list(self._scores.tolist())

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's rollout, then the method's advantages in place of TRL's."""
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        keep = batch["completion_ids"].size(1)
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        device = ids.device
        logprobs = torch.zeros(len(ids), keep, device=device)
        for row, sampled in enumerate(self._sampled_logprobs):
            logprobs[row, : len(sampled)] = sampled.to(device)
        reference_logprobs = batch.get("ref_per_token_logps")
        values = None
        with torch.no_grad():
            if self.max_logprob_error is None:
                self._check_logprobs(ids, attention, logprobs, batch["completion_mask"])
            if self.reference is not None:
                # In the precision of the policy's, or rounding would pass for divergence.
                with self.accelerator.autocast():
                    reference_logprobs = self._logprobs(self.reference, ids, attention, keep)[0]
            if self.critic is not None:
                values = self._values(ids, attention, keep) * batch["completion_mask"]
        self._charge_scored(batch, attention)
        rollout = Rollout(
            self._scores.to(device),
            batch["completion_mask"],
            logprobs,
            reference_logprobs,
            values,
            self.method.samples_per_prompt,
        )
        batch["advantages"], extra = self.method.advantages(rollout)
        self._record(rollout)
        return {**batch, **extra}

    def _check_logprobs(
        self, ids: Tensor, attention: Tensor, sampled: Tensor, mask: Tensor
    ) -> None:
        """Fail if the policy that trains is not the policy that sampled (first rollout only)."""
        trained = self._logprobs(self.model, ids, attention, sampled.size(1))[0]
        self.max_logprob_error = float(((trained - sampled) * mask).abs().max())
        limit = LOGPROB_TOLERANCE[self.inputs.precision]
        if self.max_logprob_error > limit:
            raise RuntimeError(
                f"log-probabilities of rollout and training differ by {self.max_logprob_error:.2g} "
                f"(limit {limit}): positions, padding or dropout differ between the two"
            )

    def _logprobs(
        self, model: Any, ids: Tensor, attention: Tensor, keep: int
    ) -> tuple[Tensor, ...]:
        """(B, T) log-probabilities at the sampling temperature, and entropies."""

        def forward(ids: Tensor, attention: Tensor, keep: int) -> tuple[Tensor, ...]:
            return padded_logprobs(model, ids, attention, keep, self.method.temperature)

        return by_length(forward, ids, attention, keep)

    def _values(self, ids: Tensor, attention: Tensor, keep: int) -> Tensor:
        """(B, T) values of the critic."""
        assert self.critic is not None
        critic = self.critic
        return by_length(lambda *batch: (critic(*batch),), ids, attention, keep)[0]

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        **_: Any,
    ) -> tuple[Tensor, Tensor, None]:
        """TRL's hook for every log-probability it takes: policy, old policy and its reference."""
        with self.accelerator.autocast():
            logprobs, entropies = self._logprobs(model, input_ids, attention_mask, logits_to_keep)
        return logprobs, entropies, None

    def _charge_scored(self, batch: dict[str, Any], attention: Tensor) -> None:
        """Charge the forwards without gradient beside the reward model's."""
        tokens = int(attention.sum())
        passes = sum(
            (
                "old_per_token_logps" in batch,
                "ref_per_token_logps" in batch or self.reference is not None,
                self.critic is not None,
            )
        )
        self.meter.charge(
            tokens_generated=int(batch["completion_mask"].sum()),
            prompts=len(attention) // self.method.samples_per_prompt,
            tokens_scored=passes * tokens,
        )

    def _record(self, rollout: Rollout) -> None:
        """Log what the health rules read, under the same names for every method."""
        metrics = self._metrics["train"]
        metrics["reward_raw"].append(self._raw_scores.mean().item())
        metrics["reward_spread"].append(self._raw_scores.std().item())
        metrics["finished"].append(sum(self._finished) / len(self._finished))
        metrics["sampled_entropy"].append(-(rollout.logprobs.sum() / rollout.mask.sum()).item())
        if rollout.reference_logprobs is not None:
            metrics["sequence_kl"].append(rollout.sequence_kl().mean().item())

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """TRL's policy loss; the critic's loss is back-propagated on the side."""
        loss: Tensor = super()._compute_loss(model, inputs)
        attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        self.meter.charge(tokens_trained=int(attention.sum()))
        if self.critic is not None:
            self._critic_backward(inputs, attention)
        return loss

    def _critic_backward(self, inputs: dict[str, Any], attention: Tensor) -> None:
        from alignbench.training.advantages import clipped_value_loss

        assert self.critic is not None
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        values = self._values(ids, attention, inputs["completion_ids"].size(1))
        loss = clipped_value_loss(
            values,
            inputs["old_values"],
            inputs["returns"],
            inputs["completion_mask"],
            self.method.value_clip,  # type: ignore[attr-defined]  # only PPO has a critic
        )
        (loss / self.current_gradient_accumulation_steps).backward()
        self.meter.charge(tokens_trained=int(attention.sum()))
        self._metrics["train"]["value_loss"].append(loss.item())


def _rollout(prompts: list[str], trainer: OnPolicyTrainer) -> dict[str, Any]:
    """TRL's rollout function: sample one response per entry of `prompts` (already repeated K x)."""
    method, tokenizer = trainer.method, trainer.processing_class
    prompt_ids = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    decoding = Decoding(trainer.inputs.max_response_tokens, method.temperature)
    # The step in the seed makes every rollout differ, and a resumed run equal an unbroken one.
    seed = trainer.inputs.seed * 1_000_003 + trainer.state.global_step
    model = trainer.accelerator.unwrap_model(trainer.model)
    was_training = model.training
    model.eval()
    completions = sample(model, tokenizer, prompt_ids, decoding, seed, len(prompt_ids))
    model.train(was_training)
    trainer._sampled_logprobs = [torch.tensor(done.logprobs) for done in completions]
    trainer._finished = [done.finished for done in completions]
    return {
        "prompt_ids": prompt_ids,
        "completion_ids": [done.ids for done in completions],
        "logprobs": None,
        "prompt_token_ids": prompt_ids,
    }


class _StepCallback(TrainerCallback):  # type: ignore[misc]
    """Steps the critic with the policy and counts optimizer steps."""

    def __init__(self, trainer: OnPolicyTrainer) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        critic = self.trainer.critic_optimizer
        if critic is not None:
            rate = self.trainer.lr_scheduler.get_last_lr()[0]
            critic.step(rate / args.learning_rate)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.meter.charge(optimizer_steps=1)


def _arguments(method: OnPolicy, inputs: Inputs) -> GRPOConfig:
    """GRPOConfig in which every field that TRL would default to something else is set."""
    batch = method.prompts_per_rollout * method.samples_per_prompt
    pieces = method.minibatches * method.gradient_accumulation
    steps = method.rollouts * method.minibatches * method.epochs
    return GRPOConfig(
        **trainer_arguments(inputs.scratch, inputs.precision, inputs.seed),
        per_device_train_batch_size=batch // pieces,
        gradient_accumulation_steps=method.gradient_accumulation,
        steps_per_generation=pieces,
        num_iterations=method.epochs,
        num_generations=method.samples_per_prompt,
        max_steps=steps,
        learning_rate=method.learning_rate,
        lr_scheduler_type=(
            "constant_with_warmup" if method.schedule == "constant" else method.schedule
        ),
        warmup_steps=method.warmup_fraction,  # below 1: a fraction
        max_grad_norm=method.max_grad_norm,
        weight_decay=0.0,
        temperature=method.temperature,
        max_completion_length=inputs.max_response_tokens,
        beta=method.kl_in_loss,
        epsilon=method.clip,
        epsilon_high=method.clip,
        loss_type=method.loss_type,
        scale_rewards="none",  # the advantages are ours
        disable_dropout=True,
        shuffle_dataset=True,
        logging_steps=1,
    )


def train_on_policy(method: OnPolicy, policy: Policy, inputs: Inputs, meter: Meter) -> None:
    """Train `policy.model` in place with the on-policy method.

    Raises:
        RuntimeError: TRL's reference is not the start model, or sampling and training disagree.
    """
    from alignbench.methods.ppo import PPO

    args = _arguments(method, inputs)
    trainer = OnPolicyTrainer(method, policy, inputs, meter, args)
    if trainer.ref_model is not None and weights_digest(trainer.ref_model) != policy.digest:
        raise RuntimeError("TRL's reference model is not the start model (digests differ)")
    held = trainer.ref_model if trainer.ref_model is not None else trainer.reference
    inputs.facts["reference_digest"] = None if held is None else weights_digest(held)
    if isinstance(method, PPO):
        assert inputs.reward is not None
        critic = Critic(inputs.reward).to(trainer.accelerator.device)
        rate = method.critic_learning_rate or method.learning_rate
        trainer.attach_critic(critic, CriticOptimizer(critic, rate, method.max_grad_norm))
    attach(trainer, _StepCallback(trainer), LogCallback(inputs.log, inputs.progress))
    set_seed(inputs.seed)
    trainer.train()
    inputs.facts["rollout_logprob_error"] = trainer.max_logprob_error
