from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from alignbench.digest import sha256_json
from alignbench.errors import UserError
from alignbench.recipe.data_sections import SandboxData
from alignbench.recipe.load import LoadedRecipe, load
from alignbench.recipe.schema import HubModel, ScratchModel

GOOD = """\
name: tiny
seeds: [0, 1]
sft: {learning_rate: 1.0e-3}
reward_model:
  learning_rate: 1.0e-3
judge: {kind: sandbox}
methods:
  dpo: {learning_rate: 3.0e-4}
  ppo:
    learning_rate: 2.0e-4
    rollouts: 3
profiles:
  cpu:
    model: {source: scratch}
    data: {source: sandbox}
    pretrain:
      steps: 10
  gpu:
    model: {source: hub, name: gpt2}
    data: {source: hh_rlhf}
    precision: bf16
    judge: {kind: none}
    methods:
      dpo: {learning_rate: 1}
"""

Write = Callable[[str], Path]


SOURCES = "sandbox, hh_rlhf, open_assistant, ultrafeedback, preference, table, sharegpt, alpaca"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a recipe and return its path; messages then show it as ``r.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("alignbench.machine.cuda", lambda: (False, "no CUDA device"))

    def write_recipe(text: str) -> Path:
        Path("r.yaml").write_text(text, encoding="utf-8")
        return Path("r.yaml")

    return write_recipe


