"""One trial: proposed from the earlier ones, trained, scored on validation prompts, recorded."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pytest
import torch

from alignbench.errors import UserError
from alignbench.metering.meter import Meter
from alignbench.methods.base import Inputs, Method, Need, Policy
from alignbench.models.decode import Decoding, sample
from alignbench.models.load import load_policy, weights_digest
from alignbench.models.reward import RewardScorer
from alignbench.models.text import decode_response, encode_prompt
from alignbench.sandbox import gold
from alignbench.stages import method as method_stage
from alignbench.stages import trial as stage
from alignbench.tuning.space import parse
from alignbench.tuning.study import Tried, propose
from tests import tiny
from tests.stages.tiny_stages import Notes, files, read_lines, run_stage, write_lines

SEARCH: dict[str, Any] = {"shift": {"low": 0.0, "high": 2.0}}
PROMPTS = ["w1", "w2 w3", "w4", "w5 w6", "w7"]


def towards_good(model: Any, shift: float) -> None:
    model.transformer.ln_f.bias.add_(100 * shift * model.transformer.wte.weight[tiny.GOOD])


class Shifter(Method):
    """Shifter: some small steps and a shift towards the word "good"; or a disaster."""

    name: ClassVar[str] = "shifter"
    needs: ClassVar[frozenset[Need]] = frozenset()

    shift: float = 0.5
    steps: int = 3
    end: Literal["well", "nan", "error after nan", "floating point error", "bug"] = "well"
    best_of: int = 0
    batch: int = 1

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        if self.batch > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        ids = torch.tensor([[3, 4, 5, 6]])
        optimizer = torch.optim.SGD(policy.model.parameters(), lr=1e-4)
        for step in range(self.steps):
            policy.model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            inputs.log(step, loss=0.5)
        with torch.no_grad():
            towards_good(policy.model, self.shift)
            if "nan" in self.end:
                policy.model.transformer.ln_f.bias[0] = float("nan")
        if self.end == "floating point error":
            raise FloatingPointError("loss is inf")
        if "error" in self.end or self.end == "bug":
            raise RuntimeError("what went wrong")

    def with_half_batch(self) -> Self | None:
        half = self.batch // 2
        return self.model_copy(update={"batch": half}) if half else None

    def decoder(self) -> Mapping[str, Any] | None:
        return {"best_of": self.best_of} if self.best_of else None


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    sft = tiny.start_folder(tmp_path).parent
    digest = weights_digest(load_policy(sft / "model")[0])
    (sft / "metrics.json").write_text(json.dumps({"weights_digest": digest}))
    rows = [{"id": f"valid-{i}", "prompt": p, "family": "x"} for i, p in enumerate(PROMPTS)]
    write_lines(tmp_path / "data" / "valid_prompts.jsonl", rows)
    return {"sft": sft, "data": tmp_path / "data", "scorer": tiny.reward_folder(tmp_path)}


def config(number: int = 0, **changes: Any) -> dict[str, Any]:
    options = {name: changes.pop(name) for name in list(changes) if name in Shifter.model_fields}
    defaults = {"shift": 0.5, "steps": 3, "end": "well", "best_of": 0, "batch": 1}
    return {
        "row": "shifter_row",
        "options": {**defaults, **options, "uses": "tests.stages.test_trial:Shifter"},
        "seed": 77,
        "labeller": None,
        "budget": None,
        "snapshots": [],
        "number": number,
        "search": SEARCH,
        "search_seed": 0,
        "metric": "reward_proxy",
        "judge": None,
        "evaluation": {"samples_per_prompt": 2, "temperature": 0.8, "top_p": 0.9, "batch_size": 4},
        "sampling_seed": 5,
        **changes,
    }


def run(
    folders: dict[str, Path], tmp_path: Path, number: int = 0, **changes: Any
) -> tuple[dict[str, Any], Path, Notes]:
    """Run trial `number` after those that are in `tmp_path` already."""
    out = tmp_path / f"trial{number}"
    earlier = {f"trial_{k}": tmp_path / f"trial{k}" for k in range(number)}
    notes = run_stage(stage.run, out, config(number, **changes), {**folders, **earlier})
    return json.loads((out / "trial.json").read_text()), out, notes


def answers(folders: dict[str, Path], shift: float, prompts: list[str]) -> Any:
    """The completions of what `Shifter(shift, steps=0)` trains, two a prompt."""
    model, tokenizer = load_policy(folders["sft"] / "model")
    with torch.no_grad():
        towards_good(model, shift)
    ids = [encode_prompt(tokenizer, prompt) for prompt in prompts for _ in range(2)]
    return tokenizer, ids, sample(model, tokenizer, ids, Decoding(8, 0.8, 0.9), 5, 4)


def test_the_first_trial_scores_the_recipes_own_values(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    trial, out, notes = run(folders, tmp_path, steps=0)
    assert (trial["params"], trial["state"], trial["reason"]) == ({"shift": 0.5}, "complete", None)
    _, ids, completions = answers(folders, 0.5, PROMPTS)
    scorer = RewardScorer.load(folders["scorer"])
    scores = scorer.calibrated(scorer.score_ids(ids, [c.ids for c in completions]))
    means = [statistics.fmean(scores[i : i + 2]) for i in range(0, 10, 2)]
    assert trial["value"] == pytest.approx(statistics.fmean(means), abs=1e-5)
    assert trial["standard_error"] == pytest.approx(statistics.stdev(means) / 5**0.5, abs=1e-5)
    assert (trial["prompts"], trial["samples_per_prompt"]) == (5, 2)
    assert (trial["metric"], trial["scorer"]) == ("reward_proxy", "proxy reward model")
    assert trial["saw_gold"] is False
    # The answers' cost is apart from the training's.
    assert trial["validation"]["tokens_generated"] == sum(len(c.ids) for c in completions)
    assert trial["consumed"]["tokens_generated"] == 0
    assert files(out) == {"trial.json", "log.jsonl", "cost.json"}  # and no weights
    assert json.loads((out / "cost.json").read_text())["validation_seconds"] > 0
    assert notes == []


def test_training_is_on_the_bill_and_within_the_budget(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    trial, out, _ = run(folders, tmp_path)
    assert trial["consumed"]["optimizer_steps"] == 3
    assert trial["consumed"]["flops"] > 0
    assert trial["seed"] == 77
    assert len(read_lines(out / "log.jsonl")) == 3
    trial, _, _ = run(folders, tmp_path / "budget", budget={"optimizer_steps": 2})
    assert trial["consumed"]["optimizer_steps"] == 2
    assert trial["ended"]["by"] == "budget"
    assert trial["state"] == "complete"


def test_later_trials_follow_from_the_earlier_ones(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    tried: list[Tried] = []
    space = {name: parse(written) for name, written in SEARCH.items()}
    for number in range(3):
        trial, _, _ = run(folders, tmp_path, number)
        assert trial["number"] == number
        assert trial["params"] == propose(space, {"shift": 0.5}, tried, 0)
        tried.append(Tried(trial["params"], trial["value"]))
    assert len({trial.params["shift"] for trial in tried}) == 3
    assert len({trial.value for trial in tried}) == 3


def test_equal_trials_make_equal_files(folders: dict[str, Path], tmp_path: Path) -> None:
    outs = [run(folders, tmp_path / name)[1] for name in ("a", "b")]
    for name in ("trial.json", "log.jsonl"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("nan", "diverged: weights are not finite"),
        ("error after nan", "diverged: RuntimeError: what went wrong"),
        ("floating point error", "diverged: FloatingPointError: loss is inf"),
    ],
)
def test_a_divergence_is_a_failed_trial_that_is_paid_for(
    end: str, reason: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    trial, out, notes = run(folders, tmp_path, end=end)
    assert (trial["state"], trial["reason"]) == ("failed", reason)
    assert trial["value"] is None
    assert trial["standard_error"] is None
    assert trial["consumed"]["optimizer_steps"] == 3
    assert set(trial["validation"].values()) == {0}
    assert files(out) == {"trial.json", "log.jsonl", "cost.json"}
    assert ("warning", f"trial 0 of shifter_row: {reason}") in notes
    trial, _, _ = run(folders, tmp_path, 1)  # the search goes on
    assert trial["state"] == "complete"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("well", None),
        ("error after nan", "diverged: RuntimeError: what went wrong"),
        ("floating point error", "diverged: FloatingPointError: loss is inf"),
    ],
)
def test_a_divergence_after_too_little_memory_is_a_failed_trial_too(
    end: str, reason: str | None, folders: dict[str, Path], tmp_path: Path
) -> None:
    trial, _, notes = run(folders, tmp_path, end=end, batch=4)
    assert trial["reason"] == reason
    assert trial["state"] == ("complete" if reason is None else "failed")
    assert [kind for kind, _ in notes].count("substitution") == 2


def test_a_bug_is_no_divergence(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="what went wrong"):
        run(folders, tmp_path, end="bug")


def test_values_that_the_method_refuses_are_a_failed_trial(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    run(folders, tmp_path)
    search = {"end": ["well", "badly"]}  # which the recipe's check would not have let pass
    (tmp_path / "trial0" / "trial.json").write_text(
        json.dumps({"row": "shifter_row", "number": 0, "params": {"end": "well"}, "value": 1.0})
    )
    trial, _, _ = run(folders, tmp_path, 1, search=search)
    assert trial["params"] == {"end": "badly"}
    assert trial["state"] == "failed"
    assert trial["reason"].startswith("refused by the method: ")
    assert set(trial["consumed"].values()) == {0}


def test_a_decoder_of_the_methods_own_is_used(folders: dict[str, Path], tmp_path: Path) -> None:
    """Best of 3 by the very model that scores: better than plain sampling."""
    plain, _, _ = run(folders, tmp_path, steps=0)
    folders["reward"] = folders["scorer"]
    best, _, _ = run(folders, tmp_path / "best", steps=0, best_of=3)
    assert best["value"] > plain["value"]
    assert best["validation"]["tokens_generated"] > 2 * plain["validation"]["tokens_generated"]


def test_gold_in_the_sandbox_is_the_rule(folders: dict[str, Path], tmp_path: Path) -> None:
    from alignbench.sandbox.prompts import catalogue

    prompts = sorted(text for text in catalogue() if len(text.split()) == 5)[:3]
    write_lines(folders["data"] / "valid_prompts.jsonl", [{"prompt": p} for p in prompts])
    del folders["scorer"]
    changes = {"metric": "reward_gold", "judge": "sandbox"}
    trial, _, _ = run(folders, tmp_path, steps=0, **changes)
    tokenizer, _, completions = answers(folders, 0.5, prompts)
    scores = [
        gold.score(prompts[i // 2], decode_response(tokenizer, c.ids)).overall
        for i, c in enumerate(completions)
    ]
    assert trial["value"] == pytest.approx(statistics.fmean(scores))
    assert (trial["scorer"], trial["floor"], trial["saw_gold"]) == ("sandbox rule", 1.0, True)


def test_gold_elsewhere_is_the_gold_reward_model(folders: dict[str, Path], tmp_path: Path) -> None:
    trial, _, _ = run(folders, tmp_path, metric="reward_gold")
    assert (trial["scorer"], trial["floor"]) == ("gold reward model", 0.0)
    assert trial["saw_gold"] is True


def test_too_long_prompts_are_left_out_and_counted(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    long = {"prompt": " ".join(["w1"] * 20)}
    write_lines(folders["data"] / "valid_prompts.jsonl", [{"prompt": "w1"}, long])
    trial, _, notes = run(folders, tmp_path)
    assert (trial["prompts"], trial["standard_error"]) == (1, None)
    assert notes == [("warning", "valid_prompts: 1 prompts too long, left out")]
    write_lines(folders["data"] / "valid_prompts.jsonl", [long])
    with pytest.raises(UserError, match="raise max_prompt_tokens"):
        run(folders, tmp_path / "none")


def test_the_final_training_takes_the_best_trial(folders: dict[str, Path], tmp_path: Path) -> None:
    trials = [run(folders, tmp_path, number)[0] for number in range(3)]
    best = max(trials, key=lambda trial: trial["value"])
    out = tmp_path / "final"
    inputs = {**folders, **{f"trial_{k}": tmp_path / f"trial{k}" for k in range(3)}}
    run_stage(method_stage.run, out, {**config(), "seed": 0}, inputs)
    tuned = json.loads((out / "metrics.json").read_text())["tuned"]
    assert (tuned["selected"], tuned["params"]) == (best["number"], best["params"])
    assert tuned["trials"] == 3
    start, trained = (load_policy(f / "model")[0].transformer for f in (folders["sft"], out))
    good = start.wte.weight[tiny.GOOD]
    shift = ((trained.ln_f.bias - start.ln_f.bias) @ good / (good @ good) / 100).item()
    assert shift == pytest.approx(best["params"]["shift"], abs=1e-2)
