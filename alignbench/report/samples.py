"""Which answers the sample browser shows, with their scores: some prompts of a run, and why.

Of every row the first sample of its lowest training seed is shown, so nobody picked answers by
their score. Prompts are picked: the strongest disagreements, each row's longest losses, and others
at random from all families in turn, until the page would become too large.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from alignbench.errors import UserError
from alignbench.judges.base import MADE_UP, RUBRICS, outcome

Record = dict[str, Any]
Scores = dict[str, dict[str, Record]]
"""Row -> prompt id -> what is known of the row's answer."""

#: Of all shown prompts and answers, as JSON. With charts and scripts a page stays under 3 MB.
MAX_BYTES = 1_300_000
DISAGREEMENTS, LOSSES = 20, 3
SEED = 20_240
#: name in the browser -> field of scores.jsonl
SCORES = {
    "gold": "reward_gold",
    "proxy": "reward_proxy",
    "gold RM": "reward_gold_rm",
    "reward model": "reward_model",
}
#: Opponents of verdicts whose outcome is shown: the first that there is.
OPPONENTS = ("sft", "baseline")
LOST = "lost"
OUTCOMES = {1.0: "won", 0.5: "tied", 0.0: LOST}


def read_samples(
    folders: Mapping[str, Path], models: Sequence[str], max_bytes: int = MAX_BYTES
) -> list[Record]:
    """Prompts with every model's answer, in the order of the evaluation.

    Args:
        folders: stage name -> folder of ``generate/<row>/<seed>``, ``score/<row>/<seed>`` and
            ``judge/<row>/<seed>``; of a run without scores or verdicts the latter may be missing.
        models: rows in the order of the table.
        max_bytes: of the result as JSON.

    Returns:
        Dicts ``{"prompt_id", "family", "prompt", "picked", "of", "responses"}``: why the prompt
        was picked, of how many prompts, and for each model ``{"model", "response", "finished",
        "scores": {name: number}, "ratings": {rubric: number}, "against": "won" | "lost" | "tied" |
        None, "opponent", "length"}``.

    Raises:
        UserError: answers and their scores are not of the same prompts.
    """
    chosen = {
        model: min(seeds)
        for model in models
        if (seeds := [int(n.split("/")[2]) for n in folders if n.startswith(f"generate/{model}/")])
    }
    runs = {model: f"{model}/{seed}" for model, seed in chosen.items()}
    known = {model: _known(folders, run) for model, run in runs.items()}
    answers = {
        model: _first_samples(folders[f"generate/{run}"] / "responses.jsonl")
        for model, run in runs.items()
    }
    if not answers:
        return []
    families = {key: line["family"] for key, line in next(iter(answers.values())).items()}
    if any(lines.keys() != families.keys() for lines in answers.values()):
        raise UserError("report: the rows did not answer the same prompts")
    made = {key: _prompt(key, answers, known, len(families)) for key in _ranked(families, known)}
    taken = _within(made, _ranked(families, known), max_bytes)
    return [{**made[key], "picked": taken[key]} for key in families if key in taken]


def _first_samples(path: Path) -> dict[str, Record]:
    """Prompt id -> the line of its first sample; token ids are not kept."""
    return {
        line["prompt_id"]: {
            name: line[name] for name in ("family", "prompt", "response", "finished")
        }
        for line in _lines(path)
    }


