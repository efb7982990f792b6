"""What is in a data source, and what is wrong with it: the figures of `alignbench data check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from alignbench.data import checks
from alignbench.data.checks import normalise
from alignbench.data.dataset import Dataset
from alignbench.data.found import Comparison, Found
from alignbench.data.sources import distinct, pair_key
from alignbench.errors import UserError

Figures = dict[str, Any]
LARGEST_TABLE = 5_000_000
"""Votes, with gaps; agreement is left unknown beyond."""


def inspect(
    found: Found, dataset: Dataset | None, count_tokens: Callable[[str], int] | None = None
) -> Figures:
    """All figures of a source.

    Args:
        found: as the source has it, before equal pairs are put together.
        dataset: the splits that it would be dealt to; None where it cannot be.
        count_tokens: tokens of a text; None: lengths in words and characters only.

    Returns:
        JSON-able: ``counts``, ``skipped`` (reason -> records), ``facts``, ``lengths``,
        ``duplicates``, ``length_bias``, ``agreement``, ``splits``, ``notes`` and ``problems`` (of
        the splits; what a run would refuse). Unknown figures are None.
    """
    pairs = found.comparisons
    prompts = [*(pair.prompt for pair in pairs), *(each.prompt for each in found.examples)]
    return {
        "counts": {
            "pairs": len(pairs),
            "examples": len(found.examples),
            "prompts": len(set(map(normalise, prompts))),
            "skipped": sum(found.skipped.values()),
        },
        "skipped": dict(sorted(found.skipped.items())),
        "facts": dict(found.facts),
        "lengths": lengths(found, count_tokens),
        "duplicates": duplicates(pairs, found),
        "length_bias": length_bias(distinct(pairs)),
        "agreement": agreement(distinct(pairs)),
        "splits": {} if dataset is None else {n: len(rows) for n, rows in dataset.rows.items()},
        "notes": [] if dataset is None else list(dataset.notes),
        "problems": [] if dataset is None else _problems(dataset),
    }


def _problems(dataset: Dataset) -> list[str]:
    try:
        checks.check(dataset.rows)
    except UserError as error:
        return list(error.problems)
    return []


def lengths(found: Found, count_tokens: Callable[[str], int] | None = None) -> Figures:
    """Words, characters, and tokens if they can be counted, of each part of the records.

    Returns:
        part -> unit -> ``mean``, ``median``, ``p95``, ``longest``.
    """
    pairs, examples = found.comparisons, found.examples
    parts = {
        "prompt": list(
            {**dict.fromkeys(p.prompt for p in pairs), **dict.fromkeys(e.prompt for e in examples)}
        ),
        "chosen": [pair.chosen for pair in pairs],
        "rejected": [pair.rejected for pair in pairs],
        "response": [example.response for example in examples],
    }
    told: Figures = {}
    for name, texts in parts.items():
        if texts:
            told[name] = {
                "words": _spread([len(text.split()) for text in texts]),
                "characters": _spread([len(text) for text in texts]),
            }
            if count_tokens is not None:
                told[name]["tokens"] = _spread([count_tokens(text) for text in texts])
    return told


def _spread(values: Sequence[int]) -> Figures:
    ordered = sorted(values)
    return {
        "mean": fmean(ordered),
        "median": median(ordered),
        # The smallest value that at least 95 % do not exceed.
        "p95": ordered[-(-95 * len(ordered) // 100) - 1],
        "longest": ordered[-1],
    }


def duplicates(pairs: Sequence[Comparison], found: Found) -> Figures:
    """Records beyond the first of a pair, an example or a prompt, and contradicting labels.

    Returns:
        ``exact``: records that say what one before them says; ``repeated_pairs``: other records of
        a pair seen before, in either order; ``contradicting``: pairs that one record labels one way
        and another the other; ``repeated_examples``;
        ``prompts_with_several_pairs``.
    """
    records: Counter[tuple[str, ...]] = Counter()
    ways: dict[tuple[str, ...], set[str]] = {}
    once = distinct(pairs)
    for pair in once:
        records[pair_key(pair)] += 1
        ways.setdefault(pair_key(pair), set()).add(pair.chosen)
    per_prompt = Counter(key[0] for key in records)
    examples = {(normalise(each.prompt), each.response) for each in found.examples}
    return {
        "exact": len(pairs) - len(once),
        "repeated_pairs": sum(records.values()) - len(records),
        "contradicting": sum(len(chosen) > 1 for chosen in ways.values()),
        "repeated_examples": len(found.examples) - len(examples),
        "prompts_with_several_pairs": sum(count > 1 for count in per_prompt.values()),
    }


def length_bias(pairs: Sequence[Comparison], confidence: float = 0.95) -> Figures:
    """How often the longer answer (in words) is the chosen one, in percent; 50 = no bias.

    The unit is the prompt, since pairs of one prompt share answers: one counts if the longer
    answer is chosen in most of its pairs. Prompts where it comes out even count neither way.

    Returns:
        ``value``, ``low``, ``high`` (Clopper-Pearson), ``n`` prompts.
    """
    from alignbench.stats.rates import rate_interval

    margins: Counter[str] = Counter()
    for pair in pairs:
        chosen, rejected = len(pair.chosen.split()), len(pair.rejected.split())
        margins[normalise(pair.prompt)] += (chosen > rejected) - (chosen < rejected)
    decided = [margin for margin in margins.values() if margin]
    longer = sum(margin > 0 for margin in decided)
    interval = rate_interval(longer, len(decided), confidence, percent=True)
    return {"value": interval.value, "low": interval.low, "high": interval.high, "n": len(decided)}


def agreement(pairs: Sequence[Comparison]) -> Figures:
    """Whether people who labelled one pair agree; all records of a pair are votes on it.

    Returns:
        ``pairs`` with two votes or more; ``unanimous`` of them, in percent; ``alpha``
        (Krippendorff, nominal: 1 = always, 0 = as chance would). None where unknown.
    """
    from alignbench.stats.agreement import krippendorff_alpha

    votes: dict[tuple[str, ...], list[int]] = {}
    for pair in pairs:
        # By the order of the texts, which has nothing to do with the labels: counted as votes for
        # "chosen", every pair would lean to one side by construction, and chance agree too much.
        first = pair.chosen < pair.rejected
        lost = pair.votes_total - pair.votes_chosen
        count = votes.setdefault(pair_key(pair), [0, 0])
        count[0] += pair.votes_chosen if first else lost
        count[1] += lost if first else pair.votes_chosen
    several = [count for count in votes.values() if sum(count) > 1]
    if not several:
        return {"pairs": 0, "unanimous": None, "alpha": None}
    widest = max(map(sum, several))
    alpha = None
    if widest * len(several) <= LARGEST_TABLE:
        table = [[0] * a + [1] * b + [None] * (widest - a - b) for a, b in several]
        alpha = krippendorff_alpha(table)
    unanimous = sum(0 in count for count in several)
    return {"pairs": len(several), "unanimous": 100 * unanimous / len(several), "alpha": alpha}


def found_in(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Found:
    """Comparisons and examples of splits that are written already (the sandbox's)."""
    from alignbench.data.found import Example

    return Found(
        [
            Comparison(
                row["prompt"],
                row["chosen"],
                row["rejected"],
                row["votes_chosen"],
                row["votes_total"],
            )
            for name in rows
            if name.startswith("pairs")
            for row in rows[name]
        ],
        [
            Example(row["prompt"], row["response"])
            for name in rows
            if name.startswith("sft")
            for row in rows[name]
        ],
    )
