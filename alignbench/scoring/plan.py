"""What `alignbench score` is asked to do, and the stages that do it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from alignbench.evaluation import (
    FILES,
    MODELS,
    SANDBOX,
    SCORERS,
    content_digest,
    human_stages,
    judge_config,
    report_stage,
)
from alignbench.judges.base import MADE_UP, SENTINELS
from alignbench.recipe.consistency import Inconsistent
from alignbench.recipe.schema import Evaluation, JudgeSection, RuleJudge
from alignbench.recipe.section import Name, Positive, Section
from alignbench.stage import Stage

#: What decides which prompts and answers there are; other settings must not ask models again.
GATHERED = (
    "outputs",
    "models",
    "prompts",
    "prompt_key",
    "response_key",
    "safety",
    "text",
    "limit",
    "baseline",
)


class ScoreEvaluation(Evaluation):
    """As in a recipe, but one sample a prompt, as files mostly have."""

    samples_per_prompt: Positive = 1


class ScorePlan(Section):
    """A comparison of outputs and checkpoints.

    `outputs` and `models` map rows to files and to transformers folders (or names on the hub);
    `baseline` is the row that win rates are against.
    """

    name: Name = "score"
    outputs: dict[Name, str] = Field(default={})
    models: dict[Name, str] = Field(default={})
    baseline: str
    prompts: str | None = None
    prompt_key: str | None = None
    response_key: str | None = None
    safety: str | None = None
    human_labels: str | None = None
    text: str | None = None
    """Held-out text for the perplexity of `models`."""
    reward_model: str | None = None
    """A transformers folder with a reward model (one label), or a reward model of a run's store."""
    limit: Positive | None = None
    """The first so many prompts only."""
    judge: JudgeSection = RuleJudge(kind="none")
    evaluation: ScoreEvaluation = ScoreEvaluation()
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    max_prompt_tokens: Positive = 512
    max_response_tokens: Annotated[int, Field(gt=0)] = 256

    @model_validator(mode="after")
    def _parts_fit_together(self) -> ScorePlan:
        if problems := list(self._inconsistencies()):
            raise Inconsistent(problems)
        return self

    def _inconsistencies(self) -> Iterator[tuple[tuple[str, ...], str]]:
        rows = [*self.outputs, *self.models]
        if not rows:
            yield ("outputs",), "nothing to score: give --outputs NAME=FILE or --models NAME=PATH"
        twice = self.outputs.keys() & self.models.keys()
        if twice:
            yield ("models",), f"{', '.join(sorted(twice))} is among outputs too; every row once"
        if reserved := [row for row in rows if row in (*SENTINELS, "baseline")]:
            yield ("outputs",), f"{', '.join(reserved)}: that name has a meaning; choose another"
        if rows and self.baseline not in rows:
            yield ("baseline",), f"{self.baseline!r} is no row; rows: {', '.join(rows)}"
        if self.models and not self.outputs and self.prompts is None and self.safety is None:
            yield ("prompts",), "models need prompts: give --prompts FILE or --safety FILE"
        if self.judge.kind == "sandbox":
            yield ("judge", "kind"), "the sandbox judge knows the sandbox only; write local, openai"

        if self.human_labels is not None and self.judge.kind == "none":
            yield ("human_labels",), "people correct a judge's win rates; give --judge too"

    @property
    def rows(self) -> list[str]:
        """Rows of the table, the baseline first, sentinels after it."""
        others = [row for row in (*self.outputs, *self.models) if row != self.baseline]
        return [self.baseline, *MADE_UP, *others]


def build(plan: ScorePlan, command: str, notes: Sequence[str] = ()) -> list[Stage]:
    """The stages of a plan, every stage after its inputs.

    Args:
        plan: what to score.
        command: the command line, for the report.
        notes: lines about this run that the report must show.
    """
    judge = judge_config(plan.judge)
    models = [_model(row, path) for row, path in plan.models.items()]
    if plan.reward_model is not None:
        models.append(_model("reward_model", plan.reward_model, "reward_model"))
    rows = [_answers(plan, row) for row in plan.rows]
    evaluation = [stage for row in plan.rows for stage in _evaluation(plan, row, judge)]
    human = human_stages(plan.human_labels)
    stages = [*models, *_data(plan), *rows, *evaluation, *human]
    return [*stages, *_report(plan, stages, command, notes)]