def replaced(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def problems(path: Path, **options: object) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(path, **options)  # type: ignore[arg-type]
    return list(caught.value.problems)


def test_profile_overlays_the_recipe(write: Write) -> None:
    # GOOD's gpu profile sets dpo's learning rate to 1, which is out of range: only gpu is wrong.
    path = write(replaced("dpo: {learning_rate: 1}", "dpo: {learning_rate: 0.5}"))
    cpu = load(path).recipe
    assert (cpu.profile, cpu.seeds, cpu.precision) == ("cpu", [0, 1], "fp32")
    assert isinstance(cpu.model, ScratchModel)
    assert cpu.data == SandboxData(source="sandbox")
    assert cpu.methods["dpo"] == {"learning_rate": 0.0003}
    gpu = load(path, profile="gpu").recipe
    assert gpu.model == HubModel(source="hub", name="gpt2")
    assert gpu.precision == "bf16"
    assert gpu.pretrain is None
    assert gpu.methods == {
        "dpo": {"learning_rate": 0.5},
        "ppo": {"learning_rate": 0.0002, "rollouts": 3},
    }
    assert load(path).digest == sha256_json(cpu.model_dump(mode="json")) != load(path, "gpu").digest


def test_the_other_profile_is_checked_too(write: Write) -> None:
    assert problems(write(GOOD)) == [
        "r.yaml:24: methods.dpo.learning_rate: must be less than 1; found 1 (profile gpu)"
    ]


def one_profile(**changes: object) -> str:
    """A recipe without profiles, with top-level keys replaced (None removes)."""
    recipe = yaml.safe_load(GOOD)
    recipe |= recipe.pop("profiles")["cpu"]
    recipe = copy.deepcopy(recipe) | changes
    return yaml.safe_dump({k: v for k, v in recipe.items() if v is not None}, sort_keys=False)


def test_recipe_without_profiles_has_the_default_one(write: Write) -> None:
    loaded = load(write(one_profile()))
    assert loaded.profile.name == loaded.recipe.profile == "default"
    assert loaded.profile.sentence() == "Profile default: the recipe's only one."


def test_all_errors_at_once_with_their_lines(write: Write) -> None:
    text = """\
name: tiny
seeds: [0, 1]
sft: {learning_rate: 5e-7, epochz: 3}
reward_model: {learning_rate: 1.0e-4, epochs: yes}
methods:
  ppo:
    learning_rat: 3
    rollouts: 2
  dpo: null
  gpro: {}
  grpo: {learning_rate: 0.1, rollouts: 1, kl_coef: true}
judge: {kind: sandbx}
evaluation:
  temperature: -1
  samples_per_prompt: 2.5
profiles:
  cpu:
    model: {source: scratch}
    data: {source: sandox}
    pretrain: {steps: 1}
  gpu:
    model: {source: hub}
    data: {}
    precision: fp8
"""
    found = problems(write(text), settings=["sft.epochs=0"], methods="ppo,dpoo", seeds="0,-1")
    sft_keys = (
        "batch_size, epochs, evaluations_per_epoch, gradient_accumulation, learning_rate, "
        "patience, seed, warmup_fraction"
    )
    expected = [
        'r.yaml:3: sft.learning_rate: YAML reads "5e-7" as text; write 5.0e-7 for the number, '
        "or put it in quotes for the text",
        'r.yaml:4: reward_model.epochs: yes: write true, or "yes" in quotes if it is text',
        f'r.yaml:3: sft.epochz: unknown key (did you mean "epochs"?); valid keys: {sft_keys}',
        "--set sft.epochs: must be greater than 0; found 0 (profile cpu)",
        "r.yaml:6: methods.ppo.learning_rate: required key is missing",
        "r.yaml:9: methods.dpo.learning_rate: required key is missing",
        "r.yaml:11: methods.grpo.kl_coef: must be a number; found true",
        'r.yaml:12: judge.kind: "sandbx" is not known (did you mean "sandbox"?); '
        "one of: sandbox, none, local, openai",
        "r.yaml:14: evaluation.temperature: must be greater than 0; found -1",
        "r.yaml:15: evaluation.samples_per_prompt: must be a whole number; found 2.5",
        'r.yaml:19: data.source: "sandox" is not known (did you mean "sandbox"?); '
        f"one of: {SOURCES} (profile cpu)",
        "r.yaml:22: model.name: required key is missing (profile gpu)",
        f"r.yaml:23: data.source: required key is missing; one of: {SOURCES} (profile gpu)",
        'r.yaml:24: precision: "fp8" is not known; one of: fp32, bf16, fp16 (profile gpu)',
        '--seeds: write whole numbers with commas, such as 0,1; found "0,-1"',
        '--methods: unknown method "dpoo" (did you mean "dpo"?); '
        "this recipe has: ppo, dpo, gpro, grpo",
    ]
    assert set(expected) <= set(found)
    rest = sorted(set(found) - set(expected))
    assert len(rest) == 2
    assert rest[0].startswith('r.yaml:10: methods.gpro: unknown method "gpro" (did you mean "grpo"')
    assert rest[1].startswith(
        'r.yaml:7: methods.ppo.learning_rat: unknown key (did you mean "learning_rate"?)'
    )
    assert "kl_coef" in rest[1]
    assert "uses" in rest[1]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pretrain": None}, "pretrain: required with model.source scratch"),
        (
            {"model": {"source": "hub", "name": "gpt2"}},
            "pretrain: only for model.source scratch, and this one is hub",
        ),
        ({"data": {"source": "hh_rlhf"}}, "model.source: data.source hh_rlhf has no corpus"),
        ({"data": {"source": "hh_rlhf"}}, "judge.kind: the sandbox judge knows no answers"),
        (
            {"data": {"source": "hh_rlhf"}, "labeller": {"kind": "sandbox"}},
            "labeller.kind: the sandbox labeller knows no answers",
        ),
        (
            {"model": {"source": "scratch", "n_embd": 10, "n_head": 4}},
            "model.n_embd: must be a multiple of model.n_head (4); found 10",
        ),
        (
            {"max_prompt_tokens": 100},
            "model.n_positions: must be at least max_prompt_tokens + max_response_tokens (156)",
        ),
        (
            {"pretrain": {"steps": 1, "block_size": 129}},
            "pretrain.block_size: must be at most model.n_positions (128); found 129",
        ),
        ({"seeds": [1, 1]}, "seeds: every seed once; found [1, 1]"),
        ({"reward_model": {"learning_rate": 0.1, "gold_seed": 0}}, "reward_model.gold_seed: must"),
        ({"methods": {"sft": {}}}, "methods.sft: this row is always there"),
        (
            {"methods": {"rlaif": {"prompts": 4, "dpo": {"learning_rate": 0.1}}}},
            "methods.rlaif: needs an AI labeller; add labeller:",
        ),
        ({"seeds": []}, "seeds: "),
        ({"seeds": [True]}, "seeds.0: must be a whole number; found true"),
        ({"name": "Not A Name"}, "name: must match "),
        ({"name": 7}, "name: must be text; found 7"),
        ({"sft": 3}, "sft: must be a mapping (key: value); found 3"),
        ({"methods": {"dpo": 3}}, "methods.dpo: must be a mapping (key: value); found 3"),
        ({"methods": []}, "methods: must be a mapping (key: value); found []"),
        ({"model": "gpt2"}, 'model: must be a mapping (key: value); found "gpt2"'),
        ({"model": {"source": 3}}, "model.source: 3 is not known; one of: scratch, hub, path"),
        ({"sft": None}, "r.yaml:1: sft: required key is missing"),
        ({"profile": "cpu"}, "profile: a recipe does not choose its profile"),
        ({"profiles": {}}, "profiles: must be a mapping of name: overrides; found {}"),
        ({"profiles": {"auto": {}}}, "profiles.auto: a profile's name is"),
        ({"profiles": {"x": 3}}, "profiles.x: must be a mapping"),
        ({"profiles": {"x": {"profiles": {}}}}, "profiles.x: a profile cannot hold profiles"),
        ({"methods": {"x": {"uses": "no.such:Method"}}}, "importing no.such failed"),
    ],
)
def test_each_mistake_has_its_message(write: Write, changes: dict[str, object], told: str) -> None:
    found = problems(write(one_profile(**changes)))
    assert any(told in line for line in found), found
    assert all(line.startswith("r.yaml:") for line in found)


