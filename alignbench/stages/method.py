"""Stage `train/<row>/<seed>`: one method, one seed, from the certified start checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from alignbench.errors import UserError
from alignbench.files import read_jsonl
from alignbench.methods.base import Inputs, Labeller, Method, Need, Pair, Policy
from alignbench.methods.meter import Meter, peak_rss_bytes
from alignbench.methods.registry import resolve
from alignbench.models.load import load_policy, save_model, weights_digest
from alignbench.models.reward import RewardScorer
from alignbench.models.text import encode_prompt
from alignbench.stage import StageContext
from alignbench.training.common import json_log, write_json


class RewardModelLabeller:
    """An AI labeller for data without one of its own: the proxy reward model's score."""

    name = "proxy reward model"

    def __init__(self, scorer: RewardScorer) -> None:
        self.scorer = scorer

    def utilities(self, prompt: str, responses: Sequence[str]) -> list[float]:
        """Raw reward-model scores."""
        return self.scorer.score([prompt] * len(responses), responses)


def run(ctx: StageContext) -> None:
    """Train and save the model of one row; see `alignbench.methods.base` for the contract."""
    config = ctx.config
    method = resolve(config["row"], config["options"])
    start = ctx.inputs["sft"] / "model"
    model, tokenizer = load_policy(start)
    policy = Policy(model, tokenizer, start, weights_digest(model))
    certified = json.loads((ctx.inputs["sft"] / "metrics.json").read_text())["weights_digest"]
    if policy.digest != certified:
        raise RuntimeError("the start checkpoint is not the certified one (weights digests differ)")
    scratch = ctx.out / "scratch"
    scratch.mkdir()
    meter = Meter()
    meter.charge(human_labels=_labels_behind_reward(ctx))
    with json_log(ctx.out / "log.jsonl") as log:
        inputs = _inputs(ctx, method, policy, scratch, log)
        method.train(policy, inputs, meter)
    seconds = meter.seconds()
    shutil.rmtree(scratch)
    policy.model.eval()
    save_model(policy.model, tokenizer, ctx.out / "model")
    metrics = {
        "method": method.name,
        "row": config["row"],
        "seed": config["seed"],
        "start_digest": policy.digest,
        "weights_digest": weights_digest(policy.model),
        "consumed": meter.bill(),
        **inputs.facts,
    }
    write_json(ctx.out / "metrics.json", metrics)
    # Times and memory apart, so that metrics.json is equal in equal runs.
    write_json(ctx.out / "cost.json", {"seconds": seconds, "peak_rss_bytes": peak_rss_bytes()})


def _inputs(
    ctx: StageContext, method: Method, policy: Policy, scratch: Path, log: Callable[..., None]
) -> Inputs:
    """What `method.needs`, and nothing more, so that no method can use what it did not declare."""
    config = ctx.config

    def reference() -> Any:
        frozen, _ = load_policy(policy.folder)
        if weights_digest(frozen) != policy.digest:
            raise RuntimeError("the reference checkpoint changed on disk (weights digests differ)")
        return frozen.requires_grad_(False)

    data = ctx.inputs["data"]
    fits = _PromptFilter(policy.tokenizer, config["max_prompt_tokens"])
    pairs = prompts = None
    if Need.PAIRS in method.needs:
        rows = fits(read_jsonl(data / "pairs_proxy.jsonl"))
        pairs = [Pair(row["prompt"], row["chosen"], row["rejected"]) for row in rows]
    if Need.PROMPTS in method.needs:
        prompts = [row["prompt"] for row in fits(read_jsonl(data / "train_prompts.jsonl"))]
    if fits.dropped:
        ctx.note("warning", f"{fits.dropped} prompts too long, left out")
    scorer = RewardScorer.load(ctx.inputs["reward"]) if "reward" in ctx.inputs else None
    return Inputs(
        pairs=pairs or (),
        prompts=prompts or (),
        reward=scorer if Need.REWARD in method.needs else None,
        labeller=_labeller(config, scorer) if Need.LABELLER in method.needs else None,
        reference=reference,
        scratch=scratch,
        seed=config["seed"],
        max_prompt_tokens=config["max_prompt_tokens"],
        max_response_tokens=config["max_response_tokens"],
        precision=config["precision"],
        log=log,
        progress=ctx.progress,
        note=ctx.note,
    )


def _labeller(config: Any, scorer: RewardScorer | None) -> Labeller:
    kind = config["labeller"]
    if kind == "sandbox":
        from alignbench.sandbox.annotators import AiLabeller

        return cast(Labeller, AiLabeller(config["seed"]))
    if kind == "reward_model" and scorer is not None:
        return RewardModelLabeller(scorer)
    raise UserError(f'{config["row"]}: no AI labeller "{kind}"; known: sandbox, reward_model')


def _labels_behind_reward(ctx: StageContext) -> int:
    """Human-labelled pairs that the method's reward model was trained on; 0 without one."""
    if "reward" not in ctx.inputs:
        return 0
    figures = json.loads((ctx.inputs["reward"] / "metrics.json").read_text())
    return int(figures["train_pairs"])


class _PromptFilter:
    """Leaves out rows whose prompt is too long, and counts them (nothing is cut silently)."""

    def __init__(self, tokenizer: Any, limit: int) -> None:
        self.tokenizer, self.limit, self.dropped = tokenizer, limit, 0

    def __call__(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        kept = [r for r in rows if len(encode_prompt(self.tokenizer, r["prompt"])) <= self.limit]
        self.dropped += len(rows) - len(kept)
        if not kept:
            raise UserError(
                f"no training prompt has at most {self.limit} tokens; raise max_prompt_tokens"
            )
        return kept
