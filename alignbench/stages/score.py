"""Stage `score/<row>/<seed>`: every number that needs a model or the judge's rubrics.

Reads `data`, `responses` (responses.jsonl), `model` and `sft` (folders with ``model/``),
`reward_proxy` and `reward_gold`. Writes scores.jsonl, one object per response in the order of
responses.jsonl, and corpus.json with the perplexity of the held-out text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignbench.files import read_jsonl, write_jsonl
from alignbench.metrics.perplexity import corpus_nll
from alignbench.models.load import load_policy
from alignbench.models.logprobs import sequence_kl
from alignbench.models.reward import RewardScorer
from alignbench.models.text import encode_prompt
from alignbench.stage import StageContext

Record = dict[str, Any]
STEPS = 5
#: Sequences per forward pass; the scores do not depend on it beyond float32 rounding.
BATCH_SIZE = 64
#: Documents per forward pass: they may be as long as the model has positions.
DOCUMENTS = 8


def run(ctx: StageContext) -> None:
    """Score the responses and the model of one row and seed.

    Config: ``judge`` ({"kind": "sandbox" | "none"}). Weights are fp32 (see `stages.generate`).
    """
    responses = read_jsonl(ctx.inputs["responses"] / "responses.jsonl")
    ctx.progress(0, STEPS)
    model, tokenizer = load_policy(ctx.inputs["model"] / "model")
    texts = [str(line["text"]) for line in read_jsonl(ctx.inputs["data"] / "heldout.jsonl")]
    documents = corpus_nll(model, tokenizer, texts, DOCUMENTS)
    _write_corpus(ctx.out / "corpus.json", documents)
    ctx.progress(1, STEPS)
    prompts = [encode_prompt(tokenizer, str(line["prompt"])) for line in responses]
    completions: list[list[int]] = [line["token_ids"] for line in responses]
    sft, _ = load_policy(ctx.inputs["sft"] / "model")
    kl = sequence_kl(model, sft, prompts, completions, BATCH_SIZE)
    ctx.progress(2, STEPS)
    del model, sft
    rewards: dict[str, tuple[list[float], list[float]]] = {}
    for step, split in enumerate(("reward_proxy", "reward_gold"), start=3):
        scorer = RewardScorer.load(ctx.inputs[split], batch_size=BATCH_SIZE)
        raw = scorer.score_ids(prompts, completions)
        rewards[split] = (scorer.calibrated(raw), raw)
        ctx.progress(step, STEPS)
    lines = [
        {
            "prompt_id": line["prompt_id"],
            "family": line["family"],
            "sample": line["sample"],
            "reward_proxy": rewards["reward_proxy"][0][i],
            "reward_proxy_raw": rewards["reward_proxy"][1][i],
            "reward_gold_rm": rewards["reward_gold"][0][i],
            "reward_gold_rm_raw": rewards["reward_gold"][1][i],
            "length": len(line["token_ids"]) - int(line["finished"]),
            "kl_from_sft": kl[i],
            **_judged(ctx.config["judge"]["kind"], line, rewards["reward_gold"][0][i]),
        }
        for i, line in enumerate(responses)
    ]
    write_jsonl(ctx.out / "scores.jsonl", lines)
    ctx.progress(STEPS, STEPS)


def _judged(kind: str, line: Record, reward_gold_rm: float) -> Record:
    """What the judge's exact rule knows; without one, gold is the gold reward model's score."""
    if kind == "none":
        unknown = ("helpful", "harmless", "honest", "refusal", "over_refusal")
        return {"reward_gold": reward_gold_rm, **dict.fromkeys(unknown)}
    from alignbench.sandbox import gold

    score = gold.score(str(line["prompt"]), str(line["response"]))
    return {
        "reward_gold": score.overall,
        "helpful": score.helpful,
        "harmless": score.harmless,
        "honest": score.honest,
        "refusal": score.refusal,
        "over_refusal": score.over_refusal,
    }


def _write_corpus(path: Path, documents: Sequence[tuple[float, int]]) -> None:
    pairs = [{"nll": nll, "tokens": tokens} for nll, tokens in documents]
    path.write_text(json.dumps({"perplexity": {"documents": pairs}}), encoding="utf-8")
