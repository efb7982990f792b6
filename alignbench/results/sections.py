"""The sections of results.json, as `schema` checks them when it reads one."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Row(_Loose):
    model: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n_seeds: int = Field(ge=0)
    n_prompts: int = Field(ge=0)


class _Target(_Loose):
    model: str
    target: str
    value: float | None
    low: float | None
    high: float | None
    threshold: float
    met: bool | None
    status: Literal["met", "missed", "not separable", "unknown"]


class _Flag(_Loose):
    level: Literal["error", "warning"]
    message: str


class _Note(_Loose):
    kind: str
    message: str


class _Test(_Loose):
    model: str
    difference: float | None
    low: float | None
    high: float | None
    p_holm: float | None
    detectable: float | None = None
    verdict: Literal["better", "worse", "not separable"]


class _SftTest(_Test):
    metric: str


class _PairTest(_Test):
    other: str


class _Inconsistency(_Loose):
    pairs: int
    inconsistent_percent: float | None


class _Statistics(_Loose):
    confidence: float = Field(gt=0, lt=1)
    diversity_samples: int
    against_sft: list[_SftTest]
    between_methods: list[_PairTest]
    best: dict[str, str | None]
    judge_inconsistency: _Inconsistency
    length_controlled: list[_LengthControlled] = []


class _JudgeBill(_Loose):
    questions: int
    unanswered: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


class _Judge(_Loose):
    name: str
    simulated: bool
    gold_simulated: bool = False
    deterministic: bool = True
    refusals_by: str = "judge"
    bill: _JudgeBill | None = None


class _Figure(_Loose):
    value: float | None
    low: float | None
    high: float | None
    n: int


class _HumanRow(_Loose):
    model: str
    seed: int
    against: str
    labelled: int
    kappa: float | None
    judge: _Figure
    people: _Figure
    corrected: _Figure


class _Annotator(_Loose):
    name: str
    answers: int
    gold: int
    right: int
    excluded: bool


class _HumanWins(_Figure):
    model: str
    against: str
    seeds: list[int]
    labels: int


class _Human(_Loose):
    labels: int
    unused: int
    rows: list[_HumanRow]
    annotators: list[_Annotator] = []
    agreement: dict[str, Any] = {}
    win_rates: list[_HumanWins] = []
    ratings: list[dict[str, Any]] = []
    judge_agreement: dict[str, Any] = {}


class _LengthControlled(_Loose):
    model: str
    value: float | None
    low: float | None
    high: float | None
    raw: float | None


class _Audit(_Loose):
    pairs: int
    unanswered: int
    truth: list[str]
    prefers_first: _Figure
    inconsistent: _Figure
    prefers_longer: _Figure
    truth_prefers_longer: _Figure
    agrees: _Figure
    agrees_both: _Figure
    longest_agrees: _Figure
    random_agrees: _Figure
    self_agrees: _Figure
    ratings: dict[str, _Figure] = {}


class _Training(_Loose):
    curves: dict[str, list[tuple[float, float]]]


class _Recipe(_Loose):
    name: str


class _Amount(_Loose):
    value: float | None
    error: float | None


class _RowBills(_Loose):
    seeds: int
    needs: list[str]
    marginal: dict[str, _Amount]
    end_to_end: dict[str, _Amount]


class _Flip(_Loose):
    currency: str
    sentence: str


class _Ranks(_Loose):
    marginal: dict[str, dict[str, int | None]]
    end_to_end: dict[str, dict[str, int | None]]


class _Decoding(_Loose):
    responses: int
    per_response: dict[str, float | None]


class _Bills(_Loose):
    rows: dict[str, _RowBills]
    ranks: _Ranks
    order_flips: list[_Flip]
    decoding: dict[str, _Decoding] = {}


class _Interval(_Loose):
    value: float | None
    low: float | None
    high: float | None


class _Point(_Loose):
    fraction: float
    consumed: dict[str, float]
    reward_proxy: _Interval
    reward_gold: _Interval
    kl: _Interval


class _Curve(_Loose):
    points: list[_Point] = Field(min_length=1)
    fit: dict[str, float | None] | None = None


class _CurveFinding(_Loose):
    row: str
    message: str


class _Curves(_Loose):
    rows: dict[str, _Curve]
    findings: list[_CurveFinding]


class _Health(_Loose):
    row: str
    seed: int | None
    rule: str
    level: Literal["error", "warning"]
    finding: str
    evidence: dict[str, Any]
    remedy: str
    source: str


class _Unchecked(_Loose):
    row: str
    seed: int | None
    rule: str
    reason: str


class _Trial(_Loose):
    number: int
    params: dict[str, Any]
    state: str
    value: float | None
    standard_error: float | None = None
    reason: str | None = None


class _Tuned(_Loose):
    trials: list[_Trial]
    expected_best: list[float]
    running_best: list[float]


class _Win(_Interval):
    n: int


class _Strength(_Interval):
    model: str
    elo: float | None
    component: int


class _Pairwise(_Loose):
    judge: str
    models: list[str]
    wins: list[list[_Win | None]]
    strengths: list[_Strength]
    problems: list[str]


class _ChoiceRow(_Interval):
    model: str
    text: str
    asked: bool = True


class _Choice(_Loose):
    constraint: Literal["memory", "labels", "compute", "stability", "quality"]
    question: str
    answer: str | None
    sentence: str
    rows: list[_ChoiceRow]


class _Share(_Interval):
    model: str


class _Effect(_Loose):
    reference: str
    rows: list[_Share]
    reason: str | None = None


class _Spread(_Loose):
    model: str
    seeds: int
    std: float | None
    low: float | None
    high: float | None


class Results(_Loose):
    """A whole results.json."""

    schema_version: int
    recipe: _Recipe
    profile: str
    models: list[str] = Field(min_length=1)
    judge: _Judge
    judge_audit: _Audit | None = None
    human: _Human | None = None
    rows: list[_Row] = Field(min_length=1)
    targets: list[_Target]
    flags: list[_Flag]
    notes: list[_Note]
    verdict: list[str]
    statistics: _Statistics
    training: dict[str, _Training]
    certificate: dict[str, Any]
    costs: dict[str, dict[str, Any]]
    reward_models: dict[str, dict[str, Any]]
    # Absent where the run has no such stages.
    bills: _Bills | None = None
    budget_curves: _Curves | None = None
    health: list[_Health] = []
    health_unchecked: list[_Unchecked] = []
    tuning: dict[str, _Tuned] = {}
    plan: dict[str, dict[str, Any]] = {}
    pairwise: _Pairwise | None = None
    choices: list[_Choice] = []
    effect: _Effect | None = None
    stability: list[_Spread] = []
