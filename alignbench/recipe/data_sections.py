"""Where prompts, answers and preferences come from: the recipe's section `data`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

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


class SftData(Section):
    """SFT examples from elsewhere than the pairs; a file, a folder or a name on the hub."""

    source: Literal[
        "sharegpt", "alpaca", "open_assistant", "hh_rlhf", "ultrafeedback", "preference"
    ]
    path: str


class PairData(Section):
    """What every source but the sandbox has; sizes are numbers of rows, dealt without overlap."""

    seed: int = 0
    sft_examples: Positive = 1_000
    train_prompts: Positive = 1_000
    reward_pairs: Positive = 5_000
    gold_pairs: Positive = 5_000
    evaluation_prompts: Positive = 200
    validation_prompts: Positive = 64
    sft: SftData | None = None
    """None: examples of the source itself, for most the chosen answers of pairs used nowhere
    else."""


class HhRlhfData(PairData):
    """Anthropic HH-RLHF: two transcripts that differ in their last turn."""

    source: Literal["hh_rlhf"]
    path: str = "Anthropic/hh-rlhf"


class OpenAssistantData(PairData):
    """OpenAssistant: message trees, or flat message rows, whose assistant siblings are ranked."""

    source: Literal["open_assistant"]
    path: str = "OpenAssistant/oasst1"
    lang: str | None = None
    """Only trees whose first message is in this language, such as ``en``; None: all."""


class UltraFeedbackData(PairData):
    """UltraFeedback, binarised: ``chosen`` and ``rejected`` with the score of each."""

    source: Literal["ultrafeedback"]
    path: str = "trl-lib/ultrafeedback_binarized"


class PreferenceData(PairData):
    """TRL's own form: ``prompt``, ``chosen`` and ``rejected``, plain or conversational."""

    source: Literal["preference"]
    path: str


class Columns(Section):
    """How a table names what is needed."""

    prompt: str = "prompt"
    chosen: str = "chosen"
    rejected: str = "rejected"
    votes_chosen: str | None = None
    """None: the column ``votes_chosen`` if there is one, else one vote for each row."""
    votes_total: str | None = None
    labeller: str | None = None
    """Who labelled the row; None: the column ``labeller`` if there is one."""
    labels: Annotated[list[str], Field(default_factory=list)]
    """Columns of annotators, in place of votes. In each: ``chosen`` or 1, ``rejected`` or 2, for
    the answer that this one prefers; ``tie``, 0 or nothing: no vote."""

    @model_validator(mode="after")
    def _labels_or_votes(self) -> Columns:
        if self.labels and (self.votes_chosen is not None or self.votes_total is not None):
            raise ValueError("labels are counted into votes; name either labels or the two votes")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels: a column is named twice, and would vote twice")
        return self


class TableData(PairData):
    """Pairs in JSON lines, JSON, CSV, TSV or Parquet, under column names of your own."""

    source: Literal["table"]
    path: str
    columns: Annotated[Columns, Field(default_factory=Columns)]


class ShareGptData(PairData):
    """Conversations. Without preferences: of use under ``data.sft`` only (`consistency`)."""

    source: Literal["sharegpt"]
    path: str


class AlpacaData(PairData):
    """Instructions and outputs. Without preferences: of use under ``data.sft`` only."""

    source: Literal["alpaca"]
    path: str


PairSource = HhRlhfData | OpenAssistantData | UltraFeedbackData | PreferenceData | TableData
SftOnly = ShareGptData | AlpacaData
ExternalData = PairSource | SftOnly
DataSection = Annotated[SandboxData | ExternalData, Field(discriminator="source")]

SOURCES: dict[str, type[ExternalData]] = {
    "hh_rlhf": HhRlhfData,
    "open_assistant": OpenAssistantData,
    "ultrafeedback": UltraFeedbackData,
    "preference": PreferenceData,
    "table": TableData,
    "sharegpt": ShareGptData,
    "alpaca": AlpacaData,
}
"""Sources that are read from files or from the hub."""


def sft_only(source: str) -> str:
    """Why a source cannot be the data of a recipe, and what to do about it."""
    return (
        f"{source} holds examples for SFT and no preferences; name it under data.sft "
        f"({{source: {source}, path: ...}}) beside a source of pairs, or make pairs with "
        "`alignbench data collect`"
    )
