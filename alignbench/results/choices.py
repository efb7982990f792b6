"""Which method under which constraint, as far as the measurements license an answer.

Who is asked about: methods that are separably better than SFT in gold reward, and not separably
worse than the method with the highest (Holm-corrected tests of `conclusions`). There may be none,
and then every answer is None. Of these,

- memory: the least peak of any stage that the method needs, on the GPU where there is one;
- labels, compute: the least on the end-to-end bill, in human labels and in FLOPs;
- stability: the least spread over training seeds, if an F-test tells it from that of each other;
- quality: the highest gold reward, if it is separable from every other method's.

Costs that differ by less than 1 % are a tie, and a tie has no answer; nor has a question with an
amount that is not known. Memory depends on the machine and the moment: its answer is under "costs"
of results.json, with the measured bills, while all else is equal in equal runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alignbench.metering.currencies import amount
from alignbench.results.bills import TIE, cheaper
from alignbench.results.estimates import Estimates
from alignbench.stats.bootstrap import Interval

Record = dict[str, Any]
Decision = tuple[str | None, str]
"""The answer, if there is one, and a sentence."""
QUESTIONS = {
    "memory": "Which needs the least memory, with all that it needs?",
    "labels": "Which needs the fewest human labels, with all that it needs?",
    "compute": "Which needs the least compute, with all that it needs?",
    "stability": "Which depends least on its training seed?",
    "quality": "Which answers best?",
}
NOBODY = (
    "No method is separably better than SFT in gold reward, so no choice between them is licensed."
)
UNKNOWN = "–"
MIB = 2**20


def candidates(
    tests: Sequence[Mapping[str, Any]],
    pairs: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    estimates: Estimates,
) -> list[str]:
    """The methods that are asked about; see the module.

    Args:
        tests: `conclusions.against_reference`.
        pairs: `conclusions.between_methods`.
        methods: rows that compete, in the order of the table.
        estimates: of the table.
    """
    better = {
        test["model"]
        for test in tests
        if test["metric"] == "reward_gold" and test["verdict"] == "better"
    }
    behind = _others(pairs, _leader(methods, estimates), separable=True)
    return [method for method in methods if method in better and method not in behind]


def choices_record(
    asked: Sequence[str],
    pairs: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    estimates: Estimates,
    bills: Mapping[str, Any],
    stability: Sequence[Mapping[str, Any]],
) -> list[Record]:
    """``choices`` of results.json: every constraint but memory.

    Args:
        asked: `candidates`.
        pairs, methods, estimates: as in `candidates`.
        bills: ``bills`` of results.json.
        stability: ``stability`` of results.json.

    Returns:
        ``{"constraint", "question", "answer": model or None, "sentence", "rows": [{"model",
        "value", "low", "high", "text", "asked"}]}`` each, with a row for every method; `asked`
        says whether it is among the candidates.
    """
    level = estimates.confidence
    labels = _billed(bills, methods, "human_labels", level)
    flops = _billed(bills, methods, "flops", level)
    spreads = {s["model"]: Interval(s["std"], s["low"], s["high"]) for s in stability}
    seeds = {s["model"]: s["seeds"] for s in stability}
    gold = {method: estimates[method, "reward_gold"].interval for method in methods}
    leader = _leader(methods, estimates)
    return [
        _least("labels", asked, labels, lambda value: f"{amount('human_labels', value)} labels"),
        _least("compute", asked, flops, lambda value: f"{amount('flops', value)} FLOPs"),
        _choice(
            "stability",
            asked,
            _rows(asked, spreads, lambda value: f"{value:.3g}"),
            lambda: _steadiest({m: spreads[m].value for m in asked}, seeds, level),
        ),
        _choice(
            "quality",
            asked,
            _rows(asked, gold, lambda value: f"{value:.2f}"),
            lambda: _best(asked, str(leader), pairs),
        ),
    ]


def memory_choice(
    asked: Sequence[str],
    methods: Sequence[str],
    measured: Mapping[str, Any],
    confidence: float,
) -> Record:
    """The choice by memory, for "choices" of the measured bills (``costs.bills``).

    Args:
        asked: `candidates`.
        methods: rows that compete, in the order of the table.
        measured: ``costs.bills`` of results.json.
        confidence: of the bounds.
    """
    peaks = _billed(measured, methods, "peak_cuda_bytes", confidence)
    where = " on the GPU"
    if any(interval.value for interval in peaks.values()):
        # Who trains on the GPU needs some of its memory: 0 was not measured there.
        peaks = {method: peak if peak.value else Interval(None) for method, peak in peaks.items()}
    else:
        peaks, where = _billed(measured, methods, "peak_rss_bytes", confidence), ""
    return _least("memory", asked, peaks, lambda value: f"{value / MIB:,.0f} MiB{where}")


def all_choices(results: Mapping[str, Any]) -> list[Record]:
    """All choices of results.json in the order of `QUESTIONS`; [] for results without any."""
    measured = (results["costs"].get("bills") or {}).get("choices", [])
    found = {each["constraint"]: each for each in (*measured, *results.get("choices", []))}
    return [found[constraint] for constraint in QUESTIONS if constraint in found]


def _billed(
    bills: Mapping[str, Any], methods: Sequence[str], currency: str, confidence: float
) -> dict[str, Interval]:
    """End-to-end amount of every method; bounds of the mean over its seeds, by t."""
    from scipy.special import stdtrit

    found = {}
    for method in methods:
        row = bills["rows"].get(method)
        given = row["end_to_end"][currency] if row else {"value": None, "error": None}
        value, error = given["value"], given["error"]
        found[method] = Interval(value)
        if value is not None and error:  # of seeds that cost the same there is no spread to tell
            half = error * float(stdtrit(row["seeds"] - 1, (1 + confidence) / 2))
            found[method] = Interval(value, max(0.0, value - half), value + half)
    return found


def _least(
    constraint: str,
    asked: Sequence[str],
    amounts: Mapping[str, Interval],
    text: Callable[[float], str],
) -> Record:
    """The choice of the one that needs least."""
    rows = _rows(asked, amounts, text)

    def decide() -> Decision:
        known = {m: value for m in asked if (value := amounts[m].value) is not None}
        if len(known) < len(asked):
            return None, f"not known of {_list([m for m in asked if m not in known])}."
        least, *others = sorted(known, key=lambda method: known[method])
        tied = [m for m in others if not cheaper(known[least], known[m])]
        if tied:
            need = f"{text(known[least])}, alike within {100 * TIE:.0f} %"
            if len(tied) == len(others):
                return None, f"each needs {need}."
            return None, f"{_list([least, *tied])} need the least, {need}."
        after = f" ({others[0]} is next with {text(known[others[0]])})" if others else ""
        return least, f"{least} needs {text(known[least])}{after}."

    return _choice(constraint, asked, rows, decide)


def _steadiest(
    spreads: Mapping[str, float | None], seeds: Mapping[str, int], confidence: float
) -> Decision:
    known = {m: value for m, value in spreads.items() if value}
    if len(known) < len(spreads):
        why = "one seed, or seeds that are all equal, tell no spread"
        return None, f"not known of {_list([m for m in spreads if m not in known])}: {why}."
    least = min(known, key=lambda method: known[method])
    close = [
        other
        for other in known
        if other != least
        and _same_variance(known[other], seeds[other], known[least], seeds[least]) > 1 - confidence
    ]
    spread = f"{least} has the least standard deviation over {seeds[least]} seeds, "
    spread += f"{known[least]:.3g} in gold reward"
    if close:
        return None, f"{spread}, but by an F-test not separably less than {_list(close)}."
    return least, f"{spread}."


def _same_variance(a: float, seeds_a: int, b: float, seeds_b: int) -> float:
    """Two-sided p-value of an F-test that two standard deviations are of equal populations."""
    from scipy.stats import f

    above = float(f.sf((a / b) ** 2, seeds_a - 1, seeds_b - 1))
    return 2 * min(above, 1 - above)


def _best(asked: Sequence[str], leader: str, pairs: Sequence[Mapping[str, Any]]) -> Decision:
    highest = f"{leader} has the highest gold reward"
    if leader not in asked:
        return None, f"{highest}, but it is not separably above SFT's."
    close = _others(pairs, leader, separable=False)
    if not close and not _others(pairs, leader, separable=True):
        return None, f"{highest}, but there is no other method to compare with."
    if close:
        return None, f"{highest}, but is not separable from {_list(close)}."
    return leader, f"{highest}, separably from every other method."


def _leader(methods: Sequence[str], estimates: Estimates) -> str | None:
    """The method with the highest gold reward; None where none is known."""
    values = {m: estimates[m, "reward_gold"].interval.value for m in methods}
    known = {m: value for m, value in values.items() if value is not None}
    return max(known, key=lambda m: known[m], default=None)


def _others(pairs: Sequence[Mapping[str, Any]], leader: str | None, separable: bool) -> list[str]:
    """Methods that are, or are not, separable from the leader."""
    return [
        pair["other"] if pair["model"] == leader else pair["model"]
        for pair in pairs
        if leader in (pair["model"], pair["other"])
        and (pair["verdict"] != "not separable") == separable
    ]


def _rows(
    asked: Sequence[str], found: Mapping[str, Interval], text: Callable[[float], str]
) -> list[Record]:
    return [
        {
            "model": method,
            **vars(interval),
            "text": UNKNOWN if interval.value is None else text(interval.value),
            "asked": method in asked,
        }
        for method, interval in found.items()
    ]


def _choice(
    constraint: str, asked: Sequence[str], rows: list[Record], decide: Callable[[], Decision]
) -> Record:
    """One entry, which says first who was asked about; without anybody, nothing is decided."""
    answer, sentence = decide() if asked else (None, NOBODY)
    if len(asked) > 1 and constraint != "quality":
        sentence = f"Of {_list(asked)}, none separably worse than the best: {sentence}"
    elif len(asked) == 1 and constraint != "quality":
        sentence = (
            f"Only {asked[0]} is better than SFT and not separably worse than the best: {sentence}"
        )
    return {
        "constraint": constraint,
        "question": QUESTIONS[constraint],
        "answer": answer,
        "sentence": sentence,
        "rows": rows,
    }


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
