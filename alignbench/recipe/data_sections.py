"""Where prompts, answers and preferences come from: the recipe's section `data`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from alignbench.recipe.section import Positive, Section


class SandboxData(Section):
    """The embedded synthetic world; sizes are numbers of items."""

    source: Literal["sandbox"]
    seed: int = 0
    corpus_documents: Positive = 40_000
    sft_examples: Positive = 1_500
    train_prompts: Positive = 1_000
    reward_pairs: Positive = 3_000
    gold_pairs: Positive = 3_000
    evaluation_prompts: Positive = 200
    validation_prompts: Positive = 64
    """For tuning: neither trained on nor part of the final evaluation."""
    annotators: Annotated[int, Field(ge=3)] = 3


class HhRlhfData(Section):
    """Anthropic HH-RLHF, from the hub or from a local .jsonl(.gz) file or folder."""

    source: Literal["hh_rlhf"]
    path: str = "Anthropic/hh-rlhf"
    seed: int = 0
    sft_examples: Positive = 1_000
    train_prompts: Positive = 1_000
    reward_pairs: Positive = 5_000
    gold_pairs: Positive = 5_000
    evaluation_prompts: Positive = 200
    validation_prompts: Positive = 64


DataSection = Annotated[SandboxData | HhRlhfData, Field(discriminator="source")]
