from __future__ import annotations

import io

from rich.console import Console

from alignbench.sandbox.items import FAMILIES
from alignbench.sandbox.show import render, samples


def test_every_family_is_shown_with_a_spread_of_quality() -> None:
    shown = list(samples(0, 2))
    assert [prompt.item.family for prompt, _ in shown] == [f for f in FAMILIES for _ in range(2)]
    for _, responses in shown:
        scores = [sample.gold.overall for sample in responses]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] > 8.5
        assert scores[-1] < 4


def test_render_prints_prompts_responses_and_scores() -> None:
    console = Console(file=io.StringIO(), width=200)
    render(console, 0, 1)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for prompt, responses in samples(0, 1):
        assert prompt.text in text
        assert f"{responses[0].gold.overall:.1f}" in text
    assert "helpful" in text


def test_samples_follow_the_seed() -> None:
    def texts(seed: int) -> list[str]:
        return [s.response for _, shown in samples(seed) for s in shown]

    assert texts(0) == texts(0)
    assert texts(0) != texts(1)
