"""Whether the fields of an entry can all be true at once.

`entry.validated` has checked shapes and the digest; whoever forges an entry computes those anew.
Here every number is held against what it follows from: values against seeds' means, differences
and decisions against values, settings against the certificate. What follows from the observations
prompt by prompt is computed again in `leaderboard.recomputed`. An invented run that agrees with
itself passes: only running `commands` again finds that out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from alignbench.compare import same
from alignbench.leaderboard.decisions import misjudged
from alignbench.leaderboard.facts import (
    PERCENT,
    RANGES,
    SHARE,
    close,
    inside,
    methods_of,
    range_text,
)
from alignbench.leaderboard.schema import Entry
from alignbench.results.certificate import asked_of
from alignbench.results.metrics import OF_A_SET
from alignbench.results.observations import PERPLEXITIES

Record = dict[str, Any]
MOST_PROMPTS, MOST_SEEDS = 20_000, 1_000
"""Of an entry: more could not be checked in reasonable time."""
_COMMAND = re.compile(
    r"git checkout [0-9a-f]{7,64}|alignbench publish [a-z0-9_]+|#[ \w,.:()-]*"
    r"|alignbench run recipes/[a-z0-9_]+\.yaml(?: --[a-z]+ [A-Za-z0-9_.,-]+"
    r"| --set (?:model|data)\.path=PATH)*"
)


def contradictions(entry: Entry) -> Iterator[str]:
    """Every field that cannot be true beside another, as ``field: what is wrong``."""
    from alignbench.leaderboard.recomputed import disagreements

    found = False
    for check in (_models, _counts, _rows, misjudged, _terms, _makers):
        for problem in check(entry):
            found = True
            yield problem
    if not found:  # else the computation would only say it again, or fail
        yield from disagreements(entry)


def _models(entry: Entry) -> Iterator[str]:
    if len(set(entry.models)) < len(entry.models):
        yield "models: one is there twice"
    for needed in ("base", "sft"):
        if needed not in entry.models:
            yield f"models: {needed} is missing, which every run has"
    filled = {cell.model for cell in entry.rows}
    for model in dict.fromkeys(entry.models):
        if model not in filled:
            yield f"models: {model} has no row"
    trained = entry.certificate.get("rows", {})
    if set(methods_of(entry)) != set(trained):
        yield "models: its methods are not those of certificate.rows"
    methods = entry.recipe.settings.get("methods")
    if not isinstance(methods, Mapping) or not set(trained) <= set(methods):
        yield "recipe.settings.methods: lacks methods of certificate.rows"


def _counts(entry: Entry) -> Iterator[str]:
    """Seeds, prompts and costs."""
    weights = entry.certificate.get("trained_weights")
    runs = list(weights) if isinstance(weights, Mapping) else []
    seeds: dict[str, set[str]] = {}
    for run in runs:
        row, _, seed = str(run).rpartition("/")
        seeds.setdefault(row, set()).add(seed)
    if set(seeds) != set(methods_of(entry)):
        yield "certificate.trained_weights: its rows are not the methods"
    known = {int(seed) for own in seeds.values() for seed in own if seed.isdecimal()}
    if not same(entry.certificate.get("seeds", sorted(known)), sorted(known)):
        yield "certificate.seeds: are not those of certificate.trained_weights"
    for name, bills in (("counted", entry.counted), ("measured", entry.measured)):
        for row, bill in bills.items():
            if row not in entry.models:
                yield f"{name}.{row}: is not in models"
            for kind, amounts in (("marginal", bill.marginal), ("end_to_end", bill.end_to_end)):
                for currency, amount in amounts.items():
                    if min(amount.value or 0.0, amount.error or 0.0) < 0:
                        yield f"{name}.{row}.{kind}.{currency}: is negative"
    yield from _observed_counts(entry, seeds)


def _observed_counts(entry: Entry, trained: Mapping[str, set[str]]) -> Iterator[str]:
    seen = entry.observations
    for number, cell in enumerate(entry.rows):
        where = f"rows.{number}"
        most = len(trained[cell.model]) if cell.model in trained else None
        if cell.value is not None and not (cell.n_seeds and cell.n_prompts):
            yield f"{where}: has a value that rests on nothing"
        if most is not None and cell.n_seeds != most:
            yield f"{where}.n_seeds: is {cell.n_seeds}, the certificate has {most}"
        elif seen and cell.model in seen.rows and cell.n_seeds != len(seen.rows[cell.model].seeds):
            yield f"{where}.n_seeds: is not that of observations.rows.{cell.model}.seeds"
        if seen and cell.metric not in PERPLEXITIES and cell.n_prompts > len(seen.prompts):
            yield f"{where}.n_prompts: is more than observations.prompts has"
    if seen is None:
        return
    known = {prompt["id"] for prompt in entry.certificate.get("eval_prompts", ())}
    if len(set(seen.prompts)) < len(seen.prompts):
        yield "observations.prompts: one is there twice"
    if not set(seen.prompts) <= known:
        yield "observations.prompts: not all are in certificate.eval_prompts"
    if len(seen.prompts) > MOST_PROMPTS:
        yield f"observations.prompts: more than {MOST_PROMPTS} cannot be checked"
    if set(seen.rows) != set(entry.models):
        yield "observations.rows: are not the models"
    for row, own in seen.rows.items():
        if len(set(own.seeds)) < len(own.seeds) or not 0 < len(own.seeds) <= MOST_SEEDS:
            yield f"observations.rows.{row}.seeds: must be different, 1 to {MOST_SEEDS} of them"
        if row in trained and {str(seed) for seed in own.seeds} != trained[row]:
            yield f"observations.rows.{row}.seeds: are not those of certificate.trained_weights"


def _rows(entry: Entry) -> Iterator[str]:
    """Possible values, inside their intervals, and the means of their seeds."""
    for number, cell in enumerate(entry.rows):
        where = f"rows.{number}"
        least, most = RANGES[cell.metric]
        if cell.value is None:
            if cell.low is not None:
                yield f"{where}: an interval without a value"
            continue
        closed = (least, most) in (PERCENT, SHARE)
        for name in ("value", "low", "high") if closed else ("value",):
            bound = getattr(cell, name)
            if bound is not None and not least <= bound <= most:
                known = range_text(cell.metric)
                yield f"{where}.{name}: {bound:g} is impossible, {cell.metric} is {known}"
        yield from inside(where, cell.value, cell.low, cell.high)
        yield from _means(entry, number)


def _means(entry: Entry, number: int) -> Iterator[str]:
    cell, seen = entry.rows[number], entry.observations
    if seen is None or cell.metric in OF_A_SET or cell.model not in seen.rows:
        return
    means = seen.rows[cell.model].means.get(cell.metric)
    if means is None and cell.metric in PERPLEXITIES:
        return  # entries of alignbench 0.1.0 do not tell
    where = f"observations.rows.{cell.model}.means.{cell.metric}"
    if means is None or None in means:
        yield f"{where}: is missing, but rows.{number} has a value"
        return
    least, most = RANGES[cell.metric]
    values = [value for value in means if value is not None]
    if any(not least <= value <= most for value in values):
        yield f"{where}: holds what is impossible, {cell.metric} is {range_text(cell.metric)}"
        return
    mean = math.fsum(values) / len(values)
    if not close(cell.value, mean):
        yield f"rows.{number}.value: is {cell.value:g}, the means of its seeds give {mean:g}"


def _terms(entry: Entry) -> Iterator[str]:
    """The resolved recipe and the certificate tell of one run."""
    settings, certificate = entry.recipe.settings, entry.certificate
    for field, value in _certified(settings).items():
        told: Any = certificate
        for part in field.split("."):
            told = told.get(part, _NOTHING) if isinstance(told, Mapping) else _NOTHING
        if told is not _NOTHING and not same(told, value):
            yield f"certificate.{field}: is not what recipe.settings says"
    for name in ("name", "profile"):
        if name in settings and settings[name] != getattr(entry.recipe, name):
            yield f"recipe.settings.{name}: is not recipe.{name}"
    certified = certificate.get("statistics")
    if isinstance(certified, Mapping):
        for name in ("confidence", "resamples"):
            if not same(certified.get(name), getattr(entry.statistics, name)):
                yield f"statistics.{name}: is not that of the certificate"
        most = certified.get("diversity_samples")
        if not isinstance(most, int) or entry.statistics.diversity_samples > most:
            yield "statistics.diversity_samples: is more than the certificate allows"


_NOTHING = object()


def _certified(settings: Mapping[str, Any]) -> Record:
    """Fields of the certificate that follow from the recipe alone, as `certificate` makes them."""

    def section(name: str) -> Mapping[str, Any]:
        found = settings.get(name)
        return found if isinstance(found, Mapping) else {}

    def given(found: Any) -> Any:
        if not isinstance(found, Mapping):
            return found  # None, or what no certificate holds
        return {key: value for key, value in found.items() if value is not None} or None

    evaluation, tuning = section("evaluation"), given(section("tuning"))
    without = tuning and {key: value for key, value in tuning.items() if key != "search"}
    decoding = ("samples_per_prompt", "temperature", "top_p", "seed")
    budgets = {
        f"rows.{row}.budget": given(options.get("budget"))
        for row, options in section("methods").items()
        if isinstance(options, Mapping)
    }
    return {
        "precision": settings.get("precision", "fp32"),
        "profile": settings.get("profile"),
        "budget": given(section("budget")),
        "tuning": without,
        "snapshots": settings.get("snapshots") or None,
        "labeller": section("labeller").get("kind"),
        "judge_asked": asked_of(section("judge")),
        **({"engine": settings["engine"]} if "engine" in settings else {}),
        **({"training": settings["training"]} if "training" in settings else {}),
        **{f"decoding.{name}": evaluation.get(name) for name in decoding},
        "decoding.max_prompt_tokens": settings.get("max_prompt_tokens"),
        "decoding.max_response_tokens": settings.get("max_response_tokens"),
        **{f"statistics.{n}": evaluation.get(n) for n in ("confidence", "resamples")},
        "statistics.diversity_samples": evaluation.get("diversity_samples"),
        **budgets,
    }


def _makers(entry: Entry) -> Iterator[str]:
    """Who judged, and what somebody would type to make the run again."""
    if entry.certificate.get("judge", entry.judge.name) != entry.judge.name:
        yield "judge.name: is not that of the certificate"
    judge = entry.recipe.settings.get("judge")
    kind = judge.get("kind") if isinstance(judge, Mapping) else None
    if entry.judge.simulated != (kind == "sandbox"):
        yield f'judge.simulated: is {entry.judge.simulated} of a judge of kind "{kind}"'
    for number, command in enumerate(entry.commands):
        if not _COMMAND.fullmatch(command):
            yield f"commands.{number}: is none of those that make a run again"
    commit = entry.environment.git_commit
    if commit is not None and not re.fullmatch(r"[0-9a-f]{7,64}(\+changes)?", commit):
        yield "environment.git_commit: is no commit"
    version = entry.environment.alignbench
    if entry.certificate.get("alignbench", version) != version:
        yield "environment.alignbench: is not that of the certificate"
    if (entry.environment.cpu_count or 1) < 1:
        yield "environment.cpu_count: is impossible"
