"""The stages that sample, score and judge the rows of the table.

    train -> generate -> score, judge; all of generate -> matches; train -> curve

Sentinels (`stages.sentinels`) are answers that no model gave; they are scored and judged like rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from alignbench import machine
from alignbench.data.reading import looks_local
from alignbench.digest import sha256_file, sha256_json
from alignbench.judges.base import SENTINELS
from alignbench.methods.registry import resolve
from alignbench.models.package import PACKAGE, package_identity
from alignbench.recipe.schema import Recipe, RuleJudge
from alignbench.stage import Stage

FILES = ("alignbench.files",)
MODELS = (
    "alignbench.models",
    "alignbench.engines",
    "alignbench.data.dialogue",
    "alignbench.metering",
    "alignbench.training.memory",
    *FILES,
)
SANDBOX = ("alignbench.sandbox", "alignbench.data.dataset", *FILES)
HUMAN = ("alignbench.judges.base", "alignbench.scoring", *FILES)
SCORERS = (
    "alignbench.metrics",
    "alignbench.judges",
    *MODELS,
    *SANDBOX,
)


@dataclass(frozen=True)
class Evaluated:
    """One row and seed of the evaluation; `model` is the stage that made it, None: a sentinel."""

    name: str
    seed: int
    model: str | None
    sampling_seed: int

    @property
    def responses(self) -> str:
        """The stage with its answers."""
        return f"generate/{self.name}/{self.seed}"


def limits(recipe: Recipe) -> dict[str, Any]:
    """Settings of the recipe that every stage with a model is given."""
    return {
        "max_prompt_tokens": recipe.max_prompt_tokens,
        "max_response_tokens": recipe.max_response_tokens,
        "precision": recipe.precision,
    }


def content_digest(section: dict[str, Any]) -> str | None:
    """What a section names at this moment, so that a change of it counts.

    Of a local file or folder the digest, of a model or data set on the hub the commit (None where
    the hub cannot be asked and nothing is in its cache), of a package's model its digest.
    """
    if section.get("source") == "package":
        return package_identity(section["name"])
    if section.get("source") == "hub":
        return machine.hub_commit(section["name"], section["revision"])
    own = _path_content(section.get("path"))
    if not (sft := section.get("sft")):
        return own
    return sha256_json({"path": own, "sft": _path_content(sft.get("path"))})


def _path_content(named: str | None) -> str | None:
    """Digest of a local file or folder, else the commit of a data set of that name."""
    if not named:
        return None
    path = Path(named).expanduser()
    if not path.exists():
        # A missing file is the stage's to tell.
        return None if looks_local(named) else machine.hub_commit(named, "main", "dataset")
    # Links are followed: a snapshot in the hub's cache consists of nothing else.
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    return sha256_json({f.relative_to(path).as_posix(): sha256_file(f) for f in files})


def uses_hub(recipe: Recipe) -> bool:
    """Whether a run may have to ask the hub, for its model, its data or its judge."""
    data = recipe.data
    named = [] if data.source == "sandbox" else [data.path, data.sft.path if data.sft else None]
    remote = any(
        path and not looks_local(path) and not Path(path).expanduser().exists() for path in named
    )
    return recipe.model.source == "hub" or recipe.judge.kind == "local" or remote


def evaluated_rows(recipe: Recipe) -> list[Evaluated]:
    """What is evaluated, in the order of the table: the sentinels stand before the methods.

    `sft_copy` is the SFT weights sampled with other random numbers.
    """
    seed = recipe.evaluation.seed
    return [
        Evaluated("base", 0, "base", seed),
        Evaluated("sft", 0, "sft", seed),
        Evaluated("sft_copy", 0, "sft", seed + 1),
        *(Evaluated(name, 0, None, 0) for name in SENTINELS if name != "sft_copy"),
        *(
            Evaluated(row, s, f"train/{row}/{s}", seed + 2 + s)
            for row in recipe.methods
            for s in recipe.seeds
        ),
    ]


def _gold(recipe: Recipe) -> dict[str, str]:
    """What methods never see: the sandbox's exact rule, else the gold reward model."""
    exact = recipe.data.source == "sandbox" and recipe.judge.kind != "none"
    return {"gold": "sandbox" if exact else "reward_model"}


def evaluation_stages(recipe: Recipe, row: Evaluated, judge: Mapping[str, Any]) -> list[Stage]:
    """Answers of one model (or sentinel), scored and judged; scores of the model's snapshots.

    Args:
        recipe: resolved.
        row: what is evaluated.
        judge: `judge_config` of the recipe's judge.
    """
    model = {} if row.model is None else {"model": row.model}
    stages = [
        _answers(recipe, row),
        Stage(
            f"score/{row.name}/{row.seed}",
            "alignbench.stages.score:run",
            {**_gold(recipe), **limits(recipe)},
            {
                "data": "data",
                "responses": row.responses,
                **model,
                "sft": "sft",
                "reward_proxy": "reward/proxy",
                "reward_gold": "reward/gold",
            },
            SCORERS,
        ),
        Stage(
            f"judge/{row.name}/{row.seed}",
            "alignbench.stages.judge:run",
            # Of one row is enough to know whether the judge agrees with itself.
            {**judge, "repeats": row.name == "sft"},
            {
                "responses": row.responses,
                **{
                    f"{other}_responses": f"generate/{other}/0"
                    for other in ("base", "sft")
                    if other != row.name
                },
                "reward_gold": "reward/gold",
            },
            SCORERS,
        ),
    ]
    if row.model is not None and row.model.startswith("train/") and recipe.snapshots:
        stages.append(_curve(recipe, row.name, row.seed, row.model))
    return stages


