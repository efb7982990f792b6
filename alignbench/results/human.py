"""What people say of the answers of a run: their labels, matched with what the judge was asked.

A win rate by a judge is as biased as the judge. Where people compared some of the same pairs, its
error there corrects it everywhere (`stats.prediction_powered`); people alone have a wide interval.

Annotators who get the gold questions wrong are left out of everything (`results.annotators`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignbench.files import read_jsonl
from alignbench.judges.base import RUBRICS, SECOND
from alignbench.results.annotators import Annotator, Told, agreement, screen
from alignbench.results.observations import Row, Verdict
from alignbench.results.schema import RESAMPLING_SEED
from alignbench.results.trust import Given, Key
from alignbench.stats.agreement import cohen_kappa
from alignbench.stats.bootstrap import Bootstrap, Floats, Interval, percentile_interval
from alignbench.stats.prediction_powered import prediction_powered_mean
from alignbench.stats.rates import rate_interval

Record = dict[str, Any]
RESAMPLES = 2000
PERCENT, SCALE = (0.0, 100.0), (1.0, 10.0)
#: Kinds of values of one prompt each, such as the mean over its labels: (prompt, value).
Values = Iterable[tuple[str, float]]


@dataclass(frozen=True)
class People:
    """Everybody's answers to pairs of this run, and who was asked."""

    told: Sequence[Told] = ()
    annotators: Sequence[Annotator] = ()


class Labels(dict[tuple[Key, str], float]):
    """(answer, opponent) of a judged pair -> mean preference of the people who compared it."""

    people = People()


def read_human(
    inputs: Mapping[str, Path],
    rows: Sequence[Row],
    given: Mapping[Key, Given],
    opponents: Mapping[str, str],
) -> tuple[Labels, int]:
    """Labels of kept annotators, averaged by judged pair, and the number of those that fit none.

    A label of other texts than this run's, where it says which, fits nothing. One that fits two
    answers which were not judged counts in `Labels.people` only.

    Args:
        inputs: stage name -> folder; nothing without ``human``.
        rows: of the table.
        given: every answer.
        opponents: name of an opponent in the verdicts -> its row.
    """
    labels = Labels()
    if "human" not in inputs:
        return labels, 0
    judged = {
        ((row.name, v.seed, v.prompt, v.sample), opponents[v.against]): v.against
        for row in rows
        for v in row.verdicts
    }
    ids, order = _ids(inputs["data"]), _order(rows, opponents)
    lines = read_jsonl(inputs["human"] / "labels.jsonl")
    annotators = screen(lines)
    out = {each.name for each in annotators if each.excluded}
    found: dict[tuple[Key, str], list[float]] = defaultdict(list)
    told, unused = [], 0
    for line in lines:
        if line.get("expected") is not None or line["annotator"] in out:
            continue
        one = _told(line, given, ids, order)
        if one is None:
            unused += 1
            continue
        told.append(one)
        # Where the judge was asked of one row against the other only, that way round.
        for way in (one, one.turned()):
            against = judged.get((way.own, way.other[0])) if way.other[1] == 0 else None
            if against is not None:
                found[way.own, against].append(way.preference)
                break
    labels.update({pair: sum(each) / len(each) for pair, each in found.items()})
    labels.people = People(told, annotators)
    return labels, unused


def _order(rows: Sequence[Row], opponents: Mapping[str, str]) -> dict[str, int]:
    """Row -> its place in a comparison: opponents of the judge last, the reference behind them."""
    last = list(opponents.values())
    names = [row.name for row in rows if row.name not in last]
    return {name: place for place, name in enumerate([*names, *last])}


def _told(
    line: Mapping[str, Any],
    given: Mapping[Key, Given],
    ids: Mapping[str, str],
    order: Mapping[str, int],
) -> Told | None:
    """A label as an answer about two answers of the run; None where it fits none.

    A and B are the same comparison as B and A, so that all are turned the same way: by `order`,
    the seeds of one row by number.
    """
    prompt = line["prompt_id"] or ids.get(str(line["prompt"]).strip(), "")
    own: Key = (line["model"], line["seed"], prompt, line["sample"])
    other: Key = (line["against"], line.get("against_seed", 0), prompt, line["sample"])
    if own not in given or other not in given or own == other:
        return None
    if not _shown(line, given[own], given[other]):
        return None
    one = Told(line["annotator"], own, other, line["preference"], line.get("ratings") or {})
    right_way = (order[own[0]], own[1]) < (order[other[0]], other[1])
    return one if right_way else one.turned()


def _ids(data: Path) -> dict[str, str]:
    prompts = read_jsonl(data / "eval_prompts.jsonl")
    return {str(line["prompt"]).strip(): str(line["id"]) for line in prompts}


def _shown(label: Mapping[str, Any], own: Given, other: Given) -> bool:
    """Whether the label is of these two texts, as far as it says."""
    return label["response"] in (None, own.text) and label["other"] in (None, other.text)


def human_record(
    rows: Sequence[Row], labels: Labels, unused: int, confidence: float
) -> Record | None:
    """``human`` of results.json: win rates in percent by judge, by people, and corrected.

    One line of ``rows`` for each checkpoint with a label: people who looked at the answers of one
    training seed say nothing about another's. None without a label.
    """
    people = labels.people
    if not labels and not unused and not people.annotators and not people.told:
        return None
    lines = [
        _line(row.name, seed, against, verdicts, labels, confidence)
        for row in rows
        for (seed, against), verdicts in _checkpoints(row).items()
    ]
    record: Record = {
        "labels": len(labels),
        "unused": unused,
        "rows": [line for line in lines if line is not None],
    }
    if people.told or people.annotators:
        record |= {
            "annotators": [each.record() for each in people.annotators],
            "agreement": agreement(people.told),
            "win_rates": _win_rates(people.told, [row.name for row in rows], confidence),
            "ratings": _ratings(people.told, [row.name for row in rows], confidence),
            "judge_agreement": _judge_agreement(rows, labels, confidence),
        }
    return record


