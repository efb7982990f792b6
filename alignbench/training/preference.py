"""One loop for DPO, IPO, KTO, ORPO, SimPO and other methods on pairs, upon TRL's DPOTrainer.

What is ours: token ids (prompt and response tokenised apart, EOS at the end of every response, as
the reward model and the rollouts have them), the reference (its log-probabilities come with human
pairs, computed once; else it is loaded from the certified checkpoint and checked by digest, where
TRL would reload whatever `config._name_or_path` names; none at all for a method without one), the
losses that DPOTrainer does not have, the end by budget, and the logs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import set_seed
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import add_fused_lm_head

from alignbench.errors import UserError
from alignbench.methods.base import Inputs, Pair, Policy
from alignbench.models.load import install_position_ids, weights_digest
from alignbench.models.text import encode_prompt, encode_response
from alignbench.training.common import (
    UNLIMITED_STEPS,
    BudgetCallback,
    LogCallback,
    attach,
    budget_schedule,
    grouped_by_length,
    trainer_arguments,
)
from alignbench.training.lm_head import use_plain_head
from alignbench.training.preference_losses import PairLogprobs, PairLosses

if TYPE_CHECKING:
    from alignbench.metering.meter import Meter
    from alignbench.methods.preference import PreferenceMethod

_MISMATCHED = "mismatched_"


def tokenize_pairs(tokenizer: Any, pairs: Sequence[Pair], max_response: int) -> Dataset:
    """Columns prompt_ids, chosen_ids, rejected_ids (cut at `max_response` tokens) and length.

    And TRL's columns of the reference's log-probabilities, where all pairs bring theirs.
    """
    known = all(pair.reference is not None for pair in pairs)
    rows = []
    for pair in pairs:
        prompt = encode_prompt(tokenizer, pair.prompt)
        chosen = encode_response(tokenizer, pair.chosen)[:max_response]
        rejected = encode_response(tokenizer, pair.rejected)[:max_response]
        length = len(prompt) + max(len(chosen), len(rejected))
        row = {
            "prompt_ids": prompt,
            "chosen_ids": chosen,
            "rejected_ids": rejected,
            "length": length,
        }
        if known and pair.reference is not None:
            row["ref_chosen_logps"], row["ref_rejected_logps"] = pair.reference
        rows.append(row)
    return Dataset.from_list(rows)


class MismatchCollator(DataCollatorForPreference):  # type: ignore[misc]  # TRL ships no types
    """Also collates each prompt with the responses to the prompt before it, as `mismatched_*`."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's columns, and the same ones prefixed; no prefixed ones for a single example."""
        batch: dict[str, Any] = super().torch_call(examples)
        if len(examples) > 1:
            before = [examples[-1], *examples[:-1]]
            mismatched = [
                {**other, "prompt_ids": own["prompt_ids"]}
                for own, other in zip(examples, before, strict=True)
            ]
            for name, tensor in super().torch_call(mismatched).items():
                batch[_MISMATCHED + name] = tensor
        return batch


class PreferenceTrainer(DPOTrainer):  # type: ignore[misc]
    """DPOTrainer on pairs that are token ids already, with the loss of `method`."""

    method: PreferenceMethod
    meter: Meter

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        """Nothing to do: TRL would re-tokenise text across the prompt's border."""
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        """Nothing to do: the columns are there, or no reference is wanted."""
        return dataset

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """A schedule that ends with the epochs or with the budget, whichever comes first."""
        self.lr_scheduler = budget_schedule(
            optimizer or self.optimizer,
            self.method.schedule,
            self.method.warmup_fraction,
            self.meter,
            num_training_steps,
        )
        return self.lr_scheduler

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        if self.method.trl_loss():
            return super()._compute_loss(model, inputs, return_outputs)
        batch = self._logprobs(model, inputs)
        result = self.method.losses(batch)
        self._record(batch, result)
        return result.loss.mean()

    def _logprobs(self, model: Any, inputs: Mapping[str, Tensor]) -> PairLogprobs:
        """What a loss may look at; rows of `inputs` are n chosen, then n rejected responses."""
        frozen: dict[str, Any] = {}
        with torch.no_grad():
            if _MISMATCHED + "input_ids" in inputs:
                frozen["mismatched_ratios"] = self.accelerator.gather(
                    response_logprobs(model, inputs, _MISMATCHED)
                    - response_logprobs(self.ref_model, inputs, _MISMATCHED)
                )
            if "ref_chosen_logps" in inputs:
                frozen["reference_chosen"] = inputs["ref_chosen_logps"]
                frozen["reference_rejected"] = inputs["ref_rejected_logps"]
            elif self.method.uses_reference:
                reference = response_logprobs(self.ref_model, inputs)
                frozen["reference_chosen"], frozen["reference_rejected"] = reference.chunk(2)
        tokens = inputs["completion_mask"].sum(1)
        return PairLogprobs(*response_logprobs(model, inputs).chunk(2), *tokens.chunk(2), **frozen)

    def _record(self, batch: PairLogprobs, result: PairLosses) -> None:
        """The log values that TRL's own losses have too, and the method's figures."""
        chosen = self.accelerator.gather(result.chosen_rewards.detach())
        rejected = self.accelerator.gather(result.rejected_rewards.detach())
        values = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": chosen - rejected,
            "rewards/accuracies": (chosen > rejected).float(),
            "logps/chosen": self.accelerator.gather(batch.chosen.detach()),
            "logps/rejected": self.accelerator.gather(batch.rejected.detach()),
            **{name: value.detach() for name, value in result.figures.items()},
        }
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name, value in values.items():
            metrics[name].append(value.mean().item())


