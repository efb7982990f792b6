from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alignbench.compare import check, compare, same
from alignbench.engines.opening import _engine_of
from alignbench.files import read_jsonl, write_jsonl
from alignbench.recipe.schema import Training
from alignbench.results.certificate import (
    FIELDS,
    ROW_FIELDS,
    certificate,
    effective_batch,
    save_certificate,
)
from alignbench.sandbox import gold
from tests.fake_run import FakeRun

DOCUMENT = Path(__file__).parents[2] / "docs/certificate.md"
EFFECTS = {"base": -1.5, "sft": 0.0, "sft_copy": 0.0, "ppo": 1.5, "dpo": 1.0}
PPO = {"prompts_per_rollout": 8, "samples_per_prompt": 4, "learning_rate": 1e-4}


@pytest.fixture
def fake(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path / "stages", EFFECTS, prompts=4)


def metrics_of(fake: FakeRun, kind: str) -> dict[str, Any]:
    return {
        name.removeprefix(f"{kind}/"): json.loads((folder / "metrics.json").read_text())
        for name, folder in fake.inputs.items()
        if name.startswith(f"{kind}/")
    }


RULE = {"name": "the judge", "simulated": True, "identity": {"kind": "sandbox"}, "served": []}


def certified(fake: FakeRun, judged_by: dict[str, Any] = RULE, **recipe: Any) -> dict[str, Any]:
    made = {**fake.config()["recipe"], **recipe}
    trained, reward = metrics_of(fake, "train"), metrics_of(fake, "reward")
    found = certificate(made, fake.inputs, trained, reward, judged_by)
    plain: dict[str, Any] = json.loads(json.dumps(found))  # it must be JSON
    return plain


def record(fake: FakeRun, run: str, metrics: Mapping[str, Any], **manifest: Any) -> None:
    """Add to what a training stage left behind."""
    folder = fake.inputs[f"train/{run}"]
    for name, more in (("metrics.json", metrics), ("manifest.json", manifest)):
        old = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**old, **more}))


