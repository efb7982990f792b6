"""From a source of preferences to the files of a data stage, whichever source it is."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from alignbench.data import dealing
from alignbench.data.checks import normalise
from alignbench.data.dataset import Dataset, Row
from alignbench.data.dealing import Dealt
from alignbench.data.found import Comparison, Example, Found, opening
from alignbench.errors import UserError
from alignbench.recipe.data_sections import (
    SOURCES,
    AlpacaData,
    ExternalData,
    HhRlhfData,
    OpenAssistantData,
    PreferenceData,
    SftData,
    ShareGptData,
    TableData,
    UltraFeedbackData,
    sft_only,
)

TITLES = {
    "hh_rlhf": "HH-RLHF",
    "open_assistant": "OpenAssistant",
    "ultrafeedback": "UltraFeedback",
    "preference": "preference data",
    "table": "table",
    "sharegpt": "ShareGPT",
    "alpaca": "Alpaca",
}
SFT_FILES = ("sft_valid", "sft")


def find(config: ExternalData) -> Found:
    """Everything a source holds, as it stands there; `pooled` puts equal pairs together.

    Raises:
        UserError: unreadable data, or malformed records with their places.
    """
    from alignbench.data import examples, hh_rlhf, open_assistant, preference

    match config:
        case HhRlhfData():
            return hh_rlhf.find(config.path)
        case OpenAssistantData():
            return open_assistant.find(config.path, config.lang)
        case UltraFeedbackData() | PreferenceData() | TableData():
            return preference.find(config)
        case ShareGptData():
            return examples.find_sharegpt(config.path)
        case AlpacaData():
            return examples.find_alpaca(config.path)


def pooled(found: Found) -> Found:
    """Each pair and each example once.

    Of equal records all but the first are skipped. Other records of one pair are votes on it: they
    are added up, and the majority is the label. Where a source has no examples of its own, the best
    answer to each prompt is one: the answer that won most of its pairs, of equals the first.
    """
    skipped, facts = Counter(found.skipped), dict(found.facts)
    records = distinct(found.comparisons)
    skipped["exact duplicates"] += len(found.comparisons) - len(records)
    votes: dict[tuple[str, ...], Comparison] = {}
    for one in records:
        key = pair_key(one)
        if (before := votes.get(key)) is None:
            votes[key] = one
            continue
        facts["records of a pair seen before"] = facts.get("records of a pair seen before", 0) + 1
        votes[key] = _added(before, one)
    tied = [key for key, one in votes.items() if 2 * one.votes_chosen == one.votes_total]
    for key in tied:
        del votes[key]
    skipped["pairs with tied votes"] += len(tied)
    comparisons = [_majority_first(one) for one in votes.values()]
    examples = {(normalise(e.prompt), e.response): e for e in reversed(found.examples)}
    kept = list(reversed(examples.values()))
    skipped["repeated examples"] += len(found.examples) - len(kept)
    return Found(comparisons, kept or _best_answers(comparisons), +skipped, facts)


def distinct(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Each comparison once: one that says the same again, of the same labeller, is no new vote."""
    return list(dict.fromkeys(comparisons))


def pair_key(one: Comparison) -> tuple[str, ...]:
    """What two records of one pair have in common, whichever of the two they prefer."""
    return (normalise(one.prompt), *sorted((one.chosen, one.rejected)))


def _added(a: Comparison, b: Comparison) -> Comparison:
    for_a = b.votes_chosen if b.chosen == a.chosen else b.votes_total - b.votes_chosen
    votes = (a.votes_chosen + for_a, a.votes_total + b.votes_total)
    return Comparison(a.prompt, a.chosen, a.rejected, *votes, a.transcript)


def _majority_first(one: Comparison) -> Comparison:
    if 2 * one.votes_chosen > one.votes_total:
        return one
    lost = one.votes_total - one.votes_chosen
    return Comparison(one.prompt, one.rejected, one.chosen, lost, one.votes_total)


def _best_answers(comparisons: Iterable[Comparison]) -> list[Example]:
    wins: dict[str, Counter[str]] = {}
    prompts: dict[str, str] = {}
    for one in comparisons:
        key = normalise(one.prompt)
        prompts.setdefault(key, one.prompt)
        wins.setdefault(key, Counter())[one.chosen] += 1
    return [Example(prompts[key], won.most_common(1)[0][0]) for key, won in wins.items()]


def build(config: ExternalData) -> Dataset:
    """All files but the corpus, deterministic in `config` and the data.

    Splits are scaled down together when there are fewer rows than asked for (noted).

    Raises:
        UserError: unreadable data, a source without preferences, or too little to fill every file.
    """
    if isinstance(config, ShareGptData | AlpacaData):
        raise UserError(f"data.source: {sft_only(config.source)}")
    return build_from(config, find(config))