def _win_rates(told: Sequence[Told], models: Sequence[str], confidence: float) -> list[Record]:
    """People's win rates of each pair of rows that they compared, over all its checkpoints."""
    pairs: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for one in told:
        pairs[one.own[0], one.other[0]].append(one)
    return [
        {
            "model": model,
            "against": against,
            "seeds": sorted({one.own[1] for one in ones}),
            "labels": len(ones),
            **_figure(_by_item(ones), PERCENT, confidence),
        }
        for (model, against), ones in sorted(
            pairs.items(), key=lambda pair: tuple(map(models.index, pair[0]))
        )
    ]


def _by_item(told: Sequence[Told]) -> Values:
    """(prompt, win rate) of each pair of answers, the mean over who compared it."""
    items: dict[tuple[Key, Key], list[float]] = defaultdict(list)
    for one in told:
        items[one.own, one.other].append(100 * (SECOND - one.preference))
    return [(own[2], sum(wins) / len(wins)) for (own, _), wins in items.items()]


def _ratings(told: Sequence[Told], models: Sequence[str], confidence: float) -> list[Record]:
    """People's mean ratings of each row that was rated."""
    found: dict[tuple[str, str], dict[Key, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in told:
        for answer, rubric, rating in one.rated():
            found[answer[0], rubric][answer].append(rating)
    return [
        {
            "model": model,
            **{
                rubric: _figure(
                    [(a[2], sum(r) / len(r)) for a, r in found[model, rubric].items()],
                    SCALE,
                    confidence,
                )
                for rubric in RUBRICS
            },
        }
        for model in models
        if any(found.get((model, rubric)) for rubric in RUBRICS)
    ]


def _judge_agreement(rows: Sequence[Row], labels: Labels, confidence: float) -> Record:
    """How often the judge sides with people, over all judged pairs that both decided on."""
    prompts, sides = [], []
    for row in rows:
        for verdict in row.verdicts:
            key: Key = (row.name, verdict.seed, verdict.prompt, verdict.sample)
            people, win = labels.get((key, verdict.against)), verdict.win()
            if people is not None and win is not None:
                prompts.append(verdict.prompt)
                sides.append((_side(100 * win), _side(100 * (SECOND - people))))
    same = [(prompt, 100.0 * (a == b)) for prompt, (a, b) in zip(prompts, sides, strict=True)]
    kappa = cohen_kappa([a for a, _ in sides], [b for _, b in sides])
    return {**_figure(same, PERCENT, confidence), "pairs": len(sides), "kappa": kappa}


def _figure(values: Values, scale: tuple[float, float], confidence: float) -> Record:
    """Mean over prompts with its interval; ``n`` prompts, each the mean of its values."""
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for prompt, value in values:
        by_prompt[prompt].append(value)
    n = len(by_prompt)
    if not n:
        return {**_bounds(Interval(None)), "n": 0}
    cells: Floats = np.array([[sum(each) / len(each) for each in by_prompt.values()]])
    mean = float(cells.mean())
    if scale == PERCENT and mean in PERCENT and n > 1:
        # Of all alike a bootstrap knows nothing, the binomial distribution does.
        interval = rate_interval(n if mean else 0, n, confidence, percent=True)
    else:
        draws = Bootstrap(n, RESAMPLES, RESAMPLING_SEED).means(cells, 0, scale)
        interval = percentile_interval(mean, draws, n, confidence)
    return {**_bounds(interval), "n": n}


def _checkpoints(row: Row) -> dict[tuple[int, str], list[Verdict]]:
    found: dict[tuple[int, str], list[Verdict]] = defaultdict(list)
    for verdict in row.verdicts:
        found[verdict.seed, verdict.against].append(verdict)
    return found


def _line(
    name: str,
    seed: int,
    against: str,
    verdicts: Sequence[Verdict],
    labels: Labels,
    confidence: float,
) -> Record | None:
    judge, people, prompts = [], [], []
    for verdict in verdicts:
        win = verdict.win()
        if win is None:
            continue
        told = labels.get(((name, seed, verdict.prompt, verdict.sample), against))
        judge.append(100 * win)
        people.append(None if told is None else 100 * (SECOND - told))
        prompts.append(verdict.prompt)
    known = [(judge[i], told) for i, told in enumerate(people) if told is not None]
    if not known:
        return None
    found = prediction_powered_mean(judge, people, prompts, confidence=confidence)
    corrected = Interval(found.value, found.low, found.high)
    return {
        "model": name,
        "seed": seed,
        "against": against,
        "labelled": len(known),
        "judge": {**_bounds(Interval(found.judge)), "n": len(judge)},
        "people": {**_percent(found.human), "n": len(known)},
        "corrected": {**_percent(corrected), "n": len(judge)},
        "kappa": cohen_kappa([_side(j) for j, _ in known], [_side(told) for _, told in known]),
    }


def _side(win: float) -> str:
    return "tie" if win == 50.0 else "win" if win > 50.0 else "loss"


def _percent(interval: Interval) -> Record:
    """Bounds by Student's t know no end of the scale."""
    shown = _bounds(interval)
    return {name: None if v is None else float(np.clip(v, *PERCENT)) for name, v in shown.items()}


def _bounds(interval: Interval) -> Record:
    return {"value": interval.value, "low": interval.low, "high": interval.high}
