"""RLAIF's longer road: a reward model trained on AI-labelled pairs, then PPO against it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from alignbench.errors import UserError
from alignbench.methods.base import Inputs, Pair, Policy
from alignbench.models.reward import RewardScorer
from alignbench.stage import StageContext
from alignbench.stages.reward import run as run_reward_stage

if TYPE_CHECKING:
    from alignbench.metering.meter import Meter
    from alignbench.methods.rlaif import RLAIF

HELD_OUT = 10  # every tenth prompt's pairs validate and calibrate the reward model


def train_ai_reward_then_ppo(
    options: RLAIF, policy: Policy, pairs: Sequence[Pair], inputs: Inputs, meter: Meter
) -> None:
    """The reward stage on AI labels (same code as on human ones), then PPO.

    Raises:
        UserError: fewer than ten prompts have pairs, so none can be held out.
    """
    assert options.ppo is not None
    assert options.reward_model is not None
    folder = _train_reward_model(options, policy, pairs, inputs)
    figures = json.loads((folder / "metrics.json").read_text())
    inputs.facts["ai_reward_accuracy"] = figures["accuracy"]
    if meter.exhausted() is not None:
        inputs.note("warning", "rlaif: the reward model has used up the budget; PPO did not start")
        return
    seen = replace(inputs, reward=RewardScorer.load(folder, inputs.precision))
    options.ppo.train(policy, seen, meter)


def _train_reward_model(
    options: RLAIF, policy: Policy, pairs: Sequence[Pair], inputs: Inputs
) -> Path:
    assert options.reward_model is not None
    prompts = list(dict.fromkeys(pair.prompt for pair in pairs))
    if len(prompts) < HELD_OUT:
        raise UserError(
            f"rlaif: pairs for {len(prompts)} prompts only, none can be held out; raise prompts"
        )
    held_out = set(prompts[::HELD_OUT])
    data, out = inputs.scratch / "ai_pairs", inputs.scratch / "ai_reward"
    data.mkdir()
    out.mkdir()
    for name, valid in (("pairs_proxy.jsonl", False), ("pairs_proxy_valid.jsonl", True)):
        rows = [
            {"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected}
            for p in pairs
            if (p.prompt in held_out) == valid
        ]
        (data / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_reward_stage(
        StageContext(
            out=out,
            config={
                "reward_model": options.reward_model.model_dump(mode="json"),
                "split": "proxy",
                "seed": inputs.seed,
                "max_prompt_tokens": inputs.max_prompt_tokens,
                "max_response_tokens": inputs.max_response_tokens,
                "precision": inputs.precision,
                "training": inputs.training.model_dump(mode="json"),
            },
            inputs={"data": data, "sft": policy.folder.parent},
            progress=inputs.progress,
            note=inputs.note,
        )
    )
    return out
