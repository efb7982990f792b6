"""Stage `sft`: supervised fine-tuning on responses; the checkpoint every method starts from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, Trainer, set_seed
from trl import SFTConfig, SFTTrainer

from alignbench.errors import UserError
from alignbench.files import read_jsonl
from alignbench.metering.meter import Meter
from alignbench.metering.watch import watch
from alignbench.models.load import load_policy, save_model, weights_digest
from alignbench.models.lora import add_lora
from alignbench.models.text import encode_prompt, encode_response
from alignbench.recipe.schema import Sft, Training
from alignbench.stage import StageContext
from alignbench.training.common import (
    LogCallback,
    attach,
    grouped_by_length,
    json_log,
    trainer_arguments,
    write_json,
)
from alignbench.training.memory import with_half_batch

IGNORED = -100
"""Label of tokens that no loss is taken on (torch's `cross_entropy`)."""


def run(ctx: StageContext) -> None:
    """Make ``model/`` (the best by validation loss), ``log.jsonl`` and ``metrics.json``.

    log.jsonl holds the curves: `loss` (training) and `eval_loss` (validation), nats per response
    token. `weights_digest` of metrics.json certifies the start of all methods.
    """
    settings = Sft.model_validate(ctx.config["sft"])
    with_half_batch(settings, ctx.note, lambda smaller: _train(ctx, smaller))


def _train(ctx: StageContext, settings: Sft) -> None:
    training = Training.model_validate(ctx.config.get("training", {}))
    model, tokenizer = load_policy(ctx.inputs["base"] / "model")
    if training.lora is not None:
        add_lora(model, training.lora, settings.seed)
    train = _examples(ctx, tokenizer, "sft")
    valid = _examples(ctx, tokenizer, "sft_valid")
    scratch = ctx.out / "scratch"
    meter = Meter()
    with watch(meter, model), json_log(ctx.out / "log.jsonl") as log:
        trainer = _ResponseTrainer(
            model=model,
            args=_arguments(settings, scratch, ctx.config["precision"], training, len(train)),
            train_dataset=train,
            eval_dataset=valid,
            processing_class=tokenizer,
        )
        attach(trainer, LogCallback(log, ctx.progress), EarlyStoppingCallback(settings.patience))
        set_seed(settings.seed)
        trainer.train()
        cost = meter.measured()
    state = trainer.state
    shutil.rmtree(scratch)
    best = trainer.model.eval()
    save_model(best, tokenizer, ctx.out / "model")
    metrics = {
        "train_examples": len(train),
        "valid_examples": len(valid),
        "steps": state.global_step,
        "micro_batch": settings.batch_size,
        "stopped_early": state.global_step < state.max_steps,
        "best_step": state.best_global_step,
        "best_valid_loss": state.best_metric,
        "consumed": meter.bill(),
        "weights_digest": weights_digest(best),
    }
    write_json(ctx.out / "metrics.json", metrics)
    write_json(ctx.out / "cost.json", cost)


class _ResponseTrainer(SFTTrainer):  # type: ignore[misc]  # TRL ships no types
    """SFTTrainer with transformers' own loss: cross-entropy over all labels that are not ignored.

    It is the same number as TRL 1.16's, whose tiled LM head saves memory and nearly doubles the
    time of a step of the sandbox model (measured on one core).
    """

    def compute_loss(self, model: Any, inputs: dict[str, Any], **options: Any) -> Any:
        return Trainer.compute_loss(self, model, {**inputs, "use_cache": False}, **options)


def example(
    tokenizer: PreTrainedTokenizerBase, prompt: str, response: str, max_response: int
) -> dict[str, list[int]]:
    """Token ids of prompt and response (EOS included), and labels that ignore the prompt.

    A response longer than `max_response` tokens is cut, and then without EOS: that it ends there
    must not be learnt.
    """
    prompt_ids = encode_prompt(tokenizer, prompt)
    response_ids = encode_response(tokenizer, response)[:max_response]
    return {
        "input_ids": [*prompt_ids, *response_ids],
        "labels": [IGNORED] * len(prompt_ids) + response_ids,
    }


def _examples(ctx: StageContext, tokenizer: PreTrainedTokenizerBase, name: str) -> Dataset:
    """The examples of a data file, those with too long a prompt left out."""
    limit = ctx.config["max_prompt_tokens"]
    rows = read_jsonl(ctx.inputs["data"] / f"{name}.jsonl")
    kept = [r for r in rows if len(encode_prompt(tokenizer, r["prompt"])) <= limit]
    if len(kept) < len(rows):
        ctx.note("warning", f"{name}: {len(rows) - len(kept)} prompts too long, left out")
    if not kept:
        raise UserError(f"{name}: no prompt has at most {limit} tokens; raise max_prompt_tokens")
    longest = ctx.config["max_response_tokens"]
    return Dataset.from_list(
        [example(tokenizer, row["prompt"], row["response"], longest) for row in kept]
    )


def _arguments(
    settings: Sft, scratch: Path, precision: str, training: Training, examples: int
) -> SFTConfig:
    per_step = settings.batch_size * settings.gradient_accumulation
    steps_per_epoch = -(-examples // per_step)
    every = max(1, steps_per_epoch // settings.evaluations_per_epoch)
    arguments: dict[str, Any] = {
        **trainer_arguments(scratch, precision, settings.seed, training.gradient_checkpointing),
        **grouped_by_length(),
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": settings.batch_size,
        "per_device_eval_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "lr_scheduler_type": "linear",
        "warmup_steps": settings.warmup_fraction,  # below 1: a fraction
        "max_length": None,  # lengths are ours, see `example`
        "logging_steps": max(1, steps_per_epoch // 20),
        # Best checkpoint restored: saved whenever validated, one kept, weights only.
        "eval_strategy": "steps",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 1,
        "save_only_model": True,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
    }
    return SFTConfig(**arguments)