def build_from(config: ExternalData, found: Found) -> Dataset:
    """`build` of a source that has been read."""
    title, pool = TITLES[config.source], pooled(found)
    asked = dealing.sizes(config)
    if config.sft is not None:
        asked = {name: size for name, size in asked.items() if name not in SFT_FILES}
    groups = dealing.grouped(pool.comparisons, [] if config.sft else pool.examples)
    dealt = dealing.deal(groups, asked, random.Random(f"{config.seed}/{config.source}"))
    _check_filled(dealt, config, pool, title)
    dataset = Dataset(
        rows=dealing.rows_of(dealt.files, config.source),
        summary=_summary(config.source, pool, dealt.scale),
        notes=list(_notes(title, pool, dealt)),
    )
    if config.sft is not None:
        _add_examples(dataset, config, config.sft, pool)
    return dataset


def _check_filled(dealt: Dealt, config: ExternalData, pool: Found, title: str) -> None:
    empty = [name for name, part in dealt.files.items() if not part]
    if empty:
        skipped = f"{sum(pool.skipped.values())} skipped"
        if reasons := _reasons(pool.skipped):
            skipped += f": {reasons}"
        raise UserError(
            f"data.path: {config.path} has {_count(pool)} ({skipped}), too few to fill "
            f"{', '.join(empty)}"
        )


def _count(pool: Found) -> str:
    if not pool.comparisons:
        return "no usable pair"
    prompts = len({normalise(one.prompt) for one in pool.comparisons})
    if prompts == len(pool.comparisons):
        return f"{prompts} usable records with different prompts"
    return f"{len(pool.comparisons)} usable pairs for {prompts} prompts"


def _reasons(skipped: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))


def _summary(family: str, pool: Found, scale: float) -> Row:
    facts = {"facts": pool.facts} if pool.facts else {}
    return {
        "source": family,
        "records": len(pool.comparisons),
        "skipped": dict(sorted(pool.skipped.items())),
        "scale": scale,
        "annotator_agreement": _agreement(pool.comparisons),
        **facts,
    }


def _agreement(comparisons: Sequence[Comparison]) -> Row | None:
    """None where nobody labelled a pair twice: there is nothing to agree with."""
    several = [one for one in comparisons if one.votes_total > 1]
    if not several:
        return None
    unanimous = sum(one.votes_chosen == one.votes_total for one in several)
    return {"unanimous": unanimous / len(several), "pairs": len(several)}


def _notes(title: str, pool: Found, dealt: Dealt) -> Iterable[str]:
    if pool.skipped:
        yield f"{title}: skipped records: {_reasons(pool.skipped)}"
    if pool.facts.get("relabelled by majority"):
        count = pool.facts["relabelled by majority"]
        yield f"{title}: {count} records had the answer of the minority as chosen; turned round"
    if pool.facts.get("records of a pair seen before"):
        count = pool.facts["records of a pair seen before"]
        yield f"{title}: {count} records of a pair seen before; they count as votes on it"
    if dealt.scale < 1:
        yield (
            f"{title}: {len(pool.comparisons)} usable records for {sum(dealt.asked.values())} "
            f"asked for; all splits are scaled to {dealing.percent(dealt.scale)} of their size"
        )
    for name, (rows, size) in dealt.short().items():
        yield (
            f"{title}: {name} has {rows} of {size} rows: dialogues with one opening are not split"
        )


def _add_examples(dataset: Dataset, config: ExternalData, sft: SftData, pairs: Found) -> None:
    """Fill the SFT files from another source, without what the pairs begin with."""
    section = SOURCES[sft.source].model_validate({"source": sft.source, "path": sft.path})
    try:
        pool = pooled(find(section))
    except UserError as error:
        told = (line.replace("data.path:", "data.sft.path:") for line in error.problems)
        raise UserError(*told) from error
    title = f"{TITLES[sft.source]} (SFT)"
    taken = {opening(one.prompt) for one in pairs.comparisons}
    free = [one for one in pool.examples if opening(one.prompt) not in taken]
    pool.skipped["examples that begin like a pair"] += len(pool.examples) - len(free)
    pool = Found([], free, +pool.skipped, pool.facts)
    asked = {name: size for name, size in dealing.sizes(config).items() if name in SFT_FILES}
    groups = dealing.grouped([], free)
    dealt = dealing.deal(groups, asked, random.Random(f"{config.seed}/sft/{sft.source}"))
    if not all(dealt.files.values()):
        raise UserError(
            f"data.sft.path: {sft.path} has {len(free)} usable examples "
            f"({_reasons(pool.skipped) or 'none skipped'}), too few to fill sft and sft_valid"
        )
    for name, part in dealt.files.items():
        dataset.rows[name] = [dealing.row(one, sft.source) for one in part]
    dataset.summary["sft"] = {
        "source": sft.source,
        "examples": len(free),
        "skipped": dict(sorted(pool.skipped.items())),
        "scale": dealt.scale,
    }
    if pool.skipped:
        dataset.notes.append(f"{title}: skipped: {_reasons(pool.skipped)}")
    if dealt.scale < 1:
        dataset.notes.append(
            f"{title}: {len(free)} usable examples for {sum(asked.values())} asked for; both "
            f"files are scaled to {dealing.percent(dealt.scale)} of their size"
        )