def _lines(path: Path) -> Iterator[Record]:
    """First samples only: parsing the others would take most of the time of a report."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if '"sample": 0' not in line and '"sample":0' not in line:
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}:{number}: not JSON ({error})") from error
            if record["sample"] == 0:
                yield record


def _known(folders: Mapping[str, Path], run: str) -> dict[str, Record]:
    """Prompt id -> scores, ratings and verdict of the first sample."""
    found: dict[str, Record] = defaultdict(lambda: {"scores": {}, "ratings": {}, "against": None})
    if (folder := folders.get(f"score/{run}")) is not None:
        for line in _lines(folder / "scores.jsonl"):
            entry = found[line["prompt_id"]]
            entry["scores"] = {
                name: line[field] for name, field in SCORES.items() if line.get(field) is not None
            }
            entry["length"] = line.get("length", line.get("characters"))
    if (folder := folders.get(f"judge/{run}")) is not None:
        for line in _lines(folder / "ratings.jsonl"):
            found[line["prompt_id"]]["ratings"] = {
                rubric: line[rubric] for rubric in RUBRICS if line.get(rubric) is not None
            }
        for key, opponent, outcome in _outcomes(folder / "verdicts.jsonl"):
            found[key].update(against=outcome, opponent=opponent)
    return found


def _outcomes(path: Path) -> Iterator[tuple[str, str, str | None]]:
    """Prompt id, opponent, and how the answer did; as everywhere, contradictions are ties."""
    orders: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for line in _lines(path):
        orders[line["against"], line["prompt_id"]][line["order"]] = line["preference"]
    against = {opponent for opponent, _ in orders}
    opponent = next((name for name in OPPONENTS if name in against), None)
    for (name, key), told in orders.items():
        if name == opponent:
            both = told["ab"], told["ba"]
            yield key, name, None if None in both else OUTCOMES[outcome(*both)[0]]


def _prompt(
    key: str, answers: Mapping[str, Mapping[str, Record]], known: Scores, of: int
) -> Record:
    line = next(iter(answers.values()))[key]
    nothing: Record = {"scores": {}, "ratings": {}, "against": None}
    return {
        "prompt_id": key,
        "family": line["family"],
        "prompt": line["prompt"],
        "of": of,
        "responses": [
            {
                "model": model,
                "response": lines[key]["response"],
                "finished": lines[key]["finished"],
                **known[model].get(key, nothing),
            }
            for model, lines in answers.items()
        ],
    }


def _ranked(families: Mapping[str, str], known: Scores) -> dict[str, str]:
    """Prompt id -> why it is picked, most wanted first; every prompt is in it."""
    wanted: dict[str, str] = {}
    per_family = _at_random(families)
    for group in per_family.values():
        wanted[group[0]] = "one of each family"
    apart = {key: gap for key in families if (gap := _disagreement(known, key)) is not None}
    for key in sorted(apart, key=lambda key: -apart[key])[:DISAGREEMENTS]:
        wanted.setdefault(key, "scores disagree most")
    for model, entries in known.items():
        if model in MADE_UP:
            continue
        lost = [k for k in entries if k in families and entries[k]["against"] == LOST]
        lost.sort(key=lambda k: -(entries[k].get("length") or 0))
        for key in lost[:LOSSES]:
            wanted.setdefault(key, f"among the longest losses of {model}")
    turns = max(map(len, per_family.values()))
    for turn in range(turns):
        for group in per_family.values():
            for key in islice(group, turn, turn + 1):
                wanted.setdefault(key, "at random")
    return wanted


def _at_random(families: Mapping[str, str]) -> dict[str, list[str]]:
    """Prompts of each family, in an order that is the same every time."""
    groups: dict[str, list[str]] = defaultdict(list)
    for key, family in families.items():
        groups[family].append(key)
    generator = random.Random(SEED)
    for group in groups.values():
        generator.shuffle(group)
    return groups


def _disagreement(known: Scores, key: str) -> float | None:
    """The greatest distance between gold and another opinion of one answer to a prompt."""
    gaps = [
        gap
        for model, entries in known.items()
        if model not in MADE_UP and key in entries and (gap := distance(entries[key])) is not None
    ]
    return max(gaps, default=None)


def distance(entry: Mapping[str, Any]) -> float | None:
    """How far gold is from proxy reward and from the judge's mean rating: the larger, in points."""
    gold = entry["scores"].get("gold")
    others = [entry["scores"][name] for name in ("proxy",) if name in entry["scores"]]
    if ratings := list(entry["ratings"].values()):
        others.append(sum(ratings) / len(ratings))
    if gold is None or not others:
        return None
    return max(abs(float(gold) - float(other)) for other in others)


def _within(
    prompts: Mapping[str, Record], ranked: Mapping[str, str], max_bytes: int
) -> dict[str, str]:
    """The most wanted prompts that fit; a long one is left out, and the next one tried."""
    taken, size = {}, 0
    for key, why in ranked.items():
        needed = len(json.dumps(prompts[key], ensure_ascii=False).encode("utf-8", "replace"))
        if size + needed <= max_bytes:
            taken[key], size = why, size + needed
    return taken
