"""Stage `judge/<row>/<seed>`: the row's responses against Base's and SFT's, in both orders.

Reads `responses`, `base_responses` and `sft_responses`, each with responses.jsonl, and
`reward_gold` where the recipe has no judge. Writes verdicts.jsonl. A row is not compared with
itself. Sample k meets the opponent's sample k of the same prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alignbench.errors import UserError
from alignbench.files import read_jsonl, write_jsonl
from alignbench.judges.base import Judge
from alignbench.judges.reward import RewardModelJudge
from alignbench.stage import StageContext

Record = dict[str, Any]
Key = tuple[str, int]


def run(ctx: StageContext) -> None:
    """Ask the judge about every pair, twice.

    Config: ``judge`` ({"kind": "sandbox" | "none"}).
    """
    own = _by_key(ctx, "responses")
    opponents = {
        against: _by_key(ctx, f"{against}_responses")
        for against in ("base", "sft")
        if ctx.inputs[f"{against}_responses"] != ctx.inputs["responses"]
    }
    judge = _judge(ctx, [own, *opponents.values()])
    verdicts: list[Record] = []
    total = len(own) * len(opponents)
    for against, theirs in opponents.items():
        if own.keys() != theirs.keys():
            raise UserError(
                f"judge: the row and {against} were not sampled on the same prompts and samples; "
                "one evaluation setting must hold for every row."
            )
        for key, line in own.items():
            verdicts.extend(_both_orders(judge, line, theirs[key], against))
            ctx.progress(len(verdicts) // 2, total)
    write_jsonl(ctx.out / "verdicts.jsonl", verdicts)


def _both_orders(judge: Judge, own: Record, other: Record, against: str) -> Iterator[Record]:
    prompt, mine, theirs = str(own["prompt"]), str(own["response"]), str(other["response"])
    for order, first, second in (("ab", mine, theirs), ("ba", theirs, mine)):
        yield {
            "prompt_id": own["prompt_id"],
            "sample": own["sample"],
            "against": against,
            "order": order,
            "preference": judge.compare(prompt, first, second),
            "judge": judge.name,
        }


def _by_key(ctx: StageContext, role: str) -> dict[Key, Record]:
    lines = read_jsonl(ctx.inputs[role] / "responses.jsonl")
    return {(line["prompt_id"], line["sample"]): line for line in lines}


def _judge(ctx: StageContext, sides: list[dict[Key, Record]]) -> Judge:
    kind = ctx.config["judge"]["kind"]
    if kind == "sandbox":
        from alignbench.judges.sandbox import SandboxJudge

        return SandboxJudge()
    if kind == "none":
        return _reward_model_judge(ctx, sides)
    raise UserError(f'judge: unknown kind "{kind}"; valid: sandbox, none.')


def _reward_model_judge(ctx: StageContext, sides: list[dict[Key, Record]]) -> RewardModelJudge:
    from alignbench.models.reward import RewardScorer
    from alignbench.models.text import encode_prompt

    scorer = RewardScorer.load(ctx.inputs["reward_gold"])
    lines = [line for side in sides for line in side.values()]
    # On the sampled ids, as everywhere: a response cut at the limit has no EOS.
    raw = scorer.score_ids(
        [encode_prompt(scorer.tokenizer, str(line["prompt"])) for line in lines],
        [line["token_ids"] for line in lines],
    )
    return RewardModelJudge(
        {(line["prompt"], line["response"]): score for line, score in zip(lines, raw, strict=True)}
    )
