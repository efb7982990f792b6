"""Stages `reward/proxy` and `reward/gold`: Bradley-Terry reward models, each on its own split."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from scipy.stats import spearmanr
from transformers import PreTrainedTokenizerBase, set_seed
from trl import RewardConfig, RewardTrainer

from alignbench.errors import UserError
from alignbench.files import read_jsonl
from alignbench.metering.meter import Meter
from alignbench.metering.watch import watch
from alignbench.models.load import HEAD, init_reward, save_model, weights_digest
from alignbench.models.lora import add_lora
from alignbench.models.reward import Calibration, RewardScorer
from alignbench.models.text import encode_prompt, encode_response
from alignbench.recipe.schema import RewardModel, Training
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


@dataclass(frozen=True)
class EncodedPairs:
    """Preference pairs as token ids; responses end in EOS unless they were cut."""

    prompts: list[list[int]]
    chosen: list[list[int]]
    rejected: list[list[int]]

    def dataset(self) -> Dataset:
        """RewardTrainer's columns for tokenised data: the very ids that `RewardScorer` scores.

        (And `length`, for `grouped_by_length`.)
        """
        join = [
            {
                "chosen_ids": [*p, *c],
                "rejected_ids": [*p, *r],
                "length": len(p) + max(len(c), len(r)),
            }
            for p, c, r in zip(self.prompts, self.chosen, self.rejected, strict=True)
        ]
        return Dataset.from_list(join)


def run(ctx: StageContext) -> None:
    """Make ``model/``, ``calibration.json``, ``log.jsonl`` and ``metrics.json`` (`held_out`)."""
    settings = RewardModel.model_validate(ctx.config["reward_model"])
    with_half_batch(settings, ctx.note, lambda smaller: _train(ctx, smaller))


def _train(ctx: StageContext, settings: RewardModel) -> None:
    split, seed = ctx.config["split"], ctx.config["seed"]
    training = Training.model_validate(ctx.config.get("training", {}))
    model, tokenizer, pad_added = init_reward(ctx.inputs["sft"] / "model", seed)
    if training.lora is not None:
        add_lora(model, training.lora, seed, trained_too=[HEAD])
    if pad_added:
        ctx.note("substitution", f'a pad token "{tokenizer.pad_token}" was added')
    train = _pairs(ctx, tokenizer, f"pairs_{split}")
    valid = _pairs(ctx, tokenizer, f"pairs_{split}_valid")
    scratch = ctx.out / "scratch"
    meter = Meter()
    # The held-out labels calibrate the scores that methods train on: they are needed as well.
    meter.charge(human_labels=len(train.prompts) + len(valid.prompts))
    with watch(meter, model), json_log(ctx.out / "log.jsonl") as log:
        trainer = RewardTrainer(
            model=model,
            args=_arguments(settings, scratch, ctx, training, len(train.prompts)),
            train_dataset=train.dataset(),
            processing_class=tokenizer,
        )
        attach(trainer, LogCallback(log, ctx.progress))
        set_seed(seed)
        trainer.train()
        scorer = RewardScorer(model.eval(), tokenizer)
        chosen = scorer.score_ids(valid.prompts, valid.chosen)
        rejected = scorer.score_ids(valid.prompts, valid.rejected)
        cost = meter.measured()
    shutil.rmtree(scratch, ignore_errors=True)
    calibration = Calibration.fit(chosen, rejected)
    calibration.save(ctx.out / "calibration.json")
    save_model(model, tokenizer, ctx.out / "model")
    metrics = held_out(
        chosen, rejected, *([len(c) for c in x] for x in (valid.chosen, valid.rejected))
    )
    facts = {
        "train_pairs": len(train.prompts),
        "micro_batch": settings.batch_size,
        "calibration_scale": calibration.scale,
        "weights_digest": weights_digest(model),
        "consumed": meter.bill(),
    }
    write_json(ctx.out / "metrics.json", {**metrics, **facts})
    write_json(ctx.out / "cost.json", cost)
    _judge(ctx, metrics["accuracy"], settings.minimum_accuracy)


def held_out(
    chosen: Sequence[float],
    rejected: Sequence[float],
    chosen_lengths: Sequence[int],
    rejected_lengths: Sequence[int],
) -> dict[str, float | None]:
    """What a reward model's scores on N held-out pairs say about it.

    Args:
        chosen: raw scores of the preferred responses, shape (N,); `rejected` likewise.
        chosen_lengths: tokens of the preferred responses; `rejected_lengths` likewise.

    Returns:
        - `accuracy`: share of pairs ranked as labelled, ties counted half;
        - `longer_wins_predicted`, `longer_wins_labels`: among pairs of unequal length, how often
          the longer one has the higher score, or the label; `length_bias` is their difference
          (0 is no more bias than the labels have); None without such a pair;
        - `length_correlation`: Spearman's, between score and length over all responses; None where
          all lengths are equal;
        - `score_mean`, `score_std` over all responses, in raw units; `valid_pairs`: N.
    """
    margin = np.asarray(chosen) - np.asarray(rejected)
    longer = np.sign(np.asarray(chosen_lengths) - np.asarray(rejected_lengths))
    unequal = longer[longer != 0]
    scores = np.concatenate([chosen, rejected])
    lengths = np.concatenate([chosen_lengths, rejected_lengths])
    predicted = labels = bias = correlation = None
    if unequal.size:
        predicted = _share((np.sign(margin) * longer)[longer != 0])
        labels = _share(unequal)
        bias = predicted - labels
    if np.ptp(lengths) > 0:
        correlation = float(spearmanr(scores, lengths).statistic)
    return {
        "accuracy": _share(np.sign(margin)),
        "longer_wins_predicted": predicted,
        "longer_wins_labels": labels,
        "length_bias": bias,
        "length_correlation": correlation,
        "score_mean": float(scores.mean()),
        "score_std": float(scores.std(ddof=1)),
        "valid_pairs": len(margin),
    }


def _share(signs: np.ndarray) -> float:
    """Wins as a share, from +1 (win), 0 (tie, half a win) and -1."""
    return float((signs.mean() + 1) / 2)


def _judge(ctx: StageContext, accuracy: float | None, minimum: float) -> None:
    if accuracy is not None and accuracy < minimum:
        ctx.note(
            "warning",
            f"held-out accuracy is {accuracy:.1%}, below "
            f"{minimum:.0%}. Methods trained on it may not improve on SFT, and their rewards mean "
            "little. Use more pairs (data.reward_pairs, data.gold_pairs), more "
            "reward_model.epochs, or a better base model.",
        )


def _pairs(ctx: StageContext, tokenizer: PreTrainedTokenizerBase, name: str) -> EncodedPairs:
    """The pairs of a data file; too long prompts are left out, too long responses cut."""
    longest = ctx.config["max_prompt_tokens"]
    cut = ctx.config["max_response_tokens"]
    pairs = EncodedPairs([], [], [])
    rows = read_jsonl(ctx.inputs["data"] / f"{name}.jsonl")
    for row in rows:
        prompt = encode_prompt(tokenizer, row["prompt"])
        if len(prompt) > longest:
            continue
        pairs.prompts.append(prompt)
        pairs.chosen.append(encode_response(tokenizer, row["chosen"])[:cut])
        pairs.rejected.append(encode_response(tokenizer, row["rejected"])[:cut])
    if len(pairs.prompts) < len(rows):
        left_out = len(rows) - len(pairs.prompts)
        ctx.note("warning", f"{name}: {left_out} pairs with too long a prompt, left out")
    if not pairs.prompts:
        raise UserError(f"{name}: no prompt has at most {longest} tokens; raise max_prompt_tokens")
    return pairs


def _arguments(
    settings: RewardModel, scratch: Path, ctx: StageContext, training: Training, pairs: int
) -> RewardConfig:
    per_step = settings.batch_size * settings.gradient_accumulation
    arguments: dict[str, Any] = {
        **trainer_arguments(
            scratch, ctx.config["precision"], ctx.config["seed"], training.gradient_checkpointing
        ),
        **grouped_by_length(),
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "lr_scheduler_type": "linear",
        "warmup_steps": settings.warmup_fraction,  # below 1: a fraction
        "max_length": None,  # lengths are ours, see `_pairs`
        "disable_dropout": True,
        "logging_steps": max(1, settings.epochs * -(-pairs // per_step) // 50),
    }
    return RewardConfig(**arguments)
