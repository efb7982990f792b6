"""results.json and results.csv: what they hold, and reading and writing them.

results.json is the one source that every table and report renders. All of it is equal in equal
runs, except "costs", the only place for times and memory (its "bills" are those in seconds and
bytes, the others of its keys are stages).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alignbench.errors import UserError
from alignbench.files import write_atomic

SCHEMA_VERSION = 1
SIGNIFICANT_DIGITS = 10
CSV_COLUMNS = ("model", "metric", "value", "low", "high", "n_seeds", "n_prompts")


@dataclass(frozen=True)
class Metric:
    """One line of the table.

    Attributes:
        name: in results.csv.
        label: on screen.
        better: which direction is better, None where neither is by itself.
        decimals: shown on screen.
        judged: the judge's own number (marked as simulated where it is).
    """

    name: str
    label: str
    better: Literal["higher", "lower"] | None
    decimals: int
    judged: bool = False


METRICS = (
    Metric("reward_proxy", "Reward, proxy (0-10)", "higher", 2),
    Metric("reward_gold", "Reward, gold (1-10)", "higher", 2, judged=True),
    Metric("reward_gold_rm", "Reward, gold RM (0-10)", "higher", 2),
    Metric("perplexity", "Perplexity", "lower", 2),
    Metric("distinct_1", "Distinct-1", "higher", 3),
    Metric("distinct_2", "Distinct-2", "higher", 3),
    Metric("distinct_3", "Distinct-3", "higher", 3),
    Metric("self_bleu", "Self-BLEU", "lower", 3),
    Metric("helpful", "Helpful (1-10)", "higher", 2, judged=True),
    Metric("harmless", "Harmless (1-10)", "higher", 2, judged=True),
    Metric("honest", "Honest (1-10)", "higher", 2, judged=True),
    Metric("win_rate_vs_base", "Win vs Base %", "higher", 1, judged=True),
    Metric("win_rate_vs_sft", "Win vs SFT %", "higher", 1, judged=True),
    Metric("length", "Length (tokens)", None, 1),
    Metric("kl_from_sft", "KL from SFT (nats)", None, 2),
    Metric("refusal_rate", "Refusal %", None, 1, judged=True),
    Metric("over_refusal_rate", "Over-refusal %", "lower", 1, judged=True),
)
METRIC = {metric.name: metric for metric in METRICS}


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


class _Judge(_Loose):
    name: str
    simulated: bool


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


class _Results(_Loose):
    schema_version: int
    recipe: _Recipe
    profile: str
    models: list[str] = Field(min_length=1)
    judge: _Judge
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


def load(path: Path) -> dict[str, Any]:
    """Read and check a results.json.

    Raises:
        UserError: no such file, not JSON, another schema version, or another shape; says where.
    """
    try:
        text = path.read_text(encoding="utf-8")
        results = json.loads(text)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give the results.json of a finished run."
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({error}).") from error
    if not isinstance(results, dict) or "schema_version" not in results:
        raise UserError(f'{path}: not a results file of alignbench (no "schema_version").')
    version = results["schema_version"]
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: schema_version is {version!r}, this alignbench reads {SCHEMA_VERSION}. "
            "Make the results again with `alignbench run`, or use the version that made them."
        )
    try:
        _Results.model_validate(results)
    except ValidationError as error:
        raise UserError(
            *(
                f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}"
                for problem in error.errors()[:10]
            )
        ) from error
    return results


def save(results: Mapping[str, Any], folder: Path) -> None:
    """Write results.json and results.csv, each whole or not at all, floats to 10 digits."""
    rounded = rounded_floats(results)
    text = json.dumps(rounded, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomic(folder / "results.json", text + "\n")
    write_atomic(folder / "results.csv", csv_text(rounded))


def csv_text(results: Mapping[str, Any]) -> str:
    """The rows as CSV with the columns `CSV_COLUMNS`; unknown is empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, CSV_COLUMNS, restval="", extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(results["rows"])
    return buffer.getvalue()


def rounded_floats(value: Any) -> Any:
    """`value` with every float at 10 significant digits (differences beyond are noise of BLAS)."""
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded_floats(item) for item in value]
    return value