def response_logprobs(model: Any, batch: Mapping[str, Tensor], prefix: str = "") -> Tensor:
    """Log-probability (B,) of each row's response, summed over its tokens.

    Args:
        model: a causal LM that TRL has patched (`add_fused_lm_head`).
        batch: input_ids, attention_mask and completion_mask (B, T), names prefixed by `prefix`.
    """
    ids = batch[prefix + "input_ids"]
    total: Tensor = model(
        input_ids=ids,
        attention_mask=batch[prefix + "attention_mask"],
        labels=ids.masked_fill(batch[prefix + "completion_mask"] == 0, -100),
        use_cache=False,
        fused_lm_head=True,
    ).log_probs.sum(1)
    return total


def train_on_pairs(
    method: PreferenceMethod, policy: Policy, pairs: Sequence[Pair], inputs: Inputs, meter: Meter
) -> None:
    """Train `policy.model` in place on `pairs`, until their epochs or the budget end.

    Raises:
        UserError: no pairs.
        RuntimeError: the reference is not the start model.
    """
    if not pairs:
        raise UserError(f"{method.name}: there are no preference pairs to train on")
    collator = MismatchCollator if method.uses_mismatches else DataCollatorForPreference
    dataset = tokenize_pairs(policy.tokenizer, pairs, inputs.max_response_tokens)
    scored = "ref_chosen_logps" in dataset.column_names
    live = method.uses_reference and (method.uses_mismatches or not scored)
    trainer = PreferenceTrainer(
        model=policy.model,
        args=_arguments(method, inputs),
        data_collator=collator(pad_token_id=policy.tokenizer.pad_token_id),
        train_dataset=dataset,
        processing_class=policy.tokenizer,
    )
    trainer.method, trainer.meter = method, meter
    install_position_ids(trainer.model)
    use_plain_head(trainer.model)
    if live:
        _hold(trainer, inputs.reference(), policy.digest)
    inputs.facts["reference_digest"] = policy.digest if method.uses_reference else None
    attach(trainer, BudgetCallback(meter), LogCallback(inputs.log, inputs.progress, meter))
    set_seed(inputs.seed)
    trainer.train()
    if meter.exhausted() is None:
        meter.finished_early(
            f"all {len(trainer.train_dataset)} pairs seen "
            f"{'once' if method.epochs == 1 else f'{method.epochs} times'} "
            f"(epochs: {method.epochs})"
        )


def _hold(trainer: PreferenceTrainer, reference: Any, digest: str) -> None:
    """Give the trainer a live reference, which must be the start model."""
    if weights_digest(reference) != digest:
        raise RuntimeError("the reference model is not the start model (digests differ)")
    if isinstance(reference, torch.nn.Module):
        # Of the policy without its adapter the head is there already.
        add_fused_lm_head(reference, outputs=("log_probs",))
        use_plain_head(reference)
        reference = trainer.accelerator.prepare_model(reference, evaluation_mode=True)
    trainer.ref_model, trainer.precompute_ref_logps = reference, False


def _arguments(method: PreferenceMethod, inputs: Inputs) -> DPOConfig:
    """Arguments of the trainer; the schedule is the trainer's own."""
    length: dict[str, Any] = (
        {"max_steps": UNLIMITED_STEPS}
        if method.epochs is None
        else {"num_train_epochs": method.epochs}
    )
    return DPOConfig(
        **trainer_arguments(
            inputs.scratch,
            inputs.precision,
            inputs.seed,
            inputs.training.gradient_checkpointing,
        ),
        **grouped_by_length(),
        **length,
        **method.trl_loss(),
        # TRL would load a reference of its own, unless told that its log-probabilities are there.
        precompute_ref_log_probs=True,
        per_device_train_batch_size=method.batch_size,
        gradient_accumulation_steps=method.gradient_accumulation,
        learning_rate=method.learning_rate,
        max_grad_norm=method.max_grad_norm,
        weight_decay=0.0,
        max_length=None,
        disable_dropout=True,
        logging_steps=method.logging_steps,
    )
