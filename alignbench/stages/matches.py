"""Stage `matches`: the judge compares the methods with each other.

Reads ``generate/<row>/<seed>`` of every method and seed, each with responses.jsonl; `reward_gold`
where the recipe has no judge. Seeds are paired by their place in the list, sample k meets sample k
of the same prompt. Base, SFT and the sentinels are not here: `judge/<row>/<seed>` has theirs.
Writes

- verdicts/<a>-<b>.jsonl: one line for each pair of answers, ``ab`` and ``ba`` being the preference
  in either order, and ``said`` what else the judge said to each (its words, its problems), left out
  where it said nothing, as a rule does;
- judge.json: who judged, and what the questions took; cost.json: what of it was asked now.

The prompts are in `data`, by `prompt_id`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from alignbench.files import write_jsonl
from alignbench.judges.base import Judge, Reply
from alignbench.judges.bill import Bill
from alignbench.stage import StageContext
from alignbench.stages.judge import (
    ORDERS,
    Key,
    alone,
    both_orders,
    check_same,
    limited,
    open_judge,
    pair_of,
    read_answers,
    said,
    write_who,
)

Record = dict[str, Any]
Answers = dict[tuple[str, int], dict[Key, Record]]


def run(ctx: StageContext) -> None:
    """Ask the judge about every pair of methods, in both orders.

    Config: ``judge`` (a section of the recipe), ``rows`` ([[method, its seeds], ...], in the order
    of the table, of equally many seeds).

    Raises:
        UserError: rows sampled on different prompts, or a judge that answers nothing.
    """
    rows: dict[str, list[int]] = dict(ctx.config["rows"])
    answers: Answers = {
        (row, seed): limited(
            read_answers(ctx.inputs[f"generate/{row}/{seed}"]), ctx.config["judge"]
        )
        for row, seeds in rows.items()
        for seed in seeds
    }
    first, *others = answers
    for other in others:
        check_same(answers[first], answers[other], first[0], other[0])
        check_same(answers[other], answers[first], other[0], first[0])
    judge = open_judge(ctx, list(answers.values()))
    pairs = list(combinations(rows, 2))
    seeds = len(rows[first[0]])
    bill = Bill(ctx.progress, 2 * len(pairs) * seeds * len(answers[first]))
    (ctx.out / "verdicts").mkdir()
    with alone(ctx):
        for a, b in pairs:
            lines = _lines(judge, bill, answers, (a, rows[a]), (b, rows[b]))
            write_jsonl(ctx.out / "verdicts" / f"{a}-{b}.jsonl", lines)
    bill.check(ctx.note)
    write_who(ctx, judge, bill, {})


def _lines(
    judge: Judge,
    bill: Bill,
    answers: Answers,
    a: tuple[str, list[int]],
    b: tuple[str, list[int]],
) -> Iterator[Record]:
    """The verdicts on two methods (each a row and its seeds), seed by seed."""
    for seed, other_seed in zip(a[1], b[1], strict=True):
        own, theirs = answers[a[0], seed], answers[b[0], other_seed]
        questions = [pair_of(line, theirs[key]) for key, line in own.items()]
        for (prompt, sample), replies in zip(own, both_orders(judge, bill, questions), strict=True):
            line: Record = {"seed": seed, "other_seed": other_seed}
            line |= {"prompt_id": prompt, "sample": sample}
            line |= {order: reply.value for order, reply in zip(ORDERS, replies, strict=True)}
            words = {order: _more(reply) for order, reply in zip(ORDERS, replies, strict=True)}
            if any(words.values()):
                line["said"] = words
            yield line


def _more(reply: Reply) -> Record:
    """What the judge said beside the preference; nothing of a rule."""
    return {name: value for name, value in said(reply).items() if value and name != "preference"}