def _data(plan: ScorePlan) -> list[Stage]:
    """Prompts and answers; where models are asked, without prompts too long for one of them."""
    named = (*plan.outputs.values(), plan.prompts, plan.safety, plan.text)
    files = {path: content_digest({"path": path}) for path in named if path is not None}
    gathered = {name: getattr(plan, name) for name in GATHERED}
    code = ("alignbench.scoring", "alignbench.recipe.schema", *FILES)
    entry = "alignbench.stages.given:data"
    config = {"plan": gathered, "content": files}
    if not plan.models:
        return [Stage("data", entry, config, code=code)]
    inputs = {"given": "given", **{f"model_{row}": f"model/{row}" for row in plan.models}}
    limit = {"max_prompt_tokens": plan.max_prompt_tokens}
    asked = Stage("data", "alignbench.stages.given:asked", limit, inputs, MODELS)
    return [Stage("given", entry, config, code=code), asked]


def _model(row: str, path: str, kind: str = "model") -> Stage:
    """The user's checkpoint, loaded safely once and kept as every other model is."""
    config = {"path": path, "content": content_digest({"path": path})}
    name = f"model/{row}" if kind == "model" else row
    return Stage(name, f"alignbench.stages.given:{kind}", config, code=MODELS)


def _answers(plan: ScorePlan, row: str) -> Stage:
    name = f"generate/{row}/0"
    if row in MADE_UP:
        inputs = {"responses": f"generate/{plan.baseline}/0"}
        if plan.baseline in plan.models:
            inputs["tokenizer"] = f"model/{plan.baseline}"
        made = {"sentinel": row, "max_response_tokens": plan.max_response_tokens}
        return Stage(name, "alignbench.stages.sentinels:run", made, inputs, MODELS)
    if row in plan.outputs:
        return Stage(
            name, "alignbench.stages.given:outputs", {"row": row}, {"data": "data"}, code=FILES
        )
    evaluation = plan.evaluation.model_dump(mode="json")
    decoding = ("samples_per_prompt", "temperature", "top_p", "batch_size")
    config = {
        "evaluation": {name: evaluation[name] for name in decoding},
        "seed": evaluation["seed"],
        "max_prompt_tokens": plan.max_prompt_tokens,
        "max_response_tokens": plan.max_response_tokens,
        "precision": plan.precision,
    }
    inputs = {"data": "data", "model": f"model/{row}"}
    return Stage(name, "alignbench.stages.generate:run", config, inputs, MODELS, threads=2)


def _evaluation(plan: ScorePlan, row: str, judge: Mapping[str, Any]) -> list[Stage]:
    responses = f"generate/{row}/0"
    model = {"model": f"model/{row}"} if row in plan.models else {}
    if plan.reward_model is not None:
        model["reward_model"] = "reward_model"
    first = next((r for r in plan.rows if r != plan.baseline and r not in MADE_UP), None)
    opponent = {"baseline_responses": f"generate/{plan.baseline}/0"}
    return [
        Stage(
            f"score/{row}/0",
            "alignbench.stages.given:score",
            {"text": plan.text is not None},
            {"data": "data", "responses": responses, **model},
            SCORERS,
        ),
        Stage(
            f"judge/{row}/0",
            "alignbench.stages.judge:run",
            {**judge, "repeats": row == first},
            {"responses": responses, **(opponent if row != plan.baseline else {})},
            SCORERS,
        ),
    ]


def _report(
    plan: ScorePlan, stages: Sequence[Stage], command: str, notes: Sequence[str]
) -> list[Stage]:
    given: dict[str, str] = {stage.name: stage.name for stage in stages}
    config: dict[str, Any] = {
        "plan": plan.model_dump(mode="json"),
        "rows": plan.rows,
        "command": command,
        "notes": list(notes),
    }
    statistics = ("alignbench.results", "alignbench.stats", "alignbench.metrics.diversity")
    results = Stage(
        "results",
        "alignbench.stages.given_results:run",
        config,
        given,
        (*statistics, "alignbench.judges.base", "alignbench.judges.audit", *SANDBOX),
    )
    return [results, report_stage(given)]
