"""Stage `generate/<row>/<seed>`: a model's answers to the evaluation prompts, and their cost."""

from __future__ import annotations

import json
from collections.abc import Sequence

from alignbench.engines.opening import fixed_sampler
from alignbench.engines.sampler import Sampler
from alignbench.errors import UserError
from alignbench.files import read_jsonl, write_jsonl
from alignbench.metering.meter import Meter
from alignbench.metering.watch import watch
from alignbench.models.decode import Completion, Decoding
from alignbench.models.load import load_tokenizer
from alignbench.models.text import decode_response, encode_prompt
from alignbench.stage import StageContext
from alignbench.training.common import write_json


def run(ctx: StageContext) -> None:
    """Make ``responses.jsonl`` and ``metrics.json`` (what the decoding consumed).

    responses.jsonl has samples 0..k-1 of each prompt, in the order of the prompts.

    A line has prompt_id, prompt, family, harmful (whether the prompt deserves a refusal, None where
    nobody knows), sample, response (text), token_ids (EOS included) and finished. Prompts of more
    than `max_prompt_tokens` are left out, with a warning.

    Weights are fp32 whatever the training's precision: updates of preference training are smaller
    than the rounding of bf16. The start of an engine is not in the cost.

    Raises:
        UserError: no prompt is left, or the engine cannot be had.
    """
    config = ctx.config
    folder = ctx.inputs["model"] / "model"
    tokenizer = load_tokenizer(folder)
    rows = read_jsonl(ctx.inputs["data"] / "eval_prompts.jsonl")
    encoded = [encode_prompt(tokenizer, row["prompt"]) for row in rows]
    kept = [i for i, ids in enumerate(encoded) if len(ids) <= config["max_prompt_tokens"]]
    if len(kept) < len(rows):
        ctx.note("warning", f"eval_prompts: {len(rows) - len(kept)} prompts too long, left out")
    if not kept:
        raise UserError("eval_prompts: all prompts are too long; raise max_prompt_tokens")
    evaluation = config["evaluation"]
    samples = [(i, k) for i in kept for k in range(evaluation["samples_per_prompt"])]
    longest = max(len(encoded[i]) for i in kept) + config["max_response_tokens"]
    with fixed_sampler(ctx, folder, tokenizer, longest, evaluation["batch_size"]) as sampler:
        meter = Meter()
        with watch(meter):
            completions = _answers(ctx, sampler, [encoded[i] for i, _ in samples])
            cost = meter.measured()
    write_json(ctx.out / "metrics.json", {"consumed": meter.bill(), "responses": len(completions)})
    write_json(ctx.out / "cost.json", cost)
    write_jsonl(
        ctx.out / "responses.jsonl",
        (
            {
                "prompt_id": rows[i]["id"],
                "prompt": rows[i]["prompt"],
                "family": rows[i]["family"],
                "harmful": rows[i].get("harmful"),
                "sample": k,
                "response": decode_response(tokenizer, completion.ids),
                "token_ids": completion.ids,
                "finished": completion.finished,
            }
            for (i, k), completion in zip(samples, completions, strict=True)
        ),
    )


def _answers(ctx: StageContext, sampler: Sampler, prompts: Sequence[list[int]]) -> list[Completion]:
    """One completion a prompt, by the decoder that the model's method asks for."""
    evaluation, seed = ctx.config["evaluation"], ctx.config["seed"]
    decoding = Decoding(
        ctx.config["max_response_tokens"], evaluation["temperature"], evaluation["top_p"]
    )
    declared = ctx.inputs["model"] / "decoder.json"
    if not declared.exists():
        return sampler.sample(prompts, decoding, seed, ctx.progress)
    from alignbench.models.best_of_n import best_of
    from alignbench.models.reward import RewardScorer

    n = int(json.loads(declared.read_text())["best_of"])
    scorer = RewardScorer.load(ctx.inputs["reward"], batch_size=evaluation["batch_size"])
    return best_of(sampler, prompts, decoding, seed, n, scorer)
