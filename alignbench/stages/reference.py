"""Stage `reference`: the start model's log-probabilities of the human pairs, for all who need them.

Writes ``logprobs.jsonl`` ({"id", "chosen", "rejected"}: nats, summed over a response's tokens, EOS
included; too long prompts are left out), ``metrics.json`` and ``cost.json``.
"""

from __future__ import annotations

from alignbench.files import read_jsonl, write_jsonl
from alignbench.metering.meter import Meter
from alignbench.metering.watch import watch
from alignbench.methods.base import Pair
from alignbench.models.load import load_policy, weights_digest
from alignbench.models.text import encode_prompt
from alignbench.stage import StageContext
from alignbench.training.common import write_json
from alignbench.training.memory import halving
from alignbench.training.reference import reference_logprobs

BATCH = 16
"""Pairs in a forward pass."""


def run(ctx: StageContext) -> None:
    """Score every pair of ``pairs_proxy.jsonl`` that methods train on."""
    config = ctx.config
    model, tokenizer = load_policy(ctx.inputs["sft"] / "model")
    digest = weights_digest(model)
    longest = config["max_prompt_tokens"]
    rows = [
        row
        for row in read_jsonl(ctx.inputs["data"] / "pairs_proxy.jsonl")
        if len(encode_prompt(tokenizer, row["prompt"])) <= longest
    ]
    pairs = [Pair(row["prompt"], row["chosen"], row["rejected"]) for row in rows]
    meter = Meter()
    with watch(meter, model):
        found = halving(
            BATCH,
            ctx.note,
            lambda batch: reference_logprobs(
                model,
                tokenizer,
                pairs,
                config["max_response_tokens"],
                config["precision"],
                batch,
                ctx.progress,
            ),
        )
        cost = meter.measured()
    write_jsonl(
        ctx.out / "logprobs.jsonl",
        (
            {"id": row["id"], "chosen": chosen, "rejected": rejected}
            for row, (chosen, rejected) in zip(rows, found, strict=True)
        ),
    )
    write_json(
        ctx.out / "metrics.json",
        {"pairs": len(rows), "start_digest": digest, "consumed": meter.bill()},
    )
    write_json(ctx.out / "cost.json", cost)
