"""The statistics of an entry, computed again from its own observations.

The observations of the deciding metrics are published prompt by prompt, so whoever reads an entry
can make its intervals and tests himself. They agree but for rounding and the luck of resampling;
an interval that is off by more than a quarter of its half-width was not made from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from alignbench.judges.base import MADE_UP, SENTINELS
from alignbench.leaderboard.facts import RANGES, methods_of, range_text
from alignbench.leaderboard.make import PROMPT_BY_PROMPT
from alignbench.leaderboard.schema import Entry, Observations
from alignbench.results.conclusions import against_reference, between_methods, target_rows
from alignbench.results.estimates import Estimates
from alignbench.results.metrics import METRIC
from alignbench.results.observations import Row
from alignbench.results.schema import RESAMPLING_SEED
from alignbench.results.sentinels import sentinel_flags
from alignbench.stats.bootstrap import Floats, Interval

SLACK = 0.25
"""Of the half-width of an interval, by which a bound may be off."""
MOST_RESAMPLES = 2_000
_ROUNDING = 2e-4
_NO_TEXTS = [(0, "")]
"""An entry has none; corpus statistics want one, and are not looked at here."""

Bounds = tuple[float | None, float | None]


def disagreements(entry: Entry) -> Iterator[str]:
    """Fields that do not follow from the observations; none where there are no observations.

    The entry has passed the other checks of `consistency.contradictions`.
    """
    if entry.observations is None:
        return
    missing = list(_missing(entry, entry.observations))
    yield from missing or _different(entry, estimates_of(entry, entry.observations))


def _different(entry: Entry, estimates: Estimates) -> Iterator[str]:
    for number, cell in enumerate(entry.rows):
        if cell.metric in PROMPT_BY_PROMPT and estimates.has(cell.metric):
            interval = estimates[cell.model, cell.metric].interval
            where = f"rows.{number}"
            yield from _interval(where, Interval(cell.value, cell.low, cell.high), interval)
            units = estimates[cell.model, cell.metric].n_units
            if cell.n_prompts != units:
                yield f"{where}.n_prompts: is {cell.n_prompts}, observations have {units}"
    yield from _tests(entry, estimates)
    yield from _targets(entry, estimates)
    yield from _best(entry, estimates)
    yield from _silence(entry, estimates)


def estimates_of(entry: Entry, seen: Observations) -> Estimates:
    """The table of an entry's metrics that are known prompt by prompt."""
    rows = [
        Row(
            model,
            tuple(seen.rows[model].seeds),
            {name: cells_of(seen, model, name) for name in seen.rows[model].prompts},
            {},
            [_NO_TEXTS for _ in seen.rows[model].seeds],
            [],
        )
        for model in entry.models
    ]
    resamples = max(1, min(entry.statistics.resamples, MOST_RESAMPLES))
    return Estimates(rows, resamples, entry.statistics.confidence, RESAMPLING_SEED)


def cells_of(seen: Observations, row: str, metric: str) -> Floats:
    """Observations of a row, shape (seeds, prompts), nan = unknown."""
    values = seen.rows[row].prompts[metric]
    return np.array([[np.nan if v is None else v for v in seed] for seed in values], dtype=float)


def _missing(entry: Entry, seen: Observations) -> Iterator[str]:
    """Prompts' values that are not there, or not those of the means."""
    for row, own in seen.rows.items():
        for metric in sorted(own.means.keys() & set(PROMPT_BY_PROMPT)):
            where = f"observations.rows.{row}.prompts.{metric}"
            if metric not in own.prompts:
                yield f"{where}: is missing, but means has it"
                continue
            cells = cells_of(seen, row, metric)
            least, most = RANGES[metric]
            if ((cells < least) | (cells > most)).any():
                yield f"{where}: holds what is impossible, it is {range_text(metric)}"
                continue
            for seed, mean in enumerate(own.means[metric]):
                known = cells[seed][np.isfinite(cells[seed])]
                found = float(known.mean()) if known.size else None
                if (mean is None) != (found is None) or (
                    mean is not None
                    and found is not None
                    and abs(mean - found) > _ROUNDING * max(1.0, abs(found))
                ):
                    yield f"{where}: its mean is not observations.rows.{row}.means.{metric}.{seed}"
        for metric in own.prompts:
            if metric not in PROMPT_BY_PROMPT or metric not in own.means:
                yield f"observations.rows.{row}.prompts.{metric}: has no means"


