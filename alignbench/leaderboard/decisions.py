"""What an entry concludes, against the values that it concludes from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from alignbench.judges.base import SENTINELS
from alignbench.leaderboard.facts import close, inside, methods_of, values_of
from alignbench.leaderboard.schema import Entry, Target, Test
from alignbench.results.conclusions import TARGETS, TRAINED, target_status
from alignbench.results.conclusions import Target as Goal
from alignbench.results.metrics import METRIC, OF_A_SET
from alignbench.stats.bootstrap import Interval
from alignbench.stats.comparison import holm, verdict

_TARGETS = {target.name: target for target in TARGETS}
_SAID = re.compile(
    r"((?:[a-z0-9_]+, )*(?:[a-z0-9_]+ and )?[a-z0-9_]+) (?:is|are) "
    r"(better than|worse than|not separable from) SFT"
)
_HIGHEST = re.compile(r"(?<!No )\b([a-z0-9_]+) has the highest (gold reward|win rate)")
_DECIDED = {"gold reward": TRAINED.reward, "win rate": TRAINED.wins}


def misjudged(entry: Entry) -> Iterator[str]:
    """Tests, targets, best rows and sentences that the values do not license, by field."""
    for check in (_tests, _targets, _best, _sentences):
        yield from check(entry)


def _tests(entry: Entry) -> Iterator[str]:
    """All tests are there, each with the difference of its rows and the decision it licenses."""
    values, methods = values_of(entry), methods_of(entry)
    found = entry.statistics
    decided = [metric for metric in _DECIDED.values() if any(m == metric for _, m in values)]
    wanted = {(model, metric) for model in entry.models if model != "sft" for metric in decided}
    if sorted((test.model, test.metric or "") for test in found.against_sft) != sorted(wanted):
        yield "statistics.against_sft: must have one test of each row in each deciding metric"
        return
    pairs = set(combinations(methods, 2)) if TRAINED.between in decided else set()
    if sorted((test.model, test.other or "") for test in found.between_methods) != sorted(pairs):
        yield "statistics.between_methods: must have one test of each two methods"
        return
    against = [(f"statistics.against_sft.{n}", test) for n, test in enumerate(found.against_sft)]
    for where, test in against:
        wins = test.metric == TRAINED.wins
        other = 50.0 if wins else values.get(("sft", str(test.metric)))
        yield from _test(where, test, values.get((test.model, str(test.metric))), other, entry)
    for metric in decided:
        family = [(w, t) for w, t in against if t.metric == metric and t.model not in SENTINELS]
        yield from _corrected(family)
    between = [(f"statistics.between_methods.{n}", t) for n, t in enumerate(found.between_methods)]
    for where, test in between:
        a, b = (values.get((str(row), TRAINED.between)) for row in (test.model, test.other))
        yield from _test(where, test, a, b, entry)
    yield from _corrected(between)


def _test(
    where: str, test: Test, value: float | None, other: float | None, entry: Entry
) -> Iterator[str]:
    difference = None if value is None or other is None else value - other
    if not close(test.difference, difference):
        shown = "unknown" if difference is None else f"{difference:g}"
        yield f"{where}.difference: is not that of the rows ({shown})"
    yield from inside(where, test.difference, test.low, test.high)
    for name in ("p", "p_holm"):
        chance = getattr(test, name)
        if chance is not None and not 0 <= chance <= 1:
            yield f"{where}.{name}: {chance:g} is no probability"
    if (test.detectable or 0.0) < 0:
        yield f"{where}.detectable: is negative"
    said = verdict(Interval(test.difference), test.p_holm, entry.statistics.confidence)
    if test.verdict != said:
        yield f'{where}.verdict: is "{test.verdict}", its difference and p_holm say "{said}"'


def _corrected(family: list[tuple[str, Test]]) -> Iterator[str]:
    """Holm's correction over a family; p is unknown where p_holm is."""
    chances = [test.p for _, test in family]
    if any(p is not None and not 0 <= p <= 1 for p in chances):
        return  # said already
    for (where, test), adjusted in zip(family, holm(chances), strict=True):
        if not close(test.p_holm, adjusted):
            yield f"{where}.p_holm: is not what Holm's correction makes of p"


def _targets(entry: Entry) -> Iterator[str]:
    cells = {(cell.model, cell.metric): cell for cell in entry.rows}
    seen: set[tuple[str, str]] = set()
    for number, target in enumerate(entry.targets):
        where = f"targets.{number}"
        known = _TARGETS.get(target.target)
        if known is None or target.model not in entry.models:
            yield f"{where}: is no target of a row"
            continue
        if (target.model, target.target) in seen:
            yield f"{where}: is there twice"
        seen.add((target.model, target.target))
        told = (target.metric, target.against, target.threshold)
        if told != (known.metric, known.against, known.threshold):
            yield f"{where}: metric, against or threshold are not those of this target"
            continue
        yield from inside(where, target.value, target.low, target.high)
        own = cells.get((target.model, target.metric))
        value = own.value if own else None
        if known.against is not None:
            other = cells.get((known.against, target.metric))
            below = other.value if other else None
            value = None if value is None or not below else 100 * (value / below - 1)
        elif own and not (close(target.low, own.low) and close(target.high, own.high)):
            yield f"{where}: its interval is not that of the row"
        if not close(target.value, value, 1e-4):
            yield f"{where}.value: is not that of the rows"
        yield from _status(where, target, known)


def _status(where: str, target: Target, known: Goal) -> Iterator[str]:
    met, status = target_status(known, Interval(target.value, target.low, target.high))
    if target.met != met:
        yield f"{where}.met: is not what its value says"
    if target.status != status:
        yield f'{where}.status: is "{target.status}", its interval says "{status}"'


def _best(entry: Entry) -> Iterator[str]:
    values = values_of(entry)
    for name, best in entry.statistics.best.items():
        where = f"statistics.best.{name}"
        metric = METRIC.get(name)
        if metric is None or metric.better is None or name in OF_A_SET:
            yield f"{where}: no row can be separably best in it"
        elif best is not None:
            sign = 1 if metric.better == "higher" else -1
            known = {
                model: sign * value
                for (model, of), value in values.items()
                if of == name and value is not None and model not in SENTINELS
            }
            if best not in known or len(known) < 2 or known[best] < max(known.values()):
                yield f"{where}: {best} does not have the best value"


def _sentences(entry: Entry) -> Iterator[str]:
    """What sentences claim, as far as they can be read; pages show what the tests say."""
    decided = {(t.model, t.metric): t.verdict for t in entry.statistics.against_sft}
    values = values_of(entry)
    for number, sentence in enumerate(entry.verdict):
        by, _, claim = sentence.partition(", ")
        metric = _DECIDED.get(by.removeprefix("By "))
        for names, words in _SAID.findall(claim) if metric else ():
            said = words.removesuffix(" than").removesuffix(" from")
            for name in re.split(r", | and ", names):
                if decided.get((name, metric)) != said:
                    yield f"verdict.{number}: {name} is not {said} by statistics.against_sft"
        for name, words in _HIGHEST.findall(sentence):
            own = values.get((name, str(_DECIDED[words])))
            others = (values.get((m, str(_DECIDED[words]))) for m in methods_of(entry))
            if own is None or any(other is not None and other > own for other in others):
                yield f"verdict.{number}: {name} does not have the highest {words}"