def test_whole_numbers_are_fine_for_rates_and_empty_bodies_are_defaults(write: Write) -> None:
    labeller = {"kind": "sandbox"}
    path = write(one_profile(evaluation={"temperature": 1}, labeller=labeller))
    recipe = load(path, settings=["methods.ppo.kl_coef=1"]).recipe
    assert recipe.evaluation.temperature == 1.0
    assert recipe.methods["ppo"]["kl_coef"] == 1


class TestSettings:
    def test_applied_after_the_profile(self, write: Write) -> None:
        path = write(replaced("dpo: {learning_rate: 1}", "dpo: {beta: 0.2}"))
        settings = ["methods.dpo.beta=0.3", "precision=fp16", "evaluation.seed=5"]
        loaded = load(path, "gpu", settings)
        assert loaded.recipe.methods["dpo"] == {"learning_rate": 0.0003, "beta": 0.3}
        assert loaded.recipe.precision == "fp16"
        assert loaded.recipe.evaluation.seed == 5
        assert loaded.digest != load(path, "gpu").digest

    def test_flow_values_replace_lists_and_sections(self, write: Write) -> None:
        settings = ["seeds=[3]", "sft={learning_rate: 0.5}", "pretrain.steps=7"]
        recipe = load(write(one_profile()), settings=settings).recipe
        assert recipe.seeds == [3]
        assert (recipe.sft.learning_rate, recipe.sft.epochs) == (0.5, 3)
        assert recipe.pretrain is not None
        assert recipe.pretrain.steps == 7

    @pytest.mark.parametrize(
        ("setting", "told"),
        [
            ("sft.epoch=2", '--set sft.epoch: unknown key (did you mean "epochs"?); valid keys: '),
            ("stf.epochs=2", '--set stf.epochs: stf: unknown key (did you mean "sft"?)'),
            ("methods.ppo.clipp=1", '--set methods.ppo.clipp: unknown key (did you mean "clip"?)'),
            ("methods.dop.beta=1", "--set methods.dop.beta: methods.dop: unknown method"),
            ("sft.epochs=5e-7", '--set sft.epochs: YAML reads "5e-7" as text'),
            ("sft.epochs=on", "--set sft.epochs: on: write true"),
            ("sft.epochs=*x", "--set sft.epochs: alias *x: write the value out"),
            ("sft.epochs=[", "--set sft.epochs: not valid YAML: "),
            ("sft.epochs", '--set "sft.epochs": write --set key.key=value'),
            ("=3", '--set "=3": write --set key.key=value'),
            ("sft..x=3", '--set "sft..x=3": write --set key.key=value'),
            ("sft.epochs=", "--set sft.epochs: no value; write null for none"),
            ("seeds.0=3", "--set seeds.0: [0, 1] is no mapping; set the whole value"),
            ("name.x=3", '--set name.x: "tiny" is no mapping; set the whole value'),
            ("profiles.cpu.seeds=[0]", "--set profiles.cpu.seeds: choose a profile with --profile"),
            ("profile=cpu", "--set profile: choose a profile with --profile"),
            ("sft={epochz: 1}", '--set sft: sft.epochz: unknown key (did you mean "epochs"?)'),
        ],
    )
    def test_mistakes(self, write: Write, setting: str, told: str) -> None:
        found = problems(write(one_profile()), settings=[setting])
        assert any(line.startswith(told) for line in found), found

    def test_twice_is_an_error(self, write: Write) -> None:
        settings = ["sft.epochs=1", "sft.epochs=2"]
        assert problems(write(one_profile()), settings=settings) == [
            "--set sft.epochs: given twice"
        ]
        assert problems(write(one_profile()), settings=["seeds=[1]"], seeds="2") == [
            "--seeds: given twice"
        ]


