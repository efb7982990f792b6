"""Stage `score/<row>/<seed>`: every number that needs a model of ours.

Reads `data`, `responses` (responses.jsonl), `reward_proxy` and `reward_gold`; `model` and `sft`
(folders with ``model/``), but for sentinels, which no model wrote. Writes scores.jsonl, one object
per response in the order of responses.jsonl, and corpus.json with the negative log-likelihoods of
held-out text and of reference responses, apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from alignbench.files import read_jsonl, write_jsonl
from alignbench.metrics.perplexity import corpus_nll, response_nll
from alignbench.models.load import load_policy
from alignbench.models.logprobs import sequence_kl
from alignbench.models.reward import RewardScorer
from alignbench.models.text import encode_prompt
from alignbench.stage import StageContext
from alignbench.training.memory import halving

Record = dict[str, Any]
STEPS = 5
#: Sequences per forward pass; the scores do not depend on it beyond float32 rounding.
BATCH_SIZE = 64
#: Documents per forward pass: they may be as long as the model has positions.
DOCUMENTS = 8
#: Reference responses whose perplexity is measured: the first of the SFT validation split.
REFERENCES = 200


def run(ctx: StageContext) -> None:
    """Score the responses and the model of one row and seed.

    Config: ``gold`` ("sandbox": its exact rule; "reward_model": the gold reward model stands in for
    it). Weights are fp32 (see `stages.generate`).
    """
    responses = read_jsonl(ctx.inputs["responses"] / "responses.jsonl")
    ctx.progress(0, STEPS)
    completions: list[list[int]] = [line["token_ids"] for line in responses]
    kl: Sequence[float | None] = [None] * len(responses)
    if "model" in ctx.inputs:
        kl = _by_model(ctx, responses, completions)
    rewards: dict[str, tuple[list[float], list[float]]] = {}
    for step, split in enumerate(("reward_proxy", "reward_gold"), start=3):
        scorer = RewardScorer.load(ctx.inputs[split], batch_size=BATCH_SIZE)
        prompts = [encode_prompt(scorer.tokenizer, str(line["prompt"])) for line in responses]
        raw = halving(BATCH_SIZE, ctx.note, partial(_score, scorer, prompts, completions))
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
            **_gold(ctx.config["gold"], line, rewards["reward_gold"][0][i]),
        }
        for i, line in enumerate(responses)
    ]
    write_jsonl(ctx.out / "scores.jsonl", lines)
    ctx.progress(STEPS, STEPS)


def _by_model(
    ctx: StageContext, responses: Sequence[Record], completions: Sequence[list[int]]
) -> list[float]:
    """Write corpus.json; KL from SFT for each response."""
    model, tokenizer = load_policy(ctx.inputs["model"] / "model")
    texts = [str(line["text"]) for line in read_jsonl(ctx.inputs["data"] / "heldout.jsonl")]
    references = [
        (str(line["prompt"]), str(line["response"]))
        for line in read_jsonl(ctx.inputs["data"] / "sft_valid.jsonl")[:REFERENCES]
    ]
    given = halving(DOCUMENTS, ctx.note, partial(response_nll, model, tokenizer, references))
    if too_long := sum(tokens == 0 for _, tokens in given):
        ctx.note("warning", f"perplexity: {too_long} of {len(given)} reference responses too long")
    corpus = {
        "perplexity": halving(DOCUMENTS, ctx.note, partial(corpus_nll, model, tokenizer, texts)),
        "perplexity_reference": given,
    }
    written = {
        name: {"documents": [{"nll": nll, "tokens": tokens} for nll, tokens in documents]}
        for name, documents in corpus.items()
    }
    (ctx.out / "corpus.json").write_text(json.dumps(written), encoding="utf-8")
    ctx.progress(1, STEPS)
    sft, _ = load_policy(ctx.inputs["sft"] / "model")
    prompts = [encode_prompt(tokenizer, str(line["prompt"])) for line in responses]
    kl = halving(BATCH_SIZE, ctx.note, partial(sequence_kl, model, sft, prompts, list(completions)))
    ctx.progress(2, STEPS)
    return kl


def _score(
    scorer: RewardScorer,
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
    batch_size: int,
) -> list[float]:
    scorer.batch_size = batch_size
    return scorer.score_ids(prompts, completions)


def _gold(kind: str, line: Record, reward_gold_rm: float) -> Record:
    """The exact rule's score and rubrics; without it, gold is the gold reward model's score."""
    if kind != "sandbox":
        return {"reward_gold": reward_gold_rm}
    from alignbench.sandbox import gold

    score = gold.score(str(line["prompt"]), str(line["response"]))
    return {
        "reward_gold": score.overall,
        "gold_helpful": score.helpful,
        "gold_harmless": score.harmless,
        "gold_honest": score.honest,
    }
