"""The fields of a leaderboard entry, all of them; leaderboards/README.md says what they mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=4_000)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]
Profile = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class RecipeOf(_Strict):
    """What was run: `settings` is the resolved recipe, folders of this machine left out."""

    name: Name
    profile: Profile
    digest: Digest | None
    settings: dict[str, Any]


class Cell(_Strict):
    """One number of the table; an unknown bound is None."""

    model: Name
    metric: Text
    value: float | None
    low: float | None
    high: float | None
    n_seeds: Count
    n_prompts: Count


class Target(_Strict):
    """A goal and whether a row meets it."""

    model: Name
    target: Text
    metric: Text
    against: Name | None
    threshold: float
    value: float | None
    low: float | None
    high: float | None
    met: bool | None
    status: Literal["met", "missed", "not separable", "unknown"]


class Test(_Strict):
    """A difference between two rows with its decision; `metric` or `other` says between what."""

    model: Name
    metric: Text | None = None
    other: Name | None = None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None = None
    p_holm: float | None
    detectable: float | None = None
    verdict: Literal["better", "worse", "not separable"]


class LengthControlled(_Strict):
    """A win rate at equal length."""

    model: Name
    value: float | None
    low: float | None
    high: float | None
    raw: float | None


class Statistics(_Strict):
    """How intervals were made, and what they license."""

    confidence: Annotated[float, Field(gt=0, lt=1)]
    resamples: Count
    diversity_samples: Count
    against_sft: list[Test]
    between_methods: list[Test]
    best: dict[str, Name | None]
    length_controlled: list[LengthControlled]


class Judge(_Strict):
    """Whose opinion ratings and win rates are."""

    name: Text
    simulated: bool
    gold_simulated: bool
    deterministic: bool


class Told(_Strict):
    """A flag or a note: what a reader must know."""

    kind: Literal["error", "warning", "substitution", "note"]
    message: Text
    stage: Text | None = None


class Amount(_Strict):
    """Mean over seeds and its standard error."""

    value: float | None
    error: float | None


class Bill(_Strict):
    """What a row cost, by itself and with all it needed, by currency."""

    marginal: dict[str, Amount]
    end_to_end: dict[str, Amount]


class Seen(_Strict):
    """Observations of one row.

    Attributes:
        seeds: of its training.
        means: metric -> mean of each seed.
        prompts: metric -> for each seed the mean over samples of every prompt, in the order of
            `Observations.prompts`.
    """

    seeds: list[Count]
    means: dict[str, list[float | None]]
    prompts: dict[str, list[list[float | None]]]


class Observations(_Strict):
    """What the statistics rest on, so that another run can be compared prompt by prompt."""

    prompts: list[Text]
    rows: dict[Name, Seen]


class Signal(_Strict):
    """A logged quantity, for each seed: at the first step, and mean and root mean square of all."""

    first: list[float | None]
    mean: list[float | None]
    rms: list[float | None]


class Trained(_Strict):
    """How the training of one row went.

    Attributes:
        seeds: of its training; [0] for base and SFT, which have one.
        quantities: what the method logged, by name.
        spent: currency -> the amount of each seed.
    """

    seeds: list[Count]
    quantities: dict[Text, Signal]
    spent: dict[Text, list[float | None]]


class Environment(_Strict):
    """Where and with what it was made."""

    alignbench: Text
    git_commit: Text | None
    python: Text | None
    platform: Text | None
    processor: Text | None
    cpu_count: int | None
    libraries: dict[str, Text | None]


class Entry(_Strict):
    """One published run."""

    schema_version: Literal[1]
    recipe: RecipeOf
    models: Annotated[list[Name], Field(min_length=1)]
    rows: Annotated[list[Cell], Field(min_length=1)]
    targets: list[Target]
    verdict: list[Text]
    flags: list[Told]
    notes: list[Told]
    judge: Judge
    statistics: Statistics
    observations: Observations | None
    training: dict[Name, Trained] | None = None
    counted: dict[Name, Bill]
    measured: dict[Name, Bill]
    certificate: dict[str, Any]
    environment: Environment
    commands: list[Text]
    digest: Digest
