"""The loop that all on-policy methods share: a subclass of TRL's GRPOTrainer.

Why TRL's trainer and not a loop of our own: its loss takes per-token advantages, and it brings
accelerate, DeepSpeed, vLLM rollouts, callbacks and resume along. What we replace, and why:

* rollouts are ours (`training.mixed`, `models.decode.sample`), so that training samples exactly as
  evaluation does; TRL is given the prompts' numbers, since reading a prompt puts it on the bill;
* rewards are ours (`models.reward.RewardScorer` on token ids): TRL scores re-tokenised text
  without EOS, which is not what the reward model was trained on;
* advantages come from the method; the reference is the harness's, be its KL in the reward or in the
  loss: TRL would load whatever `config._name_or_path` names;
* GPT-2 gets `position_ids` (TRL pads prompts to the left and passes none);
* log-probabilities come from `models.logprobs` over rows of similar length: TRL pads a rollout to
  its longest answer, and its fused LM head computes every logit twice;
* the learning rate follows the budget, and the training ends with it.

`tests/training/test_onpolicy.py` pins every behaviour of TRL that this relies on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from datasets import Dataset
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from alignbench.engines.sampler import TransformersSampler
from alignbench.methods.base import Inputs, Policy
from alignbench.models.load import install_position_ids
from alignbench.training.advantages import Rollout
from alignbench.training.common import budget_schedule
from alignbench.training.critic import CriticTraining
from alignbench.training.mixed import Answers, answer, tempered_logprobs
from alignbench.training.online_reward import OnlineRewardModel

if TYPE_CHECKING:
    from alignbench.metering.meter import Meter

LOGPROB_TOLERANCE = {"fp32": 1e-3, "bf16": 0.3, "fp16": 0.1}
"""Largest difference allowed between the log-probabilities of a row's tokens when sampled and when
trained on, as a mean over the row; cached and uncached forwards differ by rounding only. In bf16
single tokens differ by 0.2 to 0.6 by rounding alone, a row of SmolLM2-135M by 0.05 on average at
most, and by 0.7 and more where positions or padding are wrong."""


class OnPolicyTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL ships no types
    """GRPOTrainer with our rollouts, rewards, advantages and schedule, and an optional critic."""

    def __init__(
        self,
        method: Any,  # an `Online`; a subclass names its own
        policy: Policy,
        inputs: Inputs,
        meter: Meter,
        args: GRPOConfig,
    ) -> None:
        assert inputs.reward is not None
        self.method, self.inputs, self.meter = method, inputs, meter
        self.online_reward: OnlineRewardModel | None = None
        if method.online_reward is not None:
            self.online_reward = OnlineRewardModel(method.online_reward, inputs, meter)
        self.reward = self.online_reward or inputs.reward
        self.critic: CriticTraining | None = None
        self.rollouts_done = 0
        self.logprob_error: float | None = None
        self._answers = Answers([], [], [], [])
        self._temperatures = torch.empty(0)  # of the rows that TRL asks log-probabilities of
        self._raw_scores = self._scores = torch.empty(0)
        self._batch_scores: Tensor | None = None  # of the rows that the loss is taken on
        super().__init__(
            model=policy.model,
            reward_funcs=self._score,
            args=args,
            train_dataset=Dataset.from_dict(
                {"prompt": [str(number) for number in range(len(inputs.prompts))]}
            ),
            processing_class=policy.tokenizer,
            rollout_func=_rollout,
        )
        install_position_ids(self.model)
        kl_in_loss = float(method.loss_settings().get("beta", 0.0))
        self.reference: Any = None
        others = any(slot.source != "policy" for slot in method.slots)
        if kl_in_loss > 0 or method.holds_reference or others:
            self.reference = inputs.reference()
            if isinstance(self.reference, torch.nn.Module):
                self.reference = self.accelerator.prepare_model(
                    self.reference, evaluation_mode=True
                )
        # TRL was told of no KL term, for it would load the reference from `config._name_or_path`.
        self.beta, self.ref_model = kl_in_loss, self.reference if kl_in_loss > 0 else None

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> Any:
        """A schedule that ends with the budget or the rollouts, whichever comes first."""
        if self.lr_scheduler is None:
            self.lr_scheduler: Any = budget_schedule(
                optimizer or self.optimizer,
                self.method.schedule,
                self.method.warmup_fraction,
                self.meter,
                None if self.method.rollouts is None else num_training_steps,
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _score(self, completion_ids: list[list[int]], **_: Any) -> list[float]:
        """TRL's reward function: standardised scores less the missing-EOS penalty."""
        raw = self.reward.score_ids(self._answers.prompt_ids, completion_ids)
        self._raw_scores = torch.tensor(raw, dtype=torch.float32)
        scores = torch.tensor(self.reward.standardized(raw), dtype=torch.float32)
        missing = 1 - self._answers.finished()
        self._scores = scores - self.method.missing_eos_penalty * missing
        return list(self._scores.tolist())

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's rollout, then what the method makes of it in place of TRL's advantages."""
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        mask = batch["completion_mask"]
        keep, device = mask.size(1), mask.device
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        attention = torch.cat([batch["prompt_mask"], mask], dim=1)
        logprobs = self._answers.logprobs(keep, device)
        batch["temperatures"] = self._temperatures
        reference_logprobs = batch.get("ref_per_token_logps")
        values = None
        with torch.no_grad():
            if self.logprob_error is None:
                self._check_logprobs(ids, attention, logprobs, mask)
            if self.method.holds_reference:
                with self.accelerator.autocast():
                    reference_logprobs, _ = tempered_logprobs(
                        self.reference, ids, attention, keep, self._temperatures
                    )
            if self.critic is not None:
                values = self.critic.values(ids, attention, keep) * mask
            self._set_behaviour(batch, ids, attention, logprobs)
            own = logprobs
            if self.inputs.precision != "fp32" and self.method.holds_reference:
                # Decoding rounds its logits, and the reference's are not: the difference would
                # pass for divergence. So the policy is scored as the reference is.
                own = self._recomputed(batch, ids, attention, keep)
        rollout = Rollout(
            self._scores.to(device),
            mask,
            own,
            reference_logprobs,
            values,
            self.method.samples_per_prompt,
        )
        batch = self._training_batch(batch, rollout)
        self._record(rollout)
        self._refresh_reward()
        return batch

    def _recomputed(
        self, batch: dict[str, Any], ids: Tensor, attention: Tensor, keep: int
    ) -> Tensor:
        """(B, T) log-probabilities of the policy before its update, in training's precision."""
        if (old := batch.get("old_per_token_logps")) is not None:
            return cast(Tensor, old)
        with self.accelerator.autocast():
            return tempered_logprobs(self.model, ids, attention, keep, self._temperatures)[0]

    def _training_batch(self, batch: dict[str, Any], rollout: Rollout) -> dict[str, Any]:
        """What TRL shuffles, cuts into micro-batches and gives to the loss."""
        advantages, extra = self.method.advantages(rollout)
        return {**batch, "advantages": advantages, "scores": rollout.scores, **extra}

    def _check_logprobs(
        self, ids: Tensor, attention: Tensor, sampled: Tensor, mask: Tensor
    ) -> None:
        """Fail if the policy that trains is not the policy that sampled (first rollout only).

        Each row at its own temperature; rows that others sampled are not compared.
        """
        own = self._answers.on_policy(ids.device)
        with self.accelerator.autocast():
            trained, _ = tempered_logprobs(
                self.model, ids[own], attention[own], sampled.size(1), self._temperatures[own]
            )
        apart = ((trained - sampled[own]) * mask[own]).abs().sum(dim=1)
        self.logprob_error = float((apart / mask[own].sum(dim=1).clamp(min=1)).max())
        limit = LOGPROB_TOLERANCE[self.inputs.precision]
        if self.logprob_error > limit:
            raise RuntimeError(
                f"log-probabilities of rollout and training differ by {self.logprob_error:.2g} a "
                f"token (limit {limit}): positions, padding or dropout differ between the two"
            )

    def _set_behaviour(
        self, batch: dict[str, Any], ids: Tensor, attention: Tensor, sampled: Tensor
    ) -> None:
        """Let the ratio of rows that others sampled be against those who sampled them.

        The policy's own rows keep TRL's old log-probabilities, which are computed here where TRL
        would take the loss's own: ratios of the one update per rollout must be exactly 1.
        """
        own = self._answers.on_policy(ids.device)
        if own.all():
            return
        old = batch.get("old_per_token_logps")
        if old is None:
            old = torch.zeros_like(sampled)
            with self.accelerator.autocast():
                old[own], _ = tempered_logprobs(
                    self.model, ids[own], attention[own], old.size(1), self._temperatures[own]
                )
        batch["old_per_token_logps"] = torch.where(own[:, None], old, sampled)

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
            logprobs, entropies = tempered_logprobs(
                model, input_ids, attention_mask, logits_to_keep, self._temperatures
            )
        if logprobs.requires_grad:
            logprobs.register_hook(self._record_push)  # type: ignore[no-untyped-call]
        return logprobs, entropies, None

    def _record_push(self, gradient: Tensor) -> None:
        """Log `push`: whether the loss raises the responses that scored high.

        Correlation over the rows of a pass of their scores with minus the gradient of the loss by
        their log-probability: near 1 for a policy gradient, near -1 where a sign is wrong. The
        gradient is at hand in the backward pass, so it costs nothing.
        """
        if self._batch_scores is None:
            return
        pair = torch.stack([self._batch_scores.float(), -gradient.sum(dim=1).float()])
        if (pair.std(dim=1) > 0).all():
            apart = pair - pair.mean(dim=1, keepdim=True)
            # By hand: the matrix product of torch.corrcoef would be on the bill of a counter.
            product = apart.prod(dim=0).sum() / apart.square().sum(dim=1).prod().sqrt()
            self._metrics["train"]["push"].append(product.item())

    def _record(self, rollout: Rollout) -> None:
        """Log what the health rules read, of the policy's samples, under the same names for all."""
        metrics = self._metrics["train"]
        own = self._answers.on_policy(torch.device("cpu"))
        raw = self._raw_scores[own]
        metrics["reward_raw"].append(raw.mean().item())
        metrics["reward_spread"].append(raw.std().item())
        metrics["finished"].append(self._answers.finished()[own].mean().item())
        rows = own.to(rollout.mask.device)
        logprobs, mask = rollout.logprobs[rows], rollout.mask[rows]
        metrics["sampled_entropy"].append(-(logprobs.sum() / mask.sum()).item())
        if rollout.reference_logprobs is not None:
            metrics["sequence_kl"].append(rollout.sequence_kl()[rows].mean().item())
        for source in ("sft", "bad"):
            other = torch.tensor([slot.source == source for slot in self._answers.slots])
            if other.any():
                metrics[f"reward_raw_{source}"].append(self._raw_scores[other].mean().item())

    def _refresh_reward(self) -> None:
        """Refresh the reward model when it is due, unless no rollout is left to profit."""
        self.rollouts_done += 1
        online = self.online_reward
        if online is None or self.rollouts_done % online.options.every:
            return
        if self.rollouts_done == self.method.rollouts:
            return
        agreement = online.refresh(self._answers, self._raw_scores.tolist())
        if agreement is not None:
            self._metrics["train"]["reward_agreement"].append(agreement)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """TRL's policy loss; the critic's loss is back-propagated on the side."""
        self._temperatures, self._batch_scores = inputs["temperatures"], inputs["scores"]
        loss: Tensor = super()._compute_loss(model, inputs)
        if self.critic is not None:
            value_loss = self.critic.backward(inputs, self.current_gradient_accumulation_steps)
            self._metrics["train"]["value_loss"].append(value_loss)
        return loss


def _rollout(numbers: list[str], trainer: OnPolicyTrainer) -> dict[str, Any]:
    """TRL's rollout function: sample one response per entry of `numbers` (already repeated K x)."""
    inputs, tokenizer = trainer.inputs, trainer.processing_class
    model = trainer.accelerator.unwrap_model(trainer.model)
    reference = trainer.reference
    answers = answer(
        trainer.method.slots,
        [inputs.prompts[int(number)] for number in numbers],
        inputs.sampler(model, tokenizer),
        # An engine holds one model, and this one is in memory.
        None if reference is None else TransformersSampler(reference, tokenizer, note=inputs.note),
        tokenizer,
        inputs.max_response_tokens,
        # The step in the seed makes every rollout differ, and a resumed run equal an unbroken one.
        inputs.seed * 1_000_003 + trainer.state.global_step,
    )
    trainer._answers = answers
    trainer._temperatures = answers.temperatures(trainer.accelerator.device)
    return {
        "prompt_ids": answers.prompt_ids,
        "completion_ids": [completion.ids for completion in answers.completions],
        "logprobs": None,
    }
