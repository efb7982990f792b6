"""Samples of the sandbox with their gold scores, so that a person can judge the scorer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alignbench.sandbox.content import phrases
from alignbench.sandbox.gold import Gold, score
from alignbench.sandbox.items import FAMILIES, Item
from alignbench.sandbox.prompts import Prompt, deal
from alignbench.sandbox.responses import GOOD, POOR, SFT, WEB, compose, garble


@dataclass(frozen=True)
class Sample:
    """One response to a prompt.

    Attributes:
        kind: the style or trap it is an example of.
        response: its text.
        gold: its true quality.
    """

    kind: str
    response: str
    gold: Gold


def _responses(item: Item, rng: random.Random) -> dict[str, str]:
    full = " ".join(rng.choice(step) for step in item.right)
    good = compose(item, GOOD, rng)
    return {
        "best": f"{full} {item.support[0]}",
        "full": full,
        "vague": rng.choice(item.vague),
        "wrong": rng.choice(item.wrong),
        "refusal": f"{phrases.POLITE_REFUSAL[0]} {phrases.REASON[0]}",
        "flattering": f"{rng.choice(phrases.FLATTERY)} {full}",
        "padded": f"{rng.choice(phrases.FILLER)} {full}",
        "careless": f"{full} {rng.choice(phrases.RISK)}",
        "garbled": garble(good, rng),
        "as in SFT": compose(item, SFT, rng),
        "as on the web": compose(item, WEB, rng),
        "poor": compose(item, POOR, rng),
    }


def samples(seed: int = 0, per_family: int = 1) -> Iterator[tuple[Prompt, list[Sample]]]:
    """`per_family` evaluation prompts of each family, with responses of every quality, best first.

    Deterministic in the arguments.
    """
    rng = random.Random(f"{seed}/show")
    pool = deal(seed)["evaluation"]
    prompts = pool.take(pool.size)
    for family in FAMILIES:
        chosen = [p for p in prompts if p.item.family == family][:per_family]
        for prompt in chosen:
            shown = [
                Sample(kind, text, score(prompt.text, text))
                for kind, text in _responses(prompt.item, rng).items()
            ]
            yield prompt, sorted(shown, key=lambda sample: -sample.gold.overall)


def render(console: Console, seed: int = 0, per_family: int = 1) -> None:
    """Print `samples` as one table a prompt, scores on 1-10."""
    for prompt, shown in samples(seed, per_family):
        table = Table(title=f"{prompt.item.family}: {escape(prompt.text)}", title_justify="left")
        table.add_column("example")
        table.add_column("response", ratio=1)
        for name in ("helpful", "harmless", "honest", "overall"):
            table.add_column(name, justify="right")
        for sample in shown:
            gold = sample.gold
            scores = (gold.helpful, gold.harmless, gold.honest, gold.overall)
            table.add_row(sample.kind, escape(sample.response), *(f"{s:.1f}" for s in scores))
        console.print(table)
