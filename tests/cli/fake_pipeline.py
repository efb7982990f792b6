"""A pipeline of three stages with made-up results, in place of `alignbench.pipeline.build`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from alignbench.recipe.schema import Recipe
from alignbench.stage import Stage, StageContext
from alignbench.stages import results
from tests.fake_run import FakeRun

ME = "tests.cli.fake_pipeline"


def build(recipe: Recipe, notes: Sequence[str] = ()) -> list[Stage]:
    """`generate/base/0`, `results` and the real `report`."""
    return [
        Stage("generate/base/0", f"{ME}:generate", {"seeds": recipe.seeds}),
        Stage("results", f"{ME}:make_results", {"notes": list(notes)}, {"g": "generate/base/0"}),
        Stage(
            "report",
            "alignbench.stages.report:run",
            {},
            {"results": "results", "generate/base/0": "generate/base/0"},
        ),
    ]


def generate(ctx: StageContext) -> None:
    """One response."""
    if ctx.config["seeds"] == [13]:
        raise ValueError("thirteen brings bad luck")
    line = {
        "prompt_id": "p0",
        "prompt": "Question 0?",
        "family": "facts",
        "sample": 0,
        "response": "A recognisable answer.",
        "token_ids": [1],
        "finished": True,
    }
    (ctx.out / "responses.jsonl").write_text(json.dumps(line) + "\n")


def make_results(ctx: StageContext) -> None:
    """The real statistics of a made-up run."""
    effects = {"base": -1.5, "sft": 0.0, "sft_copy": 0.0, "ppo": 1.5}
    with tempfile.TemporaryDirectory() as folder:
        fake = FakeRun(Path(folder), effects, prompts=12)
        results.run(fake.context(ctx.out, resamples=200))
