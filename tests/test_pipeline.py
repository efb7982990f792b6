"""The pipeline of the shipped recipes: order, seeds, and what a change reruns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignbench.evaluation import judge_questions
from alignbench.judges.base import SENTINELS
from alignbench.keys import stage_key
from alignbench.pipeline import build
from alignbench.recipe.load import load
from alignbench.stage import Stage

RECIPES = Path(__file__).parents[1] / "recipes"


def stages(name: str = "smoke", settings: tuple[str, ...] = (), **chosen: Any) -> list[Stage]:
    return build(load(RECIPES / f"{name}.yaml", settings=settings, **chosen).recipe)


def keys(made: list[Stage]) -> dict[str, str]:
    found: dict[str, str] = {}
    for stage in made:
        found[stage.name] = stage_key(stage, {r: found[n] for r, n in stage.inputs.items()})
    return found


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("name", "profile"), [("smoke", "default"), ("gpt2_all", "cpu"), ("gpt2_all", "gpu")]
)
def test_every_recipe_and_profile_builds_in_order(name: str, profile: str) -> None:
    seen: set[str] = set()
    for stage in stages(name, profile=profile):
        assert set(stage.inputs.values()) <= seen, stage.name
        assert stage.name not in seen
        seen.add(stage.name)
    rows = {"base", "sft", *SENTINELS, "reinforce", "ppo", "dpo", "grpo", "rlaif"}
    assert {s.split("/")[1] for s in seen if s.startswith("score/")} == rows
    assert {f"train/ppo/{seed}" for seed in (0, 1)} <= seen


def test_a_methods_option_reruns_only_its_branch() -> None:
    before = keys(stages())
    after = keys(stages(settings=("methods.grpo.clip=0.3",)))
    kinds = ("train", "generate", "score", "judge", "curve")
    expected = {f"{kind}/grpo/{seed}" for kind in kinds for seed in (0, 1)}
    assert changed(before, after) == expected | {"matches", "results", "cards", "report"}


def test_a_default_written_out_changes_nothing() -> None:
    after = keys(stages(settings=("methods.grpo.clip=0.2",)))
    assert changed(keys(stages()), after) <= {"results", "cards", "report"}


def test_one_seed_less_keeps_the_others_work() -> None:
    before, after = keys(stages()), keys(stages(seeds="0"))
    made = {name for name in after if before[name] != after[name]}
    assert made == {"matches", "results", "cards", "report"}


def test_methods_start_from_one_sft_and_never_see_the_gold_model() -> None:
    for stage in stages():
        if stage.name.startswith("train/"):
            assert stage.inputs["sft"] == "sft"
            assert "reward/gold" not in stage.inputs.values()
            assert not any(name.startswith("generate/") for name in stage.inputs.values())


def test_the_sentinel_is_the_sft_model_with_other_random_numbers() -> None:
    made = {stage.name: stage for stage in stages()}
    sft, copy = made["generate/sft/0"], made["generate/sft_copy/0"]
    assert sft.inputs == copy.inputs
    assert sft.config["seed"] != copy.config["seed"]


def test_a_changed_local_data_file_changes_the_key(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    found = []
    for text in ("{}\n", "{ }\n"):
        file.write_text(text)
        made = stages("gpt2_all", (f"data.path={file}",), profile="gpu")
        found.append(keys(made)["data"])
    assert found[0] != found[1]


def test_the_questions_to_a_judge_are_counted_beforehand() -> None:
    judge = "{kind: openai, model: m, prompts: 10, samples: 2, audit_pairs: 5, audit_repeats: 3}"
    recipe = load(RECIPES / "smoke.yaml", settings=(f"judge={judge}",)).recipe
    # 20 answers of 15 rows (base, sft, three sentinels, five methods with two seeds): four ratings
    # and four comparisons each, but two of base and of sft. 10 pairs of methods with two seeds, in
    # both orders. And 5 pairs asked again 3 times.
    assert judge_questions(recipe) == 20 * (13 * 8 + 2 * 6 + 10 * 2 * 2) + 15
    settings = (f"judge={judge}", "judge.between_methods=false")
    alone = load(RECIPES / "smoke.yaml", settings=settings).recipe
    assert judge_questions(alone) == 20 * (13 * 8 + 2 * 6) + 15
    assert judge_questions(load(RECIPES / "smoke.yaml").recipe) == 0


def test_the_methods_are_compared_with_each_other_unless_the_recipe_says_no() -> None:
    with_matches, without = stages(), stages(settings=("judge.between_methods=false",))
    [matches] = [stage for stage in with_matches if stage.name == "matches"]
    assert matches.config["rows"][:2] == [["reinforce", [0, 1]], ["ppo", [0, 1]]]
    rows = {name for name in matches.inputs.values() if name.startswith("generate/")}
    methods = ("reinforce", "ppo", "dpo", "grpo", "rlaif")
    assert rows == {f"generate/{row}/{seed}" for row in methods for seed in (0, 1)}
    [results] = [stage for stage in with_matches if stage.name == "results"]
    assert results.inputs["matches"] == "matches"
    assert "matches" not in {stage.name for stage in without}
    # Whether they are does not make the rows' own verdicts anew.
    before, after = keys(with_matches), keys(without)
    assert {name for name in after if before[name] != after[name]} == {"results", "cards", "report"}


def test_a_method_alone_has_nobody_to_meet() -> None:
    recipe = load(RECIPES / "smoke.yaml").recipe
    one = recipe.model_copy(update={"methods": {"ppo": recipe.methods["ppo"]}})
    assert "matches" not in {stage.name for stage in build(one)}
    assert judge_questions(one) == 0