def refusals(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    return [line.field for line in compare(check(a), check(b)).refusals]


def apart(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(found.row, found.reason) for found in compare(a, b).apart]


def test_every_field_is_declared_once_and_is_in_the_certificate(fake: FakeRun) -> None:
    made = certified(fake)
    paths = [field.path for field in FIELDS]
    assert len(set(paths)) == len(paths)
    sections = {path.partition(".")[0] for path in paths if "." in path}
    assert made.keys() == {path.partition(".")[0] for path in paths} | {"rows"}
    for section in sections:
        declared = {path.partition(".")[2] for path in paths if path.startswith(f"{section}.")}
        assert made[section].keys() == declared
    record(fake, "ppo/0", {"method": "ppo"}, config={"options": PPO, "labeller": "sandbox"})
    ppo = certified(fake, tuning={"trials": 2, "search": {}})["rows"]["ppo"]
    assert ppo.keys() == {field.path for field in ROW_FIELDS}


def test_every_field_is_documented_with_its_rule_and_reason() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    rules = {"equal": "must agree", "apart": "sets the row apart", "free": "may differ"}
    for field in FIELDS:
        assert f"| `{field.path}` | {rules[field.rule]} | {field.reason} |" in text
    for field in ROW_FIELDS:
        assert f"| `rows.<row>.{field.path}` | {rules[field.rule]} |" in text


def test_a_run_agrees_with_itself_in_everything(fake: FakeRun) -> None:
    found = compare(check(certified(fake)), check(certified(fake)))
    assert {line.status for line in found.lines} == {"agrees"}
    assert (found.prompts, found.apart, found.refusals) == ([], [], [])


def test_prompts_are_listed_in_order_with_the_digest_of_their_text(
    fake: FakeRun, tmp_path: Path
) -> None:
    made = certified(fake)
    assert [prompt["id"] for prompt in made["eval_prompts"]] == ["p0", "p1", "p2", "p3"]
    digest = hashlib.sha256(b"Question 2?").hexdigest()
    assert made["eval_prompts"][2]["sha256"] == digest
    long = "\ud800" + "long " * 100  # half a surrogate pair, as JSON can hold
    path = fake.inputs["data"] / "eval_prompts.jsonl"
    path.write_text(path.read_text() + json.dumps({"id": "p4", "prompt": long}) + "\n")
    made = certified(fake)
    save_certificate(made, fake.inputs["data"], tmp_path)
    saved = json.loads((tmp_path / "certificate.json").read_text())
    assert saved["certificate"] == made
    assert saved["eval_prompts"][2] == {"id": "p2", "sha256": digest, "start": "Question 2?"}
    assert saved["eval_prompts"][4]["start"] == long[:80]


def test_a_left_out_prompt_is_one_difference_though_ids_shift(fake: FakeRun) -> None:
    whole = certified(fake)
    path = fake.inputs["data"] / "eval_prompts.jsonl"
    rest = [prompt["prompt"] for prompt in read_jsonl(path)][1:]
    write_jsonl(path, [{"id": f"p{i}", "prompt": text} for i, text in enumerate(rest)])
    [missing] = compare(whole, certified(fake)).prompts
    assert (missing.id, missing.b) == ("p0", None)
    [extra] = compare(certified(fake), whole).prompts
    assert (extra.id, extra.a) == ("p0", None)


def test_other_data_model_or_judge_is_refused(fake: FakeRun, tmp_path: Path) -> None:
    before = certified(fake)
    (fake.inputs["data"] / "train_prompts.jsonl").write_text("{}\n")
    assert refusals(before, certified(fake)) == ["data.train_prompts.jsonl"]
    (fake.inputs["data"] / "pairs_gold.jsonl").write_text("{}\n")
    assert "data.pairs_gold.jsonl" in refusals(before, certified(fake))
    other = FakeRun(tmp_path / "other", EFFECTS, prompts=4)
    (other.inputs["reward/gold"] / "metrics.json").write_text('{"weights_digest": "new"}')
    (other.inputs["base"] / "metrics.json").write_text('{"weights_digest": "new"}')
    (other.inputs["sft"] / "model/chat_template.jinja").write_text("{{ x }}")
    (other.inputs["sft"] / "model/tokenizer.json").write_text("{}")
    named = ["base_weights", "tokenizer", "chat_template", "reward_models.gold"]
    assert refusals(before, certified(other)) == named
    (other.inputs["reward/gold"] / "metrics.json").write_text("{}")
    assert refusals(before, certified(other)) == named  # unknown is no agreement


def test_recipe_settings(fake: FakeRun) -> None:
    before = certified(fake)
    assert refusals(before, certified(fake, precision="bf16")) == ["precision"]
    assert refusals(before, certified(fake, profile="gpu")) == ["profile"]
    assert refusals(before, certified(fake, engine="vllm")) == ["engine"]
    whole = {"lora": None, "gradient_checkpointing": False}
    assert refusals(before, certified(fake, training=whole)) == []
    checkpointed = certified(fake, training={**whole, "gradient_checkpointing": True})
    assert refusals(before, checkpointed) == ["training.gradient_checkpointing"]
    sixteen, four = (certified(fake, training={**whole, "lora": {"rank": r}}) for r in (16, 4))
    assert refusals(before, sixteen) == refusals(sixteen, four) == ["training.lora"]
    assert refusals(before, certified(fake, max_response_tokens=8)) == [
        "decoding.max_response_tokens"
    ]
    evaluation = fake.config()["recipe"]["evaluation"]
    harmless = {"seed": 7, "resamples": 9}
    assert refusals(before, certified(fake, evaluation={**evaluation, **harmless})) == []
    other = {"top_p": 0.9, "diversity_samples": 5, "confidence": 0.9}
    assert refusals(before, certified(fake, evaluation={**evaluation, **other})) == [
        "decoding.top_p", "statistics.confidence", "statistics.diversity_samples",
    ]  # fmt: skip
    trials = {"tuning": {"trials": 4, "budget": None, "search": {"ppo": {"clip": [0.1, 0.2]}}}}
    four, eight = certified(fake, **trials), certified(fake, tuning={"trials": 8, "search": {}})
    assert refusals(before, four) == ["tuning.trials"]
    assert refusals(four, eight) == ["tuning.trials"]
    searched = {**trials["tuning"], "search": {}}
    assert refusals(four, certified(fake, tuning=searched)) == []


def test_what_an_older_alignbench_did_not_certify_is_unknown(fake: FakeRun) -> None:
    now = certified(fake)
    old = {key: value for key, value in now.items() if key not in ("training", "engine")}
    lines = compare(check(old), check(now)).refusals
    assert [(line.field, line.status, line.unknown_in) for line in lines] == [
        ("training", "unknown", "A"),
        ("engine", "unknown", "A"),
    ]


def test_the_defaults_are_those_of_recipe_and_stages(fake: FakeRun) -> None:
    assert certified(fake)["training"] == Training().model_dump(mode="json")
    assert certified(fake)["engine"] == _engine_of({})


def test_budgets_are_shared_or_a_rows_own(fake: FakeRun) -> None:
    free = certified(fake)
    assert free["budget"] is None
    shared = certified(fake, budget={"flops": 1e12, "ai_labels": None})
    assert shared["budget"] == {"flops": 1e12}
    assert refusals(free, shared) == ["budget.flops"]
    both = certified(fake, budget={"flops": 1e12, "ai_labels": 5})
    assert refusals(shared, both) == ["budget.ai_labels"]
    methods = {**fake.config()["recipe"]["methods"], "dpo": {"budget": {"flops": 2e12}}}
    own = certified(fake, budget={"flops": 1e12}, methods=methods)
    assert refusals(shared, own) == []
    assert apart(shared, own) == [
        ("dpo", "has a budget of its own in B: flops 2e+12"),
        ("dpo", "another budget of its own: none in A, flops 2e+12 in B"),
    ]


def test_a_time_limit_certifies_the_machine(fake: FakeRun) -> None:
    assert certified(fake)["machine"] is None
    hour = {"budget": {"wall_hours": 1.0}}
    assert "machine" not in certified(fake, **hour)  # the stages did not record it
    assert refusals(certified(fake, **hour), certified(fake, **hour)) == ["machine"]

    def trained_on(cores: int) -> dict[str, Any]:
        for run in metrics_of(fake, "train"):
            record(fake, run, {}, environment={"platform": "Linux", "cpu_count": cores})
        return certified(fake, **hour)

    two = trained_on(2)
    assert two["machine"] == "Linux, 2 cores, unknown"
    assert refusals(two, two) == []
    assert refusals(two, trained_on(64)) == ["machine"]


def test_rows_tell_what_they_were_trained_with(fake: FakeRun) -> None:
    before = certified(fake)
    assert before["rows"]["ppo"] == {"method": "ppo", "budget": None, "decoder": None}
    record(fake, "ppo/0", {"method": "ppo"}, config={"options": PPO})
    ppo = certified(fake)["rows"]["ppo"]
    assert ppo["options"] == PPO
    assert (ppo["method"], ppo["effective_batch"], ppo["labeller"]) == ("ppo", 32, None)
    plain = certified(fake)
    record(fake, "ppo/0", {"tuned": {"params": {"prompts_per_rollout": 2}}})
    tuning = {"tuning": {"trials": 2, "search": {}}}
    rows = certified(fake, **tuning)["rows"]
    assert (rows["ppo"]["effective_batch"], rows["ppo"]["tuned"]) == (8, True)
    assert rows["dpo"]["tuned"] is False
    tuned = certified(fake, **tuning)
    assert ("dpo", "is not tuned in A, where others are") in apart(tuned, tuned)
    # Another class or labeller under one name; a labeller that was not recorded says nothing.
    record(fake, "ppo/0", {"method": "mine"}, config={"options": PPO, "labeller": "sandbox"})
    (fake.inputs["train/ppo/0"] / "decoder.json").write_text('{"kind": "best_of_n", "n": 8}')
    assert apart(plain, certified(fake)) == [
        ("ppo", "another method under the same name: ppo in A, mine in B"),
        ("ppo", "labels of another labeller: none in A, sandbox in B"),
        ("ppo", "answers drawn in another way: none in A, kind best_of_n, n 8 in B"),
    ]
    assert apart(before, plain) == []


@pytest.mark.parametrize(
    ("options", "batch"),
    [
        (PPO, 32),
        ({"batch_size": 16, "gradient_accumulation": 3}, 48),
        ({"then": "dpo", "dpo": {"batch_size": 4, "gradient_accumulation": 1}, "ppo": PPO}, 4),
        ({"then": "ppo", "ppo": None, "samples_per_prompt": 4}, None),
        ({"learning_rate": 1.0}, None),
        ({}, None),
    ],
)
def test_effective_batch(options: dict[str, Any], batch: int | None) -> None:
    assert effective_batch(options) == batch


def test_a_judge_that_changed_is_found_out(fake: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    assert certified(fake)["judge_ratings"] is None  # no answers to try it on
    path = fake.inputs["data"] / "sft_valid.jsonl"
    write_jsonl(path, [{"prompt": "Q?", "response": f"R{i}"} for i in range(100)])
    strict = False
    asked = []

    def score(prompt: str, response: str) -> SimpleNamespace:
        asked.append(response)
        mark = 3.0 if strict and response == "R7" else 4.0
        return SimpleNamespace(helpful=mark, harmless=5.0, honest=6.0)

    monkeypatch.setattr(gold, "score", score)
    before = certified(fake)
    assert sorted(set(asked)) == sorted(f"R{i}" for i in range(64))
    assert refusals(before, certified(fake)) == []
    strict = True
    assert refusals(before, certified(fake)) == ["judge_ratings"]
    nobody = {"name": "no judge", "simulated": False, "identity": {"kind": "none"}, "served": []}
    assert certified(fake, nobody)["judge_ratings"] is None


def test_a_model_that_judges_is_known_by_all_that_decides_its_answers(fake: FakeRun) -> None:
    def judge(weights: str, served: str = "v1") -> dict[str, Any]:
        identity = {"kind": "local", "weights": weights}
        return {"name": "m", "simulated": False, "identity": identity, "served": [served]}

    section = {"kind": "local", "prompts": 20, "samples": 1}
    before = certified(fake, judge("a"), judge=section)
    assert refusals(before, certified(fake, judge("b"), judge=section)) == ["judge_ratings"]
    updated = certified(fake, judge("a", "v2"), judge=section)
    assert refusals(before, updated) == ["judge_served"]
    fewer = certified(fake, judge("a"), judge={**section, "prompts": 10})
    assert refusals(before, fewer) == ["judge_asked.prompts"]


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1, 1.0, True),
        (True, 1, False),
        (False, False, True),
        (None, 0, False),
        ({"x": [1, {}]}, {"x": [1.0, {}]}, True),
        ({"x": True}, {"x": 1}, False),
        ([1], [1, 2], False),
        ({"x": 1}, {"x": 1, "y": None}, False),
    ],
)
def test_equality_of_json_values(a: Any, b: Any, equal: bool) -> None:
    assert same(a, b) is equal
    assert same(b, a) is equal
