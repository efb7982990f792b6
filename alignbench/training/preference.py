"""Direct preference optimisation through TRL's DPOTrainer, for every method that trains on pairs.

What is ours: token ids (prompt and response tokenised apart, EOS at the end of every response, as
the reward model and the rollouts have them), the reference (loaded from the certified checkpoint
and checked by digest, where TRL would reload whatever `config._name_or_path` names), and the logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from transformers import TrainerCallback, set_seed
from trl import DPOConfig, DPOTrainer

from alignbench.errors import UserError
from alignbench.methods.base import Inputs, Pair, Policy
from alignbench.models.load import install_position_ids, weights_digest
from alignbench.models.text import encode_prompt, encode_response
from alignbench.training.common import (
    LogCallback,
    attach,
    grouped_by_length,
    trainer_arguments,
)
from alignbench.training.lm_head import use_plain_head

if TYPE_CHECKING:
    from alignbench.methods.dpo import DPO
    from alignbench.methods.meter import Meter


def tokenize_pairs(tokenizer: Any, pairs: Sequence[Pair], max_response: int) -> Dataset:
    """Columns prompt_ids, chosen_ids, rejected_ids (cut at `max_response` tokens) and length."""
    rows = []
    for pair in pairs:
        prompt = encode_prompt(tokenizer, pair.prompt)
        chosen = encode_response(tokenizer, pair.chosen)[:max_response]
        rejected = encode_response(tokenizer, pair.rejected)[:max_response]
        length = len(prompt) + max(len(chosen), len(rejected))
        rows.append(
            {
                "prompt_ids": prompt,
                "chosen_ids": chosen,
                "rejected_ids": rejected,
                "length": length,
            }
        )
    return Dataset.from_list(rows)


class PreferenceTrainer(DPOTrainer):  # type: ignore[misc]  # TRL ships no types
    """DPOTrainer on pairs that are token ids already, charging the meter."""

    meter: Meter

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        """Nothing to do: TRL would re-tokenise text across the prompt's border."""
        return dataset

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        tokens = int(inputs["attention_mask"].sum())
        self.meter.charge(tokens_trained=tokens, tokens_scored=tokens)
        return super()._compute_loss(model, inputs, return_outputs)


class _StepCallback(TrainerCallback):  # type: ignore[misc]
    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.meter.charge(optimizer_steps=1)


def train_on_pairs(
    options: DPO, policy: Policy, pairs: Sequence[Pair], inputs: Inputs, meter: Meter
) -> None:
    """Train `policy.model` in place on `pairs`.

    Raises:
        UserError: no pairs.
        RuntimeError: the reference is not the start model.
    """
    if not pairs:
        raise UserError(f"{options.name}: there are no preference pairs to train on")
    reference = inputs.reference()
    trainer = PreferenceTrainer(
        model=policy.model,
        ref_model=reference,
        args=DPOConfig(
            **trainer_arguments(inputs.scratch, inputs.precision, inputs.seed),
            **grouped_by_length(),
            per_device_train_batch_size=options.batch_size,
            gradient_accumulation_steps=options.gradient_accumulation,
            num_train_epochs=options.epochs,
            learning_rate=options.learning_rate,
            lr_scheduler_type=(
                "constant_with_warmup" if options.schedule == "constant" else options.schedule
            ),
            warmup_steps=options.warmup_fraction,  # below 1: a fraction
            max_grad_norm=options.max_grad_norm,
            weight_decay=0.0,
            beta=options.beta,
            loss_type=[options.loss],
            label_smoothing=options.label_smoothing,
            max_length=None,
            disable_dropout=True,
            logging_steps=options.logging_steps,
        ),
        train_dataset=tokenize_pairs(policy.tokenizer, pairs, inputs.max_response_tokens),
        processing_class=policy.tokenizer,
    )
    trainer.meter = meter
    install_position_ids(trainer.model)
    use_plain_head(trainer.model)
    use_plain_head(trainer.ref_model)
    inputs.facts["reference_digest"] = weights_digest(trainer.ref_model)
    if inputs.facts["reference_digest"] != policy.digest:
        raise RuntimeError("the reference model is not the start model (digests differ)")
    attach(trainer, _StepCallback(meter), LogCallback(inputs.log, inputs.progress))
    meter.charge(prompts=len({pair.prompt for pair in pairs}))
    set_seed(inputs.seed)
    trainer.train()
