"""Who beats whom: ``pairwise`` of results.json, from all verdicts of the judge on one run.

A cell's win rate is estimated as every win rate of the table is: over seeds and prompts, each pair
of rows by itself. Bradley-Terry strengths fit one number per row to all comparisons together, so
they also order rows that never met; each verdict weighs the same. Sentinels take no part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from alignbench.errors import UserError
from alignbench.files import read_jsonl
from alignbench.results.estimates import PERCENT, Estimates
from alignbench.results.observations import Row, Run, Verdict, prompt_ids
from alignbench.results.schema import RESAMPLING_SEED
from alignbench.stats.bootstrap import Bootstrap, Floats, Interval, mean, percentile_interval
from alignbench.stats.rates import rate_interval
from alignbench.stats.strengths import bradley_terry_by_prompt

Record = dict[str, Any]
MATCHES = "matches"
"""The stage that compares the methods with each other; a run may have none."""
OPPONENTS = ("base", "sft")
#: (row, other) -> outcomes for the row and numbers of verdicts, each (seeds, prompts).
Tallies = dict[tuple[str, str], tuple[Floats, Floats]]


def add_matches(judge: Record, inputs: Mapping[str, Path]) -> None:
    """Put the questions of the matches on the judge's bill.

    Who served the table's verdicts stays as it is, since the certificate compares that.

    Args:
        judge: ``judge`` of results.json, changed in place.
        inputs: stage name -> folder; nothing happens without ``matches``.

    Raises:
        UserError: they were judged by another judge than the rows.
    """
    if MATCHES not in inputs:
        return
    who = _judged_by(inputs)
    if who["identity"] != judge["identity"]:
        raise UserError(
            f"{MATCHES} was judged by {who['identity']}, the rows by {judge['identity']}; rows of "
            "one table need one judge: run again"
        )
    added: Record = {}
    for name, value in judge["bill"].items():
        more = who["bill"][name]
        added[name] = None if value is None or more is None else value + more
    judge["bill"] = added


def pairwise_record(
    inputs: Mapping[str, Path],
    rows: Sequence[Row],
    estimates: Estimates,
    judge: Mapping[str, Any],
    resamples: int,
) -> Record | None:
    """``pairwise`` of results.json; None without any verdict.

    Args:
        inputs: stage name -> folder; with ``matches``, if methods met.
        rows: base, SFT and the methods, in the order of the table.
        estimates: of the table.
        judge: ``judge`` of results.json.
        resamples: of the bootstrap.

    Returns:
        ``{"judge", "models", "wins": [[None or {"value", "low", "high", "n"}]], "strengths":
        [{"model", "value", "low", "high", "elo", "component"}], "problems"}``; win rates in
        percent, row beats column, ties half; `n` prompts. A strength is a log-odds, 0 being the
        mean of its component; those of different components cannot be compared.
    """
    first, seed = rows[0].name, rows[0].seeds[0]
    folders = [inputs[f"{kind}/{first}/{seed}"] for kind in ("score", "judge", "generate")]
    prompts = prompt_ids(Run(first, seed, *folders))
    numbers = {prompt: number for number, prompt in enumerate(prompts)}
    names = [row.name for row in rows]
    tallies = _tallies(inputs, rows, numbers)
    if not any(played.any() for _, played in tallies.values()):
        return None
    cells = _cells(tallies, len(prompts), estimates, resamples)
    confidence = estimates.confidence
    wins = _games(tallies, names, len(prompts))
    found = bradley_terry_by_prompt(
        wins, names=names, resamples=resamples, confidence=confidence, seed=RESAMPLING_SEED
    )
    component = {i: number for number, group in enumerate(found.components) for i in group}
    return {
        "judge": judge["name"],
        "models": names,
        "wins": [[cells.get((name, other)) for other in names] for name in names],
        "strengths": [
            {
                "model": name,
                "value": found.strengths[i],
                "low": found.low[i],
                "high": found.high[i],
                "elo": found.elo[i],
                "component": component[i],
            }
            for i, name in enumerate(names)
        ],
        "problems": [*_doubts(inputs, names, judge), *found.problems],
    }


def _doubts(
    inputs: Mapping[str, Path], names: Sequence[str], judge: Mapping[str, Any]
) -> list[str]:
    """What a reader must know of the methods' comparisons with each other."""
    if MATCHES not in inputs:
        alone = len([name for name in names if name not in OPPONENTS]) < 2
        return [] if alone else ["the judge was not asked to compare the methods with each other"]
    served = _judged_by(inputs)["served"]
    if set(served) <= set(judge["served"]):
        return []
    return [
        f"the methods' comparisons with each other were served by {', '.join(served)}, those with "
        f"base and sft by {', '.join(judge['served']) or 'a server that did not say'}"
    ]


