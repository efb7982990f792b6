"""What the stages measured, as arrays that the statistics can work on.

A row of the table is a model (``base``, ``sft``, ``sft_copy`` or a method) with one or more
training seeds. Its cells are seeds x prompts, averaged over the samples of a prompt first.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignbench.errors import UserError
from alignbench.files import read_jsonl
from alignbench.judges.base import outcome
from alignbench.stats.bootstrap import Floats

Record = dict[str, Any]
MEANS = (
    "reward_proxy",
    "reward_proxy_raw",
    "reward_gold",
    "reward_gold_rm",
    "reward_gold_rm_raw",
    "helpful",
    "harmless",
    "honest",
    "length",
    "kl_from_sft",
)
#: rate of the table -> yes/no field of scores.jsonl
RATES = {"refusal_rate": "refusal", "over_refusal_rate": "over_refusal"}


@dataclass(frozen=True)
class Run:
    """The files of one row and training seed."""

    row: str
    seed: int
    scores: Path
    verdicts: Path
    responses: Path


@dataclass(frozen=True)
class Row:
    """All measurements of one row.

    Attributes:
        cells: metric -> array (seeds, prompts), nan where not applicable or unknown; rates and
            win rates in percent.
        nll, tokens: arrays (seeds, documents) of the held-out text.
        texts: per seed the (prompt number, response) pairs that enter corpus statistics.
        verdict_pairs, inconsistent: pairs judged, and those whose two orders disagree.
    """

    name: str
    seeds: tuple[int, ...]
    cells: Mapping[str, Floats]
    nll: Floats
    tokens: Floats
    texts: Sequence[Sequence[tuple[int, str]]]
    verdict_pairs: int
    inconsistent: int


def read_row(runs: Sequence[Run], prompts: Sequence[str], diversity_samples: int) -> Row:
    """Read all seeds of one row.

    Args:
        runs: of one row, in the order of their seeds.
        prompts: ids of the evaluation prompts, in order.
        diversity_samples: size of the fixed subset for corpus statistics: first samples in
            prompt order, then second samples, and so on.

    Raises:
        UserError: a run was scored on other prompts or samples than its neighbours.
    """
    numbers = {prompt: number for number, prompt in enumerate(prompts)}
    cells: dict[str, list[Floats]] = defaultdict(list)
    nll, tokens, texts = [], [], []
    pairs = inconsistent = 0
    for run in runs:
        scores = _checked(run, read_jsonl(run.scores / "scores.jsonl"), numbers)
        for metric in MEANS:
            cells[metric].append(_average(scores, numbers, metric, scale=1))
        for metric, field in RATES.items():
            cells[metric].append(_average(scores, numbers, field, scale=100))
        outcomes, contradictions = _outcomes(read_jsonl(run.verdicts / "verdicts.jsonl"))
        for against in ("base", "sft"):
            against_lines = [line for line in outcomes if line["against"] == against]
            cells[f"win_rate_vs_{against}"].append(
                _average(against_lines, numbers, "outcome", scale=100)
            )
        pairs, inconsistent = pairs + len(outcomes), inconsistent + contradictions
        corpus = json.loads((run.scores / "corpus.json").read_text(encoding="utf-8"))
        documents = corpus["perplexity"]["documents"]
        nll.append(np.array([document["nll"] for document in documents], dtype=np.float64))
        tokens.append(np.array([document["tokens"] for document in documents], dtype=np.float64))
        texts.append(
            _subset(read_jsonl(run.responses / "responses.jsonl"), numbers)[:diversity_samples]
        )
    return Row(
        runs[0].row,
        tuple(run.seed for run in runs),
        {metric: np.array(per_seed) for metric, per_seed in cells.items()},
        np.array(nll),
        np.array(tokens),
        texts,
        pairs,
        inconsistent,
    )


def prompt_ids(run: Run) -> list[str]:
    """Ids of the evaluation prompts in the order of a run's responses."""
    return list(
        dict.fromkeys(line["prompt_id"] for line in read_jsonl(run.scores / "scores.jsonl"))
    )


def _checked(run: Run, lines: list[Record], numbers: Mapping[str, int]) -> list[Record]:
    if {line["prompt_id"] for line in lines} != set(numbers):
        raise UserError(
            f"{run.row}, seed {run.seed}: was evaluated on other prompts than the rows before it; "
            "rows of one table must share their evaluation prompts."
        )
    return lines


def _average(lines: list[Record], numbers: Mapping[str, int], field: str, scale: float) -> Floats:
    """Mean over samples by prompt, shape (prompts,); nan where no sample has a value."""
    known = [(numbers[line["prompt_id"]], line[field]) for line in lines if line[field] is not None]
    if not known:
        return np.full(len(numbers), np.nan)
    where = np.array([number for number, _ in known])
    values = np.array([float(value) for _, value in known])
    count = np.bincount(where, minlength=len(numbers))
    total = np.bincount(where, weights=values, minlength=len(numbers))
    result: Floats = np.full(len(numbers), np.nan)
    np.divide(scale * total, count, out=result, where=count > 0)
    return result


def _outcomes(verdicts: list[Record]) -> tuple[list[Record], int]:
    """One outcome for each pair judged in both orders, and the number of contradictions."""
    orders: dict[tuple[str, str, int], dict[str, float]] = defaultdict(dict)
    for line in verdicts:
        pair = (line["against"], line["prompt_id"], line["sample"])
        orders[pair][line["order"]] = float(line["preference"])
    outcomes, contradictions = [], 0
    for (against, prompt, _), preference in orders.items():
        value, consistent = outcome(preference["ab"], preference["ba"])
        outcomes.append({"against": against, "prompt_id": prompt, "outcome": value})
        contradictions += not consistent
    return outcomes, contradictions


def _subset(lines: list[Record], numbers: Mapping[str, int]) -> list[tuple[int, str]]:
    ordered = sorted(lines, key=lambda line: (line["sample"], numbers[line["prompt_id"]]))
    return [(numbers[line["prompt_id"]], str(line["response"])) for line in ordered]
