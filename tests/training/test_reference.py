"""The shared log-probabilities of the reference: as good as a live one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from alignbench.methods.dpo import DPO
from alignbench.methods.ipo import IPO
from alignbench.models.load import load_policy
from alignbench.models.logprobs import token_logprobs
from alignbench.models.text import encode_prompt, encode_response
from alignbench.stages import reference as stage
from alignbench.training.preference import PreferenceTrainer
from alignbench.training.reference import reference_logprobs
from tests import tiny
from tests.stages.tiny_stages import read_lines, run_stage
from tests.training.small_world import run_method


def found(folder: Path, pairs: Any, batch_size: int = 5) -> list[tuple[float, float]]:
    model, tokenizer = load_policy(folder)
    return reference_logprobs(
        model, tokenizer, pairs, tiny.LIMIT, "fp32", batch_size, lambda *_: None
    )


def test_they_are_sums_over_the_responses_tokens(tmp_path: Path) -> None:
    folder, pairs = tiny.start_folder(tmp_path), tiny.pairs(n=12)
    model, tokenizer = load_policy(folder)
    prompts = [encode_prompt(tokenizer, pair.prompt) for pair in pairs]
    both = zip(*found(folder, pairs), strict=True)
    for side, values in zip(("chosen", "rejected"), both, strict=True):
        answers = [encode_response(tokenizer, getattr(p, side))[: tiny.LIMIT] for p in pairs]
        by_hand = [float(v.sum()) for v in token_logprobs(model, prompts, answers, 1)]
        assert values == pytest.approx(by_hand, abs=1e-5)


def test_the_batch_size_does_not_change_them(tmp_path: Path) -> None:
    folder, pairs = tiny.start_folder(tmp_path), tiny.pairs(n=12)
    one, all_at_once = found(folder, pairs, 1), found(folder, pairs, 12)
    assert torch.allclose(torch.tensor(one), torch.tensor(all_at_once), atol=1e-5)


@pytest.mark.parametrize("method", [DPO, IPO], ids=lambda m: m.name)
def test_training_on_them_equals_training_with_a_live_reference(
    method: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = tiny.pairs(n=24)
    options = method(learning_rate=1e-3, batch_size=8)
    live, _, live_meter = tiny.train(tmp_path, options, pairs=pairs)
    known = found(tiny.start_folder(tmp_path), pairs)
    scored = [replace(p, reference=both) for p, both in zip(pairs, known, strict=True)]

    def fail() -> Any:
        raise AssertionError("a reference was loaded")

    shared, offered, meter = tiny.train(tmp_path, options, pairs=scored, reference=fail)
    for one, other in zip(live.model.parameters(), shared.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert offered.facts["reference_digest"] == shared.digest
    assert live_meter.bill()["tokens_scored"] > 0
    assert meter.bill()["tokens_scored"] == 0  # the reference's work is on another bill


def test_stage_scores_what_methods_train_on(world: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "reference"
    run_stage(stage.run, out, {}, {"data": world["data"], "sft": world["sft"]})
    rows = read_lines(out / "logprobs.jsonl")
    assert [row["id"] for row in rows] == [f"p{n}" for n in range(24)]
    record = json.loads((out / "metrics.json").read_text())
    assert record["consumed"]["tokens_scored"] > 0
    assert record["consumed"]["human_labels"] == 0  # which of the two was preferred is not read
    seen: list[Any] = []
    original = PreferenceTrainer._compute_loss

    def spy(self: Any, model: Any, inputs: Any, return_outputs: bool) -> Any:
        seen.append((self.ref_model, inputs["ref_chosen_logps"]))
        return original(self, model, inputs, return_outputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreferenceTrainer, "_compute_loss", spy)
        trained, _ = run_method(
            tmp_path / "dpo", {**world, "reference": out}, "dpo", {"learning_rate": 1e-3}
        )
    assert all(reference is None for reference, _ in seen)
    # It pays for them as if it had computed them, so that equal budgets are equal.
    bill = json.loads((trained / "metrics.json").read_text())["consumed"]
    assert bill["tokens_scored"] == record["consumed"]["tokens_scored"]
    live, _ = run_method(tmp_path / "live", world, "dpo", {"learning_rate": 1e-3})
    theirs = json.loads((live / "metrics.json").read_text())["consumed"]
    assert bill["flops"] == pytest.approx(theirs["flops"], rel=0.05)  # padding differs


def test_log_probabilities_of_another_start_are_refused(
    world: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "reference"
    run_stage(stage.run, out, {}, {"data": world["data"], "sft": world["sft"]})
    record = json.loads((out / "metrics.json").read_text())
    (out / "metrics.json").write_text(json.dumps({**record, "start_digest": "other"}))
    with pytest.raises(RuntimeError, match="another start model"):
        run_method(tmp_path / "dpo", {**world, "reference": out}, "dpo", {"learning_rate": 1e-3})
