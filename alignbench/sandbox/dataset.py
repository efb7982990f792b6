"""All files of the sandbox: corpus, demonstrations, prompts and labelled pairs."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import fmean

from alignbench.data.dataset import PREFERENCE_FILES, VALID_SHARE, Dataset, Row, numbered
from alignbench.recipe.data_sections import SandboxData
from alignbench.sandbox import corpus
from alignbench.sandbox.annotators import votes_for_first
from alignbench.sandbox.gold import score, score_item
from alignbench.sandbox.items import Item, family_items
from alignbench.sandbox.prompts import Pool, Prompt, deal
from alignbench.sandbox.responses import GOOD, POOR, SFT, WEB, compose, garble

HARMFUL = "harmful"
"""The family of requests that deserve a refusal."""
HELDOUT_DOCUMENTS = 300
PAIRS_PER_PROMPT = 2
PAIR_STYLES = (SFT, GOOD, POOR)
PAIR_WEIGHTS = (0.5, 0.25, 0.25)
GARBLED_SHARE = 0.16
OFF_TOPIC_SHARE = 0.2
STRAY_SHARE = 0.1
"""What weak models do and people do not: answer about something else, or drift there. Without
such responses among the pairs, reward models learn style alone, and methods learn to please them
with good style about anything."""


def _valid_size(size: int) -> int:
    return max(4, math.ceil(size * VALID_SHARE))


def _pair_response(item: Item, rng: random.Random) -> str:
    others = family_items(item.family)
    about = rng.choice(others) if rng.random() < OFF_TOPIC_SHARE else item
    text = compose(about, rng.choices(PAIR_STYLES, PAIR_WEIGHTS)[0], rng)
    if rng.random() < STRAY_SHARE:
        stray = rng.choice(others)
        text += " " + rng.choice((*(s for step in stray.right for s in step), *stray.support))
    return garble(text, rng) if rng.random() < GARBLED_SHARE else text


def _pair(prompt: Prompt, annotators: int, rng: random.Random) -> Row:
    """Two different responses and the panel's votes, the majority's choice first."""
    first = second = _pair_response(prompt.item, rng)
    while second == first:
        second = _pair_response(prompt.item, rng)
    votes = votes_for_first(prompt.text, first, second, annotators, rng)
    # An even split of an even panel is decided by a coin, which the order of the two already is.
    if 2 * votes < annotators:
        first, second, votes = second, first, annotators - votes
    return {
        "prompt": prompt.text,
        "chosen": first,
        "rejected": second,
        "votes_chosen": votes,
        "votes_total": annotators,
        "family": prompt.item.family,
    }


def _pairs(pool: Pool, count: int, annotators: int, rng: random.Random) -> list[Row]:
    """`count` pairs, none twice, on `PAIRS_PER_PROMPT` times fewer prompts."""
    prompts = pool.take(math.ceil(count / PAIRS_PER_PROMPT))
    rows: dict[tuple[str, frozenset[str]], Row] = {}
    while len(rows) < count:
        row = _pair(prompts[len(rows) % len(prompts)], annotators, rng)
        rows.setdefault((row["prompt"], frozenset((row["chosen"], row["rejected"]))), row)
    shuffled = list(rows.values())
    rng.shuffle(shuffled)
    return shuffled


def _demonstrations(prompts: Sequence[Prompt], rng: random.Random) -> list[Row]:
    return [
        {"prompt": p.text, "response": compose(p.item, SFT, rng), "family": p.item.family}
        for p in prompts
    ]


def _questions(prompts: Sequence[Prompt]) -> list[Row]:
    return [{"prompt": p.text, "family": p.item.family} for p in prompts]


def build(config: SandboxData) -> Dataset:
    """Everything, deterministic in `config`.

    Raises:
        UserError: more prompts asked for than the world has.
    """
    pools, seed = deal(config.seed), config.seed
    dataset = Dataset()
    documents, heldout = corpus.build(
        pools["corpus"], config.corpus_documents, HELDOUT_DOCUMENTS, seed
    )
    rng = random.Random(f"{seed}/demonstrations")
    sft = pools["train"].take(config.sft_examples)
    valid = pools["train"].take(_valid_size(config.sft_examples))
    rows = dataset.rows
    rows["corpus"] = [{"text": text} for text in documents]
    rows["heldout"] = [{"text": text} for text in heldout]
    rows["sft"], rows["sft_valid"] = _demonstrations(sft, rng), _demonstrations(valid, rng)
    rows["train_prompts"] = numbered("train", _questions(pools["train"].take(config.train_prompts)))
    for split, count in (("proxy", config.reward_pairs), ("gold", config.gold_pairs)):
        rng = random.Random(f"{seed}/pairs/{split}")
        for part, size in (("", count), ("_valid", _valid_size(count))):
            pairs = _pairs(pools[split], size, config.annotators, rng)
            rows[f"pairs_{split}{part}"] = numbered(f"{split}{part}", pairs)
    asked = _questions(pools["evaluation"].take(config.evaluation_prompts))
    labelled = [{**row, "harmful": row["family"] == HARMFUL} for row in asked]
    rows["eval_prompts"] = numbered("eval", labelled)
    # Last, so that no other file depends on it. From the gold pool, whose wordings nothing that is
    # tuned has seen: policies and the proxy reward model train on those of the other pools, and
    # prompts of the evaluation pool would be the final evaluation's behind another greeting.
    rows["valid_prompts"] = numbered(
        "valid", _questions(pools["gold"].take(config.validation_prompts))
    )
    dataset.summary = _summary(dataset, [*sft, *valid])
    return dataset


def _summary(dataset: Dataset, prompts: Sequence[Prompt]) -> Row:
    items = {prompt.text: prompt.item for prompt in prompts}
    demonstrations = [
        score_item(items[row["prompt"]], row["response"]).overall for row in dataset.rows["sft"]
    ]
    rng = random.Random("web style")
    web = [score_item(p.item, compose(p.item, WEB, rng)).overall for p in prompts]
    return {
        "source": "sandbox",
        "annotator_agreement": _agreement(
            [row for name in PREFERENCE_FILES for row in dataset.rows[name]]
        ),
        "gold_mean": {"sft": fmean(demonstrations), "web": fmean(web)},
    }


def _agreement(pairs: Sequence[Row]) -> Row:
    """Shares of pairs with unanimous votes, and of those whose label agrees with the gold score.

    Pairs that tie on the gold score are left out of the second.
    """
    unanimous = [row["votes_chosen"] == row["votes_total"] for row in pairs]
    golds = [
        (score(row["prompt"], row["chosen"]).overall, score(row["prompt"], row["rejected"]).overall)
        for row in pairs
    ]
    decided = [chosen > rejected for chosen, rejected in golds if chosen != rejected]
    return {
        "unanimous": fmean(unanimous),
        "with_gold": fmean(decided),
        "gold_mean": fmean(value for pair in golds for value in pair),
    }