def test_methods_and_seeds_of_the_command_line(write: Write) -> None:
    def of(**options: str) -> LoadedRecipe:
        return load(write(one_profile()), **options)  # type: ignore[arg-type]

    assert list(of(methods="ppo").recipe.methods) == ["ppo"]
    assert list(of(methods=" ppo , dpo").recipe.methods) == ["dpo", "ppo"]
    assert of(seeds="5, 7").recipe.seeds == [5, 7]
    assert of(seeds="5").digest != of().digest
    assert problems(write(one_profile()), methods="") == [
        '--methods: unknown method ""; this recipe has: dpo, ppo'
    ]
    assert problems(write(one_profile()), seeds="1,1") == [
        "--seeds: seeds: every seed once; found [1, 1]"
    ]


def test_a_row_may_use_a_method_under_another_name(write: Write) -> None:
    methods = {"mild": {"uses": "dpo", "learning_rate": 0.1}}
    assert load(write(one_profile(methods=methods))).recipe.methods == methods
    wrong = {"mild": {"uses": "dpo", "learning_rat": 0.1}}
    found = problems(write(one_profile(methods=wrong)))
    assert any('learning_rat: unknown key (did you mean "learning_rate"' in line for line in found)


def test_loading_imports_no_torch(write: Write) -> None:
    import subprocess
    import sys

    path = write(one_profile())
    code = (
        "import sys; from pathlib import Path; from alignbench.recipe.load import load;"
        f"load(Path({str(path)!r}));"
        "print([name for name in ('torch', 'trl', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_budgets_and_snapshots(write: Write) -> None:
    text = replaced("seeds: [0, 1]", "seeds: [0, 1]\nbudget: {flops: 1.0e+12, ai_labels: 50}")
    text = text.replace("  ppo:\n", "  ppo:\n    budget: {flops: 2.0e+12, device_hours: 1}\n")
    text = text.replace("    rollouts: 3\n", "") + "snapshots: [0.25, 1]\n"
    text = text.replace("dpo: {learning_rate: 1}", "dpo: {learning_rate: 0.1}")
    recipe = load(write(text)).recipe
    shared, own = recipe.budget_of("dpo"), recipe.budget_of("ppo")
    assert shared is not None
    assert own is not None
    assert shared.limits() == {"flops": 1e12, "ai_labels": 50}
    assert own.limits() == {"flops": 2e12, "ai_labels": 50, "device_seconds": 3600}
    assert recipe.snapshots == [0.25, 1]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seeds: [0, 1]", "seeds: [0, 1]\nbudget: {}", "a budget needs at least one of"),
        ("seeds: [0, 1]", "seeds: [0, 1]\nbudget: {flop: 1.0}", '(did you mean "flops"?)'),
        ("seeds: [0, 1]", "seeds: [0, 1]\nbudget: {flops: 2e14}", "write 2.0e+14 for the number"),
        ("seeds: [0, 1]", "seeds: [0, 1]\nbudget: {flops: -1}", "budget.flops"),
        ("    rollouts: 3", "    rollouts: 3\n    budget: {steps: 3}", "ppo.budget.steps: unknown"),
        ("    rollouts: 3", "    rollouts: null", "methods.ppo: nothing ends its training"),
        ("    rollouts: 3", "    rollouts: null\n    budget: {prompts: 3}", "nothing ends its"),
        ("seeds: [0, 1]", "seeds: [0, 1]\nsnapshots: [0.5]", "snapshots: are shares of a budget"),
        (
            "seeds: [0, 1]",
            "seeds: [0, 1]\nbudget: {flops: 1}\nsnapshots: [0.5, 0.25]",
            "snapshots: rising, every share once",
        ),
        (
            "seeds: [0, 1]",
            "seeds: [0, 1]\nbudget: {flops: 1}\nsnapshots: [0.501, 0.502]",
            "snapshots: shares in whole percents",
        ),
    ],
)  # fmt: skip
def test_budgets_that_cannot_be(write: Write, old: str, new: str, told: str) -> None:
    assert any(told in line for line in problems(write(replaced(old, new)))), problems(
        write(replaced(old, new))
    )


@pytest.mark.parametrize(
    "url", ["http://me:secret@host/v1", "http://me@host/v1", "https://host/v1?key=secret"]
)
def test_no_secret_goes_into_a_recipe(tmp_path: Path, url: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(GOOD)
    with pytest.raises(UserError) as caught:
        load(path, settings=(f"judge={{kind: openai, model: m, base_url: '{url}'}}",))
    assert "judge.base_url: must hold no user, password or query" in str(caught.value)
