from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from alignbench.errors import UserError
from alignbench.models.decode import Decoding, sample
from alignbench.models.load import load_policy, weights_digest
from alignbench.models.logprobs import token_logprobs
from alignbench.models.text import encode_prompt, encode_response
from alignbench.stages import sft
from tests import tiny
from tests.stages.tiny_stages import LIMITS, files, metrics, read_lines, run_stage, write_lines

SETTINGS = {
    "learning_rate": 1e-2,
    "epochs": 3,
    "batch_size": 8,
    "gradient_accumulation": 2,
    "warmup_fraction": 0.1,
    "patience": 2,
    "evaluations_per_epoch": 2,
    "seed": 0,
}


def rows(n: int, answer: str = "w{0} good", start: int = 0) -> list[dict[str, str]]:
    """To "w3" the answer is "w3 good"."""
    numbers = [(start + i) % 15 for i in range(n)]
    return [{"prompt": f"w{k}", "response": answer.format(k)} for k in numbers]


def folders(root: Path, train: Any, valid: Any) -> dict[str, Path]:
    tiny.start_folder(root)
    write_lines(root / "data" / "sft.jsonl", train)
    write_lines(root / "data" / "sft_valid.jsonl", valid)
    return {"data": root / "data", "base": root / "start"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sft")
    inputs = folders(root, rows(160), rows(30, start=3))
    assert run_stage(sft.run, root / "out", {"sft": SETTINGS}, inputs) == []
    return root


def test_output_is_complete_and_holds_nothing_else(trained: Path) -> None:
    assert files(trained / "out") == {"model/", "log.jsonl", "metrics.json", "cost.json"}
    model, _ = load_policy(trained / "out" / "model")
    assert metrics(trained / "out")["weights_digest"] == weights_digest(model)
    assert model.config.use_cache


def test_the_trained_model_ends_its_answers_and_the_base_does_not(trained: Path) -> None:
    def finished(folder: Path) -> float:
        model, tokenizer = load_policy(folder)
        prompts = [encode_prompt(tokenizer, f"w{k}") for k in range(15)] * 10
        done = sample(model, tokenizer, prompts, Decoding(8, 1.0), 0, 150)
        return sum(d.finished and len(d.ids) == 3 for d in done) / len(done)

    assert finished(trained / "out" / "model") > 0.9
    assert finished(trained / "start" / "model") < 0.2


def test_log_has_both_curves_and_they_fall(trained: Path) -> None:
    log = read_lines(trained / "out" / "log.jsonl")
    for key in ("loss", "eval_loss"):
        curve = [line[key] for line in log if key in line]
        assert len(curve) >= 5
        assert curve[-1] < 0.5 * curve[0]
    assert not any("runtime" in key or "per_second" in key for line in log for key in line)


def test_valid_loss_is_that_of_response_tokens_alone(trained: Path) -> None:
    model, tokenizer = load_policy(trained / "out" / "model")
    valid = rows(30, start=3)
    logprobs = token_logprobs(
        model,
        [encode_prompt(tokenizer, r["prompt"]) for r in valid],
        [encode_response(tokenizer, r["response"]) for r in valid],
        8,
    )
    # All responses have three tokens, EOS included, so the mean over batches is that over tokens
    # but for the last batch of 6, which counts as 6.
    expected = -float(torch.cat(logprobs).mean())
    assert metrics(trained / "out")["best_valid_loss"] == pytest.approx(expected, rel=1e-4)


def test_labels_ignore_the_prompt_and_keep_eos() -> None:
    tokenizer = tiny.tokenizer()
    assert sft.example(tokenizer, "w1 w2", "good w3", 8) == {
        "input_ids": [5, 6, 2, 3, 7, 0],
        "labels": [-100, -100, -100, 3, 7, 0],
    }


def test_a_cut_response_does_not_teach_to_end_there() -> None:
    cut = sft.example(tiny.tokenizer(), "w1", "good good good", 2)
    assert cut == {"input_ids": [5, 2, 3, 3], "labels": [-100, -100, 3, 3]}


def test_same_seed_same_weights_and_nothing_outside_the_output(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = {"data": trained / "data", "base": trained / "start"}
    run_stage(sft.run, trained / "again", {"sft": SETTINGS}, inputs)
    run_stage(sft.run, trained / "other", {"sft": {**SETTINGS, "seed": 1}}, inputs)
    digests = [metrics(trained / n)["weights_digest"] for n in ("out", "again", "other")]
    assert digests[0] == digests[1] != digests[2]
    for name in ("log.jsonl", "metrics.json"):
        assert (trained / "out" / name).read_bytes() == (trained / "again" / name).read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_stops_when_validation_gets_worse_and_restores_the_best(tmp_path: Path) -> None:
    # Validation wants another answer, so that learning the training answers raises its loss.
    inputs = folders(tmp_path, rows(160), rows(30, "w0 w0 w0"))
    settings = {**SETTINGS, "epochs": 10}
    run_stage(sft.run, tmp_path / "out", {"sft": settings}, inputs)
    found = metrics(tmp_path / "out")
    log = read_lines(tmp_path / "out" / "log.jsonl")
    curve = {line["step"]: line["eval_loss"] for line in log if "eval_loss" in line}
    assert found["stopped_early"]
    assert found["best_step"] < found["steps"] == max(curve)
    assert found["best_valid_loss"] == min(curve.values()) == curve[found["best_step"]]
    model, tokenizer = load_policy(tmp_path / "out" / "model")
    logprobs = token_logprobs(
        model,
        [encode_prompt(tokenizer, f"w{k % 15}") for k in range(30)],
        [encode_response(tokenizer, "w0 w0 w0")] * 30,
        8,
    )
    assert -float(torch.cat(logprobs).mean()) == pytest.approx(found["best_valid_loss"], rel=1e-4)


def test_too_long_prompts_are_left_out_and_counted(tmp_path: Path) -> None:
    long = [{"prompt": " ".join(["w1"] * LIMITS["max_prompt_tokens"]), "response": "good"}] * 2
    inputs = folders(tmp_path, rows(16) + long, rows(4))
    notes = run_stage(sft.run, tmp_path / "out", {"sft": {**SETTINGS, "epochs": 1}}, inputs)
    assert notes == [("warning", "sft: 2 prompts too long, left out")]
    assert metrics(tmp_path / "out")["train_examples"] == 16
    inputs = folders(tmp_path / "none", long, rows(4))
    with pytest.raises(UserError, match="max_prompt_tokens"):
        run_stage(sft.run, tmp_path / "fails", {"sft": SETTINGS}, inputs)
