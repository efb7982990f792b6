"""The parts of results.json that a run with budgets, snapshots and tuning has, made up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignbench.metering.currencies import COUNTED
from alignbench.results.bills import bills_record
from alignbench.results.budget_curves import curves_record
from alignbench.tuning.curve import expected_best, running_best

Record = dict[str, Any]
ASKED = (0.0, 0.25, 0.5, 0.75, 1.0)
GOLD = {
    "reinforce": (0, 0.4, 0.7, 1.0, 1.3),
    "ppo": (0, 0.9, 1.3, 0.7, 0.2),
    "dpo": (0, 0.8, 1.0, 1.0, 1.0),
}
PROXY = (0, 0.8, 1.5, 2.1, 2.5)
KL = (0, 2, 5, 9, 14)
LIMIT = 2e13
ENVIRONMENT = {
    "python": "3.11.9",
    "platform": "Linux",
    "processor": None,
    "cpu_count": 2,
    "libraries": {"torch": "2.9.0", "trl": "1.16.0"},
}


def with_sections(
    results: Record, root: Path, prompts: int = 48, rows: Sequence[str] = tuple(GOLD)
) -> Record:
    """`results` of `tests.fake_run` with bills, curves, health, tuning and a plan.

    `rows` are the methods that have them: those of `GOLD`, and others that behave like ppo.
    """
    inputs = _stages(root, prompts, rows)
    runs = [("sft", 0), *((row, seed) for row in rows for seed in (0, 1))]
    shared = ["reward/proxy", "sft"]
    needs = dict.fromkeys(rows, shared) | {"ppo": [*shared, "trial/ppo/0"], "dpo": ["sft"]}
    bills, timed = bills_record(inputs, runs, needs)
    training = {run: {**found} for run, found in results["training"].items()}
    for row in rows:
        for seed in (0, 1):
            found = training[f"{row}/{seed}"]
            own = row == "dpo"
            metrics = {
                "budget": {"limits": {"flops": LIMIT}, "override": own},
                "ended": {"by": "budget", "currency": "flops", "reason": None},
                "overshoot": {"flops": 3e10},
                "spent_fraction": 1.0015,
            }
            if own:
                reason = "all 4000 pairs seen once (epochs: 1)"
                metrics["ended"] = {"by": "method", "currency": None, "reason": reason}
                metrics.update(overshoot={}, spent_fraction=0.62)
            training[f"{row}/{seed}"] = {**found, "metrics": {**found["metrics"], **metrics}}
    return {
        **results,
        "training": training,
        "bills": bills,
        "costs": {**results["costs"], "bills": {**timed, "environment": ENVIRONMENT}},
        "budget_curves": curves_record(inputs, runs, 300, 0.95, 0),
        "health": _health(),
        "health_unchecked": [
            {"row": row, "seed": 0, "rule": "ratio_clipped", "reason": "the log has no clip_ratio"}
            for row in ("dpo", "reinforce")
        ],
        "tuning": {"ppo": _tuned()},
        **ranked(results["models"], rows),
        "plan": {
            f"train/{row}/0": {"predicted": {"flops": 2e13, "tokens_trained": 9500}} for row in rows
        },
    }


def _stages(root: Path, prompts: int, rows: Sequence[str]) -> dict[str, Path]:
    inputs: dict[str, Path] = {}

    def stage(name: str, seconds: float, **consumed: float) -> None:
        folder = inputs[name] = root / name
        folder.mkdir(parents=True)
        bill = {**dict.fromkeys(COUNTED, 0), **consumed}
        (folder / "metrics.json").write_text(json.dumps({"consumed": bill, "responses": 600}))
        cost = {"wall_seconds": seconds, "device_seconds": seconds}
        peaks = {"peak_rss_bytes": 2**30 + seconds * 2**20, "peak_cuda_bytes": 0}
        (folder / "cost.json").write_text(json.dumps({**cost, **peaks}))

    stage("sft", 61, flops=4e12, prompts=3000, tokens_trained=400_000, optimizer_steps=280)
    stage("reward/proxy", 95, flops=9e12, human_labels=4000, tokens_trained=700_000)
    stage("trial/ppo/0", 70, flops=2e13, prompts=700, tokens_generated=90_000)
    for seed in (0, 1):
        rollouts = {"tokens_generated": 120_000 + 900 * seed, "tokens_scored": 500_000}
        stage(f"train/reinforce/{seed}", 130, flops=LIMIT, optimizer_steps=150, **rollouts)
        for row in set(rows) - {"reinforce", "dpo"}:
            work = {"flops": LIMIT * 0.7, "optimizer_steps": 120, **rollouts}
            stage(f"train/{row}/{seed}", 80 + seed, **work)
        pairs = {"human_labels": 4000, "tokens_trained": 800_000}
        stage(f"train/dpo/{seed}", 90, flops=LIMIT * 0.9, optimizer_steps=250, **pairs)
        for row in rows:
            stage(f"generate/{row}/{seed}", 9, flops=3e11, tokens_generated=30_000)
    stage("generate/sft/0", 9, flops=1e11, tokens_generated=29_000)
    random = np.random.default_rng(0)
    part = random.normal(5, 1, prompts)
    for number, row in enumerate(rows):
        for seed in (0, 1):
            folder = inputs[f"curve/{row}/{seed}"] = root / "curve" / row / str(seed)
            folder.mkdir(parents=True)
            ids = [f"p{i}" for i in range(prompts)]
            (folder / "metrics.json").write_text(json.dumps({"prompt_ids": ids}))
            lines = []
            for i, asked in enumerate(ASKED):
                share = 1 - 0.2 * (number % 5)
                bill = {"flops": share * LIMIT * asked, "optimizer_steps": 100 * asked}
                noise = random.normal(0, 0.5, (2, prompts))
                kl = KL[i] * np.exp(random.normal(0, 0.2, prompts))
                lines.append(
                    {
                        "asked": asked,
                        "fraction": asked * 1.01,
                        "step": 100 * asked,
                        "consumed": {**dict.fromkeys(COUNTED, 0), **bill},
                        "proxy": list(part + 0.5 + PROXY[i] + noise[0]),
                        "gold": list(part + GOLD.get(row, GOLD["ppo"])[i] + noise[1]),
                        "kl": list(kl),
                        "length": [20] * prompts,
                    }
                )
            (folder / "curve.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    return inputs


def _health() -> list[Record]:
    return [
        {
            "row": "dpo",
            "seed": 1,
            "rule": "accuracy_stuck",
            "level": "warning",
            "finding": "Pair accuracy stays at 51 % over the last quarter of training.",
            "evidence": {"accuracy": 0.5132, "first_step": 180, "steps": [180, 240]},
            "remedy": "Raise methods.dpo.learning_rate (now 1e-06).",
            "source": "2.4 problem 1",
        },
        {
            "row": "ppo",
            "seed": 0,
            "rule": "overoptimised",
            "level": "error",
            "finding": "From 50 % of the budget on, gold reward fell by 1.10 while proxy rose.",
            "evidence": {"peak_fraction": 0.5, "gold_change": -1.1},
            "remedy": "Raise methods.ppo.kl_coef (now 0.05).",
            "source": "2.3 KL penalty",
        },
    ]


def _tuned() -> Record:
    values = [5.1, 5.6, None, 5.4]
    known = [0.0 if value is None else value for value in values]
    return {
        "metric": "reward_proxy",
        "scorer": "proxy reward model",
        "saw_gold": False,
        "trials": [
            {
                "number": k,
                "params": {"learning_rate": 1e-5 * 3**k, "kl_coef": 0.05},
                "state": "failed" if value is None else "complete",
                "reason": "diverged: weights are not finite" if value is None else None,
                "value": value,
                "standard_error": None if value is None else 0.08,
            }
            for k, value in enumerate(values)
        ],
        "expected_best": expected_best(known),
        "running_best": running_best(known),
    }


def ranked(models: Sequence[str], rows: Sequence[str] = tuple(GOLD)) -> Record:
    """Pairwise wins, choices, effect and stability: each model a little better than the last."""
    count = len(models)
    wins: list[list[Record | None]] = [
        [
            None if i == j else {"value": v, "low": v - 8, "high": v + 8, "n": 80}
            for j in range(count)
            for v in [50.0 + 45.0 * (i - j) / count]
        ]
        for i in range(count)
    ]
    strengths = [
        {
            "model": model,
            "value": 0.3 * i - 1,
            "low": 0.3 * i - 1.2,
            "high": 0.3 * i - 0.8,
            "elo": 1000 + 52.0 * i,
            "component": 0,
        }
        for i, model in enumerate(models)
    ]
    trained = list(rows)
    least = [
        {"model": model, "value": 1.0 + i, "low": None, "high": None, "text": f"{i + 1} GiB"}
        for i, model in enumerate(trained)
    ]
    questions = {
        "memory": "Which method needs the least memory?",
        "labels": "Which method needs the fewest human labels?",
        "compute": "Which method gains most for its FLOPs?",
        "stability": "Which method comes out alike on every seed?",
        "quality": "Which method is best, whatever it costs?",
    }
    choices = [
        {
            "constraint": constraint,
            "question": question,
            "answer": None if constraint == "quality" else trained[0],
            "sentence": "No method is separably best."
            if constraint == "quality"
            else f"{trained[0]} took 1 GiB, the least of all.",
            "rows": least,
        }
        for constraint, question in questions.items()
    ]
    return {
        "pairwise": {
            "judge": "sandbox (simulated judge)",
            "models": list(models),
            "wins": wins,
            "strengths": strengths,
            "problems": [],
        },
        "choices": choices,
        "effect": {
            "reference": "ppo",
            "rows": [
                {"model": model, "value": 100.0 - 20 * i, "low": 60.0 - 20 * i, "high": 140.0}
                for i, model in enumerate(trained)
            ],
        },
        "stability": [
            {"model": model, "seeds": 2, "std": 0.05 + 0.1 * i, "low": None, "high": None}
            for i, model in enumerate(trained)
        ],
    }