def _tallies(
    inputs: Mapping[str, Path], rows: Sequence[Row], numbers: Mapping[str, int]
) -> Tallies:
    """Every pair of rows that met, once; base's verdicts on SFT are SFT's on base."""
    found: Tallies = {}
    before: dict[str, Sequence[str]] = {"base": (), "sft": ("base",)}
    for row in rows:
        for against in before.get(row.name, OPPONENTS):
            own = (verdict for verdict in row.verdicts if verdict.against == against)
            found[row.name, against] = _tally(own, row.seeds, numbers)
    if MATCHES in inputs:
        methods = [row for row in rows if row.name not in OPPONENTS]
        for a, b in combinations(methods, 2):
            path = inputs[MATCHES] / "verdicts" / f"{a.name}-{b.name}.jsonl"
            met = (
                Verdict(
                    line["seed"], line["prompt_id"], line["sample"], b.name, line["ab"], line["ba"]
                )
                for line in read_jsonl(path)
            )
            found[a.name, b.name] = _tally(met, a.seeds, numbers)
    return found


def _tally(
    verdicts: Iterable[Verdict], seeds: Sequence[int], numbers: Mapping[str, int]
) -> tuple[Floats, Floats]:
    won, played = np.zeros((2, len(seeds), len(numbers)))
    place = {seed: number for number, seed in enumerate(seeds)}
    for verdict in verdicts:
        if (win := verdict.win()) is not None:
            at = (place[verdict.seed], numbers[verdict.prompt])
            won[at] += win
            played[at] += 1
    return won, played


def _cells(
    tallies: Tallies, prompts: int, estimates: Estimates, resamples: int
) -> dict[tuple[str, str], Record]:
    """Win rate of each pair in both directions; those of the table as they are there."""
    bootstrap = Bootstrap(prompts, resamples, RESAMPLING_SEED)
    found = {}
    for number, ((row, other), (won, played)) in enumerate(tallies.items()):
        if not played.any():
            continue
        if other in OPPONENTS:
            cell = estimates[row, f"win_rate_vs_{other}"]
            interval, n = cell.interval, cell.n_units
        else:
            rates = np.full(won.shape, np.nan)
            np.divide(100 * won, played, out=rates, where=played > 0)
            n = int(played.any(axis=0).sum())
            # Streams after those of the table's rows: a pair's seeds are drawn by themselves.
            draws = bootstrap.means(rates, len(estimates.rows) + number, PERCENT)
            interval = percentile_interval(mean(rates), draws, n, estimates.confidence)
        interval = _bounded(interval, n, estimates.confidence)
        found[row, other] = {**vars(interval), "n": n}
        found[other, row] = {**vars(_turned(interval)), "n": n}
    return found


def _bounded(interval: Interval, n: int, confidence: float) -> Interval:
    """With binomial bounds, prompts for units, where every verdict is the same win or loss."""
    if interval.low is None and interval.value in (0.0, 100.0) and n > 1:
        return rate_interval(n if interval.value else 0, n, confidence, percent=True)
    return interval


def _turned(interval: Interval) -> Interval:
    """The win rate of the other side."""
    value, low, high = (
        None if x is None else 100 - x for x in (interval.value, interval.high, interval.low)
    )
    return Interval(value, low, high)


def _games(tallies: Tallies, names: Sequence[str], prompts: int) -> Floats:
    """Wins, shape (seeds, prompts, rows, rows); of rows with one seed spread over all seeds."""
    seeds = max(len(won) for won, _ in tallies.values())
    games = np.zeros((seeds, prompts, len(names), len(names)))
    for (row, other), (won, played) in tallies.items():
        i, j = names.index(row), names.index(other)
        share = len(won) / seeds
        games[:, :, i, j] = won * share
        games[:, :, j, i] = (played - won) * share
    return games


def _judged_by(inputs: Mapping[str, Path]) -> Record:
    who: Record = json.loads((inputs[MATCHES] / "judge.json").read_text(encoding="utf-8"))
    return who
