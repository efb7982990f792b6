"""Stage `cards`: a model card for every checkpoint that the run trained, from its results."""

from __future__ import annotations

from alignbench.results.card import card, checkpoints, file_name
from alignbench.results.schema import load
from alignbench.stage import StageContext


def run(ctx: StageContext) -> None:
    """Write ``sft.md``, ``reward-<split>.md`` and ``<row>-<seed>.md``."""
    results = load(ctx.inputs["results"] / "results.json")
    for checkpoint in checkpoints(results):
        (ctx.out / file_name(checkpoint)).write_text(card(results, checkpoint), encoding="utf-8")