def _interval(where: str, told: Interval, made: Interval) -> Iterator[str]:
    """Whether an interval is the one that observations make, within `SLACK`."""
    bounds = [b for b in (told.low, told.high, made.low, made.high) if b is not None]
    if not bounds or made.value is None:
        return
    tiny = _ROUNDING * max(1.0, abs(made.value))
    if told.low is None or told.high is None or made.low is None or made.high is None:
        # Cells that differ by rounding only have bounds before it and none after it.
        if max(bounds) - min(bounds) > tiny:
            shown = "none" if made.low is None else f"{made.low:.4g} to {made.high:.4g}"
            yield f"{where}: observations give other bounds ({shown})"
        return
    most = SLACK * (made.high - made.low) / 2 + tiny
    if max(abs(told.low - made.low), abs(told.high - made.high)) > most:
        yield f"{where}: observations give other bounds ({made.low:.4g} to {made.high:.4g})"


def _tests(entry: Entry, estimates: Estimates) -> Iterator[str]:
    found, alpha = entry.statistics, 1 - entry.statistics.confidence
    families = (
        ("against_sft", found.against_sft, against_reference(estimates)),
        ("between_methods", found.between_methods, between_methods(estimates, methods_of(entry))),
    )
    for name, told, computed in families:
        made = {(t["model"], t.get("metric"), t.get("other")): t for t in computed}
        sizes = Counter(t.get("metric") for t in computed if t["model"] not in SENTINELS)
        for number, test in enumerate(told):
            where = f"statistics.{name}.{number}"
            metric = test.metric if name == "against_sft" else None
            again = made[test.model, metric, test.other]
            yield from _interval(
                where,
                Interval(test.difference, test.low, test.high),
                Interval(again["difference"], again["low"], again["high"]),
            )
            alone, p = (1.0 if again[n] is None else again[n] for n in ("p", "p_holm"))
            separable = test.verdict != "not separable"
            # At the border the luck of resampling decides; well beside it, it does not.
            family = 1 if test.model in SENTINELS else sizes[metric]
            doubtful = p > _most(entry, family) or alone > _most(entry)
            if doubtful if separable else p < alpha / 2:
                yield f'{where}.verdict: is "{test.verdict}", observations give p = {p:.3g}'


def _most(entry: Entry, family: int = 1) -> float:
    """The largest p of a difference that an entry may call separable.

    Holm multiplies the smallest p that resamples can show by up to the number of tests: of an
    entry with more resamples than are made here, ours may be that large.
    """
    most = 2 * (1 - entry.statistics.confidence)
    if entry.statistics.resamples <= MOST_RESAMPLES:
        return most
    return max(most, 2 / (MOST_RESAMPLES + 1) * family)


def _targets(entry: Entry, estimates: Estimates) -> Iterator[str]:
    made = {(t["model"], t["target"]): t for t in target_rows(estimates, methods_of(entry))}
    for number, target in enumerate(entry.targets):
        again = made.get((target.model, target.target))
        if again is not None:
            yield from _interval(
                f"targets.{number}",
                Interval(target.value, target.low, target.high),
                Interval(again["value"], again["low"], again["high"]),
            )


def _best(entry: Entry, estimates: Estimates) -> Iterator[str]:
    for name, best in entry.statistics.best.items():
        if best is None or name not in PROMPT_BY_PROMPT or not estimates.has(name):
            continue
        sign = 1 if METRIC[name].better == "higher" else -1
        for other in entry.models:
            if (
                other in (best, *MADE_UP, "sft_copy")
                or estimates[other, name].interval.value is None
            ):
                continue
            difference, p = estimates.difference(name, best, other)
            if p is None or p > _most(entry) or sign * (difference.value or 0) <= 0:
                yield f"statistics.best.{name}: observations do not separate {best} from {other}"


def _silence(entry: Entry, estimates: Estimates) -> Iterator[str]:
    """What must be flagged: leaving out that a scorer failed is a lie too."""
    judge = entry.judge.model_dump()
    told = [flag.message for flag in entry.flags]
    if estimates.has("reward_gold"):
        base, sft = (estimates[row, "reward_gold"].interval.value for row in ("base", "sft"))
        low = base is not None and sft is not None and base >= sft
        if low and not any("not below SFT" in message for message in told):
            yield "flags: none says that base is not below SFT on gold reward"
    for flag in sentinel_flags(estimates, methods_of(entry), "sft", "sft", judge):
        name = next(each for each in MADE_UP if each in flag["message"])
        if flag["level"] == "error" and not any(name in message for message in told):
            yield f"flags: none says that a scorer prefers {name} to every method"
    if "sft_copy" in estimates.rows and estimates.has("win_rate_vs_sft"):
        copy = estimates["sft_copy", "win_rate_vs_sft"].interval
        far = copy.value is not None and copy.low is not None and copy.high is not None
        width = (copy.high or 0.0) - (copy.low or 0.0)
        off = max((copy.low or 0.0) - 50.0, 50.0 - (copy.high or 0.0))
        if far and off > SLACK * width and not any("copy of SFT" in message for message in told):
            yield "flags: none says that an untouched copy of SFT does not come out at 50 %"
