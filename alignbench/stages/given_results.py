"""Stage `results` of `alignbench score`: the same results.json, without what training adds.

Reads `data`, and for each row ``generate/<row>/0``, ``score/<row>/0`` and ``judge/<row>/0``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import alignbench
from alignbench.digest import sha256_json
from alignbench.files import read_jsonl
from alignbench.judges.base import MADE_UP
from alignbench.keys import library_versions
from alignbench.results.certificate import asked_of, prompt_digests, save_certificate
from alignbench.results.conclusions import (
    Question,
    against_reference,
    between_methods,
    separable_best,
    target_rows,
)
from alignbench.results.estimates import Estimates
from alignbench.results.findings import judge_flags, verdict, worst_first
from alignbench.results.gathered import costs, notes
from alignbench.results.human import human_record, read_human
from alignbench.results.observations import Row, read_rows
from alignbench.results.schema import RESAMPLING_SEED, SCHEMA_VERSION, save
from alignbench.results.sentinels import sentinel_flags
from alignbench.results.trust import (
    answers,
    audit_record,
    judge_record,
    length_controlled,
)
from alignbench.stage import StageContext

Record = dict[str, Any]


def run(ctx: StageContext) -> None:
    """Write results.json, results.csv and certificate.json.

    Config: ``plan`` (a dump of `scoring.plan.ScorePlan`), ``rows`` in the order of the table,
    ``command`` (that made this), ``notes``.
    """
    plan, names = ctx.config["plan"], ctx.config["rows"]
    runs = [(row, 0) for row in names]
    rows = read_rows(ctx.inputs, runs, int(plan["evaluation"]["diversity_samples"]))
    judge = judge_record(ctx.inputs, runs)
    certified = _certificate(ctx, judge)
    results: Record = {
        "schema_version": SCHEMA_VERSION,
        "recipe": plan,
        "profile": "score",
        "models": names,
        "reference": plan["baseline"],
        "command": ctx.config["command"],
        "judge": judge,
        **_statistics(plan, rows, judge, ctx.inputs, runs),
        "training": {},
        "reward_models": {},
        "certificate": certified,
        "notes": notes(ctx.config["notes"], ctx.inputs),
        "costs": costs(ctx.inputs),
    }
    save(results, ctx.out)
    save_certificate(certified, ctx.inputs["data"], ctx.out)


def _statistics(
    plan: Record,
    rows: Sequence[Row],
    judge: Record,
    inputs: Mapping[str, Path],
    runs: Sequence[tuple[str, int]],
) -> Record:
    evaluation = plan["evaluation"]
    resamples, confidence = int(evaluation["resamples"]), float(evaluation["confidence"])
    baseline = plan["baseline"]
    methods = [row.name for row in rows if row.name not in (baseline, *MADE_UP)]
    estimates = Estimates(rows, resamples, confidence, RESAMPLING_SEED)
    question = Question(baseline, None, "win_rate_vs_baseline")
    tests = against_reference(estimates, question)
    pairs = between_methods(estimates, methods, question)
    given = answers(inputs, runs)
    names = {"baseline": baseline}
    labels, unused = read_human(inputs, rows, given, names)
    audit = audit_record(rows, given, inputs, labels, resamples, confidence, names)
    opinion = (
        [f"Win rates are the verdicts of: {judge['name']}."]
        if estimates.has(question.wins)
        else [f"No judge: no win rates and no ratings. Refusals by {judge['refusals_by']}."]
    )
    found = [
        *sentinel_flags(estimates, methods, "baseline", baseline, judge),
        *judge_flags(audit, judge["bill"]),
    ]
    return {
        "rows": estimates.tidy(),
        "targets": [
            t for t in target_rows(estimates, [baseline, *methods]) if plan["safety"] is not None
        ],
        "judge_audit": audit,
        "human": human_record(rows, labels, unused, confidence),
        "flags": worst_first(found),
        "verdict": verdict(tests, pairs, methods, estimates, opinion, question),
        "statistics": {
            "confidence": confidence,
            "resamples": resamples,
            "diversity_samples": min(len(texts) for row in rows for texts in row.texts),
            "against_sft": tests,
            "between_methods": pairs,
            "best": separable_best(estimates),
            "length_controlled": length_controlled(rows, given, "baseline", baseline, confidence),
            "judge_inconsistency": {
                "pairs": audit["pairs"] - audit["unanswered"],
                "inconsistent_percent": audit["inconsistent"]["value"],
            },
        },
    }


def _certificate(ctx: StageContext, judge: Mapping[str, Any]) -> Record:
    """What rows of this table have in common, and what each is."""
    plan = ctx.config["plan"]
    evaluation = plan["evaluation"]
    written = read_jsonl(ctx.inputs["data"] / "answers.jsonl")
    return {
        "eval_prompts": prompt_digests(ctx.inputs["data"]),
        "judge": judge["name"],
        "judge_served": judge["served"] or None,
        "judge_asked": asked_of(plan["judge"]),
        "judge_ratings": None
        if plan["judge"]["kind"] == "none"
        else sha256_json(judge["identity"]),
        "statistics": {k: evaluation[k] for k in ("confidence", "resamples", "diversity_samples")},
        "decoding": {
            **{name: evaluation[name] for name in ("samples_per_prompt", "temperature", "top_p")},
            "max_prompt_tokens": plan["max_prompt_tokens"],
            "max_response_tokens": plan["max_response_tokens"],
            "seed": evaluation["seed"],
        },
        "rows": {
            row: {"outputs": sha256_json([line for line in written if line["row"] == row])}
            for row in plan["outputs"]
        }
        | {
            row: {"weights": json.loads((folder / "metrics.json").read_text())["weights_digest"]}
            for row in plan["models"]
            if (folder := ctx.inputs[f"model/{row}"])
        },
        "alignbench": alignbench.__version__,
        "libraries": dict(library_versions()),
    }
