"""The chain of trials, and what makes one of them another stage."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest

from alignbench.errors import UserError
from alignbench.keys import stage_key
from alignbench.pipeline import build
from alignbench.recipe.load import load
from alignbench.stage import Stage
from alignbench.tuning.stages import tuning_stages

SMOKE = Path(__file__).parents[2] / "recipes" / "smoke.yaml"
INPUTS = {"data": "data", "sft": "sft", "reward": "reward/proxy"}
CODE = ("alignbench.methods.ppo",)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "r.yaml"
    rows = ("reinforce", "dpo", "grpo", "rlaif")
    smoke = SMOKE.read_text()
    # Its own budget and tuning are others.
    own, rest = smoke.index("budget:"), smoke.index("methods:")
    path.write_text(
        smoke[:own]
        + smoke[rest:]
        + "budget: {flops: 1.0e+12, prompts: 50, ai_labels: 90}\n"
        + "tuning:\n  trials: 3\n  search:\n    ppo: {clip: [0.1, 0.2, 0.3]}\n"
        + "".join(f"    {row}: {{}}\n" for row in rows)
    )
    return path


def trials(path: Path, *settings: str, row: str = "ppo", seeds: str | None = None) -> list[Stage]:
    recipe = load(path, settings=settings, seeds=seeds).recipe
    config: dict[str, Any] = {"row": row, "options": recipe.methods[row], "snapshots": [0.5]}
    return tuning_stages(recipe, row, INPUTS, config, CODE)


def test_each_trial_sees_all_before_it(recipe: Path) -> None:
    made = trials(recipe)
    assert [stage.name for stage in made] == ["trial/ppo/0", "trial/ppo/1", "trial/ppo/2"]
    common = {**INPUTS, "scorer": "reward/proxy"}
    assert made[0].inputs == common
    assert made[2].inputs == {**common, "trial_0": "trial/ppo/0", "trial_1": "trial/ppo/1"}
    assert [stage.config["number"] for stage in made] == [0, 1, 2]
    assert {stage.entry for stage in made} == {"alignbench.stages.trial:run"}
    assert all({"alignbench.stages.method", *CODE} <= set(stage.code) for stage in made)
    assert made[0].config["snapshots"] == []
    assert made[0].config["search"] == {"clip": [0.1, 0.2, 0.3]}
    assert made[0].config["optuna"] == importlib.metadata.version("optuna")


def test_a_row_that_is_not_searched_has_none(recipe: Path) -> None:
    assert trials(recipe, row="dpo") == []


def test_the_final_seeds_are_not_those_of_the_trials(recipe: Path) -> None:
    first = trials(recipe)[0].config
    assert first["seed"] not in (0, 1)
    again = trials(recipe, seeds=f"0,{first['seed']}")[0].config
    assert again["seed"] not in (0, first["seed"])
    assert first["sampling_seed"] != load(recipe).recipe.evaluation.seed


def test_the_budget_is_the_rows_or_a_share_of_the_tunings(recipe: Path) -> None:
    assert trials(recipe)[0].config["budget"] == {"flops": 1e12, "prompts": 50, "ai_labels": 90}
    shared = trials(recipe, "tuning.budget={optimizer_steps: 30}")
    # A third of the steps; what bounds the data stays, what ended the row is replaced.
    expected = {"prompts": 50, "ai_labels": 90, "optimizer_steps": 10}
    assert [stage.config["budget"] for stage in shared] == [expected] * 3


def test_the_gold_metric_is_the_rule_in_the_sandbox(recipe: Path) -> None:
    made = trials(recipe, "tuning.metric=reward_gold")[0]
    assert made.config["judge"] == "sandbox"
    assert "scorer" not in made.inputs
    assert "alignbench.sandbox" in made.code


def test_the_gold_metric_is_the_gold_reward_model_elsewhere(recipe: Path) -> None:
    settings = (
        "tuning.metric=reward_gold", "model={source: hub, name: gpt2}", "data={source: hh_rlhf}",
        "pretrain=null", "judge={kind: none}", "labeller={kind: reward_model}",
    )  # fmt: skip
    made = trials(recipe, *settings)[0]
    assert made.inputs["scorer"] == "reward/gold"
    assert made.config["judge"] is None


def test_the_pipeline_trains_what_the_trials_select(recipe: Path) -> None:
    made = {stage.name: stage for stage in build(load(recipe).recipe)}
    assert [name for name in made if name.startswith("trial/")] == [
        f"trial/ppo/{k}" for k in range(3)
    ]
    for seed in (0, 1):
        chosen = {f"trial_{k}": f"trial/ppo/{k}" for k in range(3)}
        assert chosen.items() <= made[f"train/ppo/{seed}"].inputs.items()
        assert not chosen.keys() & made[f"train/dpo/{seed}"].inputs.keys()
    assert made["trial/ppo/0"].config["options"] == made["train/ppo/0"].config["options"]


def _keys(made: list[Stage]) -> list[str]:
    found: dict[str, str] = {}
    for stage in made:
        keys = {role: found.get(name, name) for role, name in stage.inputs.items()}
        found[stage.name] = stage_key(stage, keys)
    return list(found.values())


def test_more_trials_keep_the_earlier_ones(recipe: Path) -> None:
    wider = "tuning.search.ppo.clip=[0.1, 0.2, 0.3, 0.4]"
    fewer, more = (_keys(trials(recipe, wider, f"tuning.trials={count}")) for count in (3, 4))
    assert more[:3] == fewer
    assert len(set(more)) == 4
    assert not set(more) & set(_keys(trials(recipe, wider, "tuning.seed=1")))


def test_optuna_is_asked_for_before_anything_runs(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UserError, match=r"not installed; pip install 'alignbench\[tuning\]'"):
        trials(recipe)
