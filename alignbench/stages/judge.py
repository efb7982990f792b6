"""Stage `judge/<row>/<seed>`: what the judge says about the row's responses.

Reads `responses`, and responses of opponents under `<name>_responses` (`base` and `sft` in a
recipe's run), each with responses.jsonl; `reward_gold` where the recipe has no judge. Writes

- ratings.jsonl: helpful, harmless and honest of each judged response, and whether it refuses;
- verdicts.jsonl: each judged pair in both orders. Sample k meets the opponent's sample k of the
  same prompt;
- repeats.jsonl: the same questions asked again, to see whether the judge agrees with itself;
- judge.json: who judged, and what the questions took; cost.json: what of it was asked now.

Every line of a verdict has the judge's own words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignbench.errors import UserError
from alignbench.files import read_jsonl, write_jsonl
from alignbench.judges.base import RUBRICS, Answer, Judge, Pair, Reply
from alignbench.judges.bill import Bill
from alignbench.judges.reward import Nobody, RewardModelJudge
from alignbench.metrics import refusal
from alignbench.stage import StageContext

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = dict[str, Any]
Key = tuple[str, int]
OPPONENT = "_responses"
ORDERS = ("ab", "ba")
RULES = ("sandbox", "none")


def run(ctx: StageContext) -> None:
    """Ask the judge about every response and, twice, about every pair.

    Config: ``judge`` (a section of the recipe), ``repeats`` (whether to ask again; a judge that
    cannot answer otherwise is not asked again).

    Raises:
        UserError: rows sampled on different prompts, or a judge that answers nothing.
    """
    section = ctx.config["judge"]
    answers = read_answers(ctx.inputs["responses"])
    own = limited(answers, section)
    if len(own) < len(answers):
        limits = f"judge.prompts {section['prompts']}, judge.samples {section['samples']}"
        ctx.note("warning", f"the judge sees {len(own)} of {len(answers)} answers ({limits})")
    opponents = {
        role.removesuffix(OPPONENT): read_answers(folder)
        for role, folder in ctx.inputs.items()
        if role.endswith(OPPONENT)
    }
    for against, theirs in opponents.items():
        check_same(own, theirs, "the row", against)
    judge = open_judge(ctx, [own, *opponents.values()])
    if isinstance(judge, Nobody):
        opponents = {}
    repeats = _repeats(section, judge) if ctx.config.get("repeats") else (0, 0)
    bill = Bill(ctx.progress, len(own) * (4 + 2 * len(opponents)) + repeats[0] * repeats[1])
    with alone(ctx):
        ratings, refusals = _ratings(judge, bill, list(own.values()), ctx)
        verdicts = [
            line
            for against, theirs in opponents.items()
            for line in _verdicts(judge, bill, own, theirs, against)
        ]
        again = _again(judge, bill, own, opponents, repeats)
    bill.check(ctx.note)
    write_jsonl(ctx.out / "ratings.jsonl", ratings)
    write_jsonl(ctx.out / "verdicts.jsonl", verdicts)
    write_jsonl(ctx.out / "repeats.jsonl", again)
    write_who(ctx, judge, bill, {"refusals_by": refusals})


def write_who(ctx: StageContext, judge: Judge, bill: Bill, more: Mapping[str, Any]) -> None:
    """Write judge.json: who judged, with `more`, and the bill; cost.json: what was asked now."""
    who = {
        "name": judge.name,
        "identity": judge.identity,
        "simulated": judge.simulated,
        "deterministic": judge.deterministic,
        "served": list(judge.served),
        "bill": bill.took(ctx.config["judge"]),
        **more,
    }
    _write(ctx.out / "judge.json", who)
    asked = {"judge_questions": bill.questions, "from_cache": bill.cached}
    _write(ctx.out / "cost.json", asked)


def check_same(own: Mapping[Key, Record], theirs: Mapping[Key, Record], a: str, b: str) -> None:
    """UserError unless every answer of `own` (of `a`) has its counterpart in `theirs` (of `b`)."""
    if not own.keys() <= theirs.keys():
        raise UserError(
            f"judge: {a} and {b} were not sampled on the same prompts and samples; "
            "one evaluation setting must hold for every row."
        )


def _ratings(
    judge: Judge, bill: Bill, lines: Sequence[Record], ctx: StageContext
) -> tuple[list[Record], str]:
    """One line a response, and who told refusals: the judge, or the named rule in its place."""
    answers = [Answer(str(line["prompt"]), str(line["response"])) for line in lines]
    replies: dict[str, Sequence[Reply]] = {}
    if ctx.config["judge"]["kind"] != "none":
        by = "judge"
        for rubric in RUBRICS:
            replies[rubric] = bill.add(judge.rate(answers, rubric, bill.progress()))
        told = bill.add(judge.refusals(answers, bill.progress()))
    else:  # who rates nothing is asked nothing
        by = refusal.RULE
        replies = {rubric: [Reply(None)] * len(answers) for rubric in RUBRICS}
        told = [Reply(_as_number(refusal.refuses(answer.response))) for answer in answers]
        ctx.note("substitution", f"refusals are told by the rule {by}: there is no judge")
    replies["refusal"] = told
    rated = []
    for i, line in enumerate(lines):
        own = {name: asked[i] for name, asked in replies.items()}
        refuses = None if own["refusal"].value is None else bool(own["refusal"].value)
        values = {name: reply.value for name, reply in own.items()}
        rated.append(
            {
                **_named(line),
                **values,
                **_safety(ctx, line, refuses),
                "raw": {name: reply.raw for name, reply in own.items()},
                "problems": [reply.problem for reply in own.values() if reply.problem],
            }
        )
    return rated, by


def _as_number(value: bool | None) -> float | None:
    return None if value is None else float(value)


def _safety(ctx: StageContext, line: Record, refuses: bool | None) -> Record:
    """Refusal; over-refusal of a request that deserves an answer; compliance with a harmful one.

    The sandbox's rule knows whether an answer complies; for others, what says anything and does
    not refuse does.
    """
    harmful = line.get("harmful")
    said = bool(str(line["response"]).strip())
    complied = None if refuses is None else said and not refuses
    if ctx.config["judge"]["kind"] == "sandbox":
        from alignbench.sandbox import gold

        complied = gold.score(str(line["prompt"]), str(line["response"])).harmful
    return {
        "refusal": refuses,
        "over_refusal": refuses if harmful is False else None,
        "harmful": complied if harmful else None,
    }


def _verdicts(
    judge: Judge, bill: Bill, own: Mapping[Key, Record], theirs: Mapping[Key, Record], against: str
) -> list[Record]:
    """Both orders of every pair, side by side."""
    pairs = [pair_of(line, theirs[key]) for key, line in own.items()]
    return [
        {**_named(line), "against": against, "order": order, "judge": judge.name} | said(reply)
        for line, replies in zip(own.values(), both_orders(judge, bill, pairs), strict=True)
        for order, reply in zip(ORDERS, replies, strict=True)
    ]


def both_orders(judge: Judge, bill: Bill, pairs: Sequence[Pair]) -> list[tuple[Reply, Reply]]:
    """What the judge says of every pair as given (ab), and with its answers swapped (ba)."""
    ab = bill.add(judge.compare(pairs, bill.progress()))
    ba = bill.add(judge.compare([pair.swapped() for pair in pairs], bill.progress()))
    return list(zip(ab, ba, strict=True))


def _repeats(section: Mapping[str, Any], judge: Judge) -> tuple[int, int]:
    """How many pairs are asked about again, and how often."""
    if judge.deterministic:
        return 0, 0
    return section["audit_pairs"], section["audit_repeats"]


def _again(
    judge: Judge,
    bill: Bill,
    own: Mapping[Key, Record],
    opponents: Mapping[str, Mapping[Key, Record]],
    repeats: tuple[int, int],
) -> list[Record]:
    """The first pairs against the first opponent, asked again in the order ab."""
    if not opponents:
        return []
    against, theirs = next(iter(opponents.items()))
    lines = list(own.items())[: repeats[0]]
    pairs = [pair_of(line, theirs[key]) for key, line in lines]
    found = []
    for repeat in range(1, repeats[1] + 1):
        replies = bill.add(judge.compare(pairs, bill.progress(), repeat))
        for (_, line), reply in zip(lines, replies, strict=True):
            asked = {"against": against, "order": "ab", "repeat": repeat}
            found.append({**_named(line), **asked, **said(reply)})
    return found


def pair_of(own: Record, other: Record) -> Pair:
    """The question which of two answers to the prompt of `own` is better."""
    return Pair(str(own["prompt"]), str(own["response"]), str(other["response"]))


def _named(line: Record) -> Record:
    return {name: line[name] for name in ("prompt_id", "prompt", "sample")}


def said(reply: Reply) -> Record:
    """The reply as a line of a verdict."""
    told = asdict(reply)
    del told["cached"]  # of this run; equal runs have equal verdicts
    return {"preference": told.pop("value"), **told}


def read_answers(folder: Path) -> dict[Key, Record]:
    """Lines of responses.jsonl by (prompt id, sample)."""
    lines = read_jsonl(folder / "responses.jsonl")
    return {(line["prompt_id"], line["sample"]): line for line in lines}


def limited(lines: dict[Key, Record], section: Mapping[str, Any]) -> dict[Key, Record]:
    """The first samples of the first prompts, as many as the judge is to see."""
    if section["kind"] in RULES:
        return lines
    prompts = list(dict.fromkeys(prompt for prompt, _ in lines))[: section["prompts"]]
    kept = set(prompts)
    return {
        key: line for key, line in lines.items() if key[0] in kept and key[1] < section["samples"]
    }


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def alone(ctx: StageContext) -> Any:
    """One stage at a time asks a model: a server's limits are the run's, and so is the memory."""
    if ctx.config["judge"]["kind"] in RULES or ctx.cache is None:
        return nullcontext()
    return _locked(ctx.cache / "judge.lock")


def open_judge(ctx: StageContext, sides: Sequence[Mapping[Key, Record]]) -> Judge:
    """The judge of ``judge`` in the config, which may have to see all answers beforehand."""
    from pydantic import TypeAdapter

    from alignbench.judges.make import make_judge
    from alignbench.recipe.schema import JudgeSection

    if ctx.config["judge"]["kind"] == "none":
        return _reward_model_judge(ctx, sides) if "reward_gold" in ctx.inputs else Nobody()
    adapter: TypeAdapter[Any] = TypeAdapter(JudgeSection)
    return make_judge(adapter.validate_python(ctx.config["judge"]), ctx.cache, ctx.note)


def _reward_model_judge(
    ctx: StageContext, sides: Sequence[Mapping[Key, Record]]
) -> RewardModelJudge:
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


def _write(path: Path, record: Record) -> None:
    path.write_text(json.dumps(record, sort_keys=True) + "\n", encoding="utf-8")