def match_stages(recipe: Recipe, judge: Mapping[str, Any]) -> list[Stage]:
    """The judge's comparisons of the methods with each other, where it is to make them.

    One stage for all pairs: a judge that must see the answers beforehand sees each once, and a
    model's verdicts are kept one by one anyway.
    """
    if not (recipe.judge.between_methods and len(recipe.methods) > 1):
        return []
    rows = [row for row in evaluated_rows(recipe) if row.name in recipe.methods]
    answers = {row.responses: row.responses for row in rows}
    return [
        Stage(
            "matches",
            "alignbench.stages.matches:run",
            {**judge, "rows": [[row, recipe.seeds] for row in recipe.methods]},
            {**answers, "reward_gold": "reward/gold"},
            (*SCORERS, "alignbench.stages.judge"),
        )
    ]


def judge_config(section: BaseModel) -> dict[str, Any]:
    """The judge's section, and the digest of what its model's folder holds.

    Without whether it compares methods: that decides which stages there are, and none of them.
    """
    dump = section.model_dump(mode="json", exclude={"between_methods"})
    content = judge_content(dump["model"], dump["revision"]) if dump["kind"] == "local" else None
    return {"judge": dump, "content": content}


def judge_content(model: str, revision: str) -> str | None:
    """`content_digest` of a local judge's model, which may be a package, a folder or of the hub."""
    if model.startswith(PACKAGE):
        return package_identity(model.removeprefix(PACKAGE))
    if Path(model).expanduser().exists():
        return content_digest({"path": model})
    return machine.hub_commit(model, revision)


def _answers(recipe: Recipe, row: Evaluated) -> Stage:
    evaluation = recipe.evaluation.model_dump(mode="json")
    if row.model is None:
        inputs = {"tokenizer": "sft", "responses": "generate/sft/0"}
        entry = "alignbench.stages.sentinels:run"
        config = {"sentinel": row.name, "max_response_tokens": recipe.max_response_tokens}
        return Stage(row.responses, entry, config, inputs, MODELS)
    decoding = ("samples_per_prompt", "temperature", "top_p", "batch_size")
    sampler = {"data": "data", "model": row.model}
    trained = row.model.startswith("train/")
    if trained and resolve(row.name, recipe.methods[row.name]).decoder() is not None:
        sampler["reward"] = "reward/proxy"
    return Stage(
        row.responses,
        "alignbench.stages.generate:run",
        {
            "evaluation": {name: evaluation[name] for name in decoding},
            "seed": row.sampling_seed,
            "engine": recipe.engine,
            **limits(recipe),
        },
        sampler,
        MODELS,
    )


def _curve(recipe: Recipe, row: str, seed: int, model: str) -> Stage:
    """Score the snapshots of one training run, all rows' on the same prompts and numbers."""
    evaluation = recipe.evaluation.model_dump(mode="json")
    return Stage(
        f"curve/{row}/{seed}",
        "alignbench.stages.curve:run",
        {
            "snapshot_prompts": evaluation["snapshot_prompts"],
            "evaluation": {k: evaluation[k] for k in ("temperature", "top_p", "batch_size")},
            "seed": evaluation["seed"],
            **_gold(recipe),
            **limits(recipe),
        },
        {
            "data": "data",
            "sft": "sft",
            "model": model,
            "reward_proxy": "reward/proxy",
            "reward_gold": "reward/gold",
        },
        (*SCORERS, "alignbench.training.common"),
    )


def judge_questions(recipe: Recipe) -> int:
    """Most questions that a run asks its judge; 0 for a rule, which costs nothing.

    Each judged answer is rated by three rubrics and for refusal, and compared twice with Base's and
    twice with SFT's (those two only with each other), and twice with every other method's of the
    same seed (by place in the list) where the judge is to compare methods.
    """
    judge = recipe.judge
    if isinstance(judge, RuleJudge):
        return 0
    prompts = recipe.data.evaluation_prompts
    answers = min(judge.prompts or prompts, prompts) * min(
        judge.samples, recipe.evaluation.samples_per_prompt
    )
    rows = len(evaluated_rows(recipe))
    repeated = 0 if judge.kind == "local" else judge.audit_repeats
    methods = len(recipe.methods) if judge.between_methods else 0
    matches = methods * (methods - 1) * len(recipe.seeds)
    return answers * (8 * rows - 4 + matches) + min(judge.audit_pairs, answers) * repeated


def human_stages(path: str | None) -> list[Stage]:
    """People's preferences between answers, where a file of them is named."""
    if path is None:
        return []
    config = {"path": path, "content": content_digest({"path": path})}
    return [Stage("human", "alignbench.stages.human:run", config, code=HUMAN)]


def report_stage(names: Iterable[str]) -> Stage:
    """The page, from the results and, for its samples, answers with their scores and verdicts.

    Args:
        names: of all stages; those that it does not show are passed over.
    """
    shown = {name: name for name in names if name.startswith(("generate/", "score/", "judge/"))}
    return Stage(
        "report",
        "alignbench.stages.report:run",
        {"charts": {name: machine.version_of(name) for name in ("altair", "vl-convert-python")}},
        {"data": "data", "results": "results", **shown},
        (
            "alignbench.report",
            "alignbench.results",
            "alignbench.leaderboard.texts",
            "alignbench.judges.base",
            "alignbench.metering.currencies",
            *FILES,
        ),
    )
