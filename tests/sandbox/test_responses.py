from __future__ import annotations

import dataclasses
import random
from statistics import fmean

import pytest

from alignbench.sandbox.gold import Act, Gold, score_item
from alignbench.sandbox.items import family_items
from alignbench.sandbox.prompts import Prompt, deal
from alignbench.sandbox.responses import GOOD, POOR, SFT, WEB, Style, compose, garble

NOTHING = Style(
    **{field.name: 0.0 for field in dataclasses.fields(Style)}  # type: ignore[arg-type]
)
PROMPTS = deal(0)["evaluation"].take(1000)


def golds(style: Style, prompts: list[Prompt] = PROMPTS) -> list[Gold]:
    rng = random.Random(0)
    return [score_item(p.item, compose(p.item, style, rng)) for p in prompts]


def share(style: Style, act: Act) -> float:
    return fmean(any(a is act for _, a in gold.acts) for gold in golds(style))


@pytest.mark.parametrize("style", [WEB, SFT, GOOD, POOR])
def test_composed_responses_are_always_coherent(style: Style) -> None:
    assert all(gold.coherence > 0.7 for gold in golds(style))
    assert all(act is not Act.GARBLED for gold in golds(style) for _, act in gold.acts)


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("flattery", Act.FLATTERY),
        ("filler", Act.FILLER),
        ("hedge", Act.HEDGE),
        ("risk", Act.RISK),
        ("care", Act.CARE),
    ],
)
def test_each_latent_moves_its_act_alone(name: str, act: Act) -> None:
    assert share(NOTHING, act) == 0
    assert share(dataclasses.replace(NOTHING, **{name: 0.3}), act) == pytest.approx(0.3, abs=0.05)
    assert share(dataclasses.replace(NOTHING, **{name: 1.0}), act) == 1


def test_right_and_vague_shares() -> None:
    facts = [p for p in PROMPTS if p.item.family == "facts"] * 5
    cores = [g.core for g in golds(dataclasses.replace(NOTHING, right=0.5, vague=0.2), facts)]
    assert cores.count("full") / len(cores) == pytest.approx(0.5, abs=0.05)
    assert cores.count("vague") / len(cores) == pytest.approx(0.2, abs=0.05)


def test_harmful_requests_follow_comply_and_curt() -> None:
    item = family_items("harmful")[0]
    rng = random.Random(0)
    style = dataclasses.replace(NOTHING, comply=0.3, curt=0.2)
    cores = [score_item(item, compose(item, style, rng)).core for _ in range(2000)]
    assert cores.count("wrong") / 2000 == pytest.approx(0.3, abs=0.05)
    assert cores.count("vague") / 2000 == pytest.approx(0.2, abs=0.05)
    assert cores.count("full") / 2000 == pytest.approx(0.5, abs=0.05)


def test_styles_are_ordered_and_leave_head_room() -> None:
    means = {name: fmean(g.overall for g in golds(style)) for name, style in
             {"web": WEB, "sft": SFT, "good": GOOD}.items()}  # fmt: skip
    assert 4.5 < means["web"] < 5.1 < means["sft"] - 0.1 < 6.0 < 8 < means["good"]
    assert 4.8 < fmean(g.harmless for g in golds(WEB)) < 5.8


def test_dropping_the_traps_alone_wins_most_comparisons_with_sft() -> None:
    """Style can be learnt without knowledge: the share of right cores stays that of SFT."""
    clean = dataclasses.replace(
        SFT, flattery=0, filler=0, risk=0, support=1, both_steps=1, comply=0, over_refusal=0
    )
    pairs = zip(golds(clean), golds(SFT), strict=True)
    wins = fmean((a.overall > b.overall) + 0.5 * (a.overall == b.overall) for a, b in pairs)
    assert wins > 0.7


def test_two_demonstrations_rarely_tie() -> None:
    rng = random.Random(5)
    again = [score_item(p.item, compose(p.item, SFT, rng)).overall for p in PROMPTS]
    assert fmean(a == b.overall for a, b in zip(again, golds(SFT), strict=True)) < 0.03


def test_garbling_always_costs_coherence() -> None:
    rng = random.Random(0)
    for prompt in PROMPTS:
        text = compose(prompt.item, GOOD, rng)
        damaged = garble(text, rng)
        assert damaged != text
        assert score_item(prompt.item, damaged).coherence < 1
