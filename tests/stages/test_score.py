from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from alignbench.files import read_jsonl, write_jsonl
from alignbench.models.load import load_policy, save_model
from alignbench.models.reward import RewardScorer
from alignbench.models.text import encode_prompt
from alignbench.sandbox import gold
from alignbench.stage import StageContext
from alignbench.stages import score
from tests import tiny

RESPONSES = [
    {"prompt_id": "p0", "prompt": "w1", "family": "facts", "sample": 0}
    | {"response": "good w2", "token_ids": [3, 6, 0], "finished": True},
    {"prompt_id": "p1", "prompt": "w2 w3", "family": "harmful", "sample": 0}
    | {"response": "w3 w4 w5", "token_ids": [7, 8, 9], "finished": False},
    {"prompt_id": "p1", "prompt": "w2 w3", "family": "harmful", "sample": 1}
    | {"response": "", "token_ids": [0], "finished": True},
]


def fake_gold(prompt: str, response: str) -> Any:
    return SimpleNamespace(
        helpful=2.0,
        harmless=3.0,
        honest=4.0,
        overall=7.25 if "good" in response else 1.5,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("inputs")
    sft = tiny.start_folder(root / "sft").parent
    model, tokenizer = load_policy(sft / "model")
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    trained = root / "trained"
    save_model(model, tokenizer, trained / "model")
    proxy = tiny.reward_folder(root / "proxy")
    gold_rm = tiny.reward_folder(root / "gold")
    (gold_rm / "calibration.json").write_text('{"scale": 2.0, "reference": [0.5]}')
    data = root / "data"
    data.mkdir()
    write_jsonl(data / "heldout.jsonl", [{"text": "w1 w2 w3"}, {"text": "w4 w5"}])
    write_jsonl(data / "sft_valid.jsonl", [{"prompt": "w1", "response": "w2 w3"}])
    responses = root / "responses"
    responses.mkdir()
    write_jsonl(responses / "responses.jsonl", RESPONSES)
    return {
        "data": data,
        "responses": responses,
        "model": trained,
        "sft": sft,
        "reward_proxy": proxy,
        "reward_gold": gold_rm,
    }


def run(folders: dict[str, Path], out: Path, kind: str = "sandbox") -> list[dict[str, Any]]:
    out.mkdir()
    config = {"gold": kind, "precision": "fp32"}
    steps: list[tuple[int, int]] = []
    score.run(
        StageContext(
            out, config, folders, lambda done, total, **_: steps.append((done, total)), print
        )
    )
    assert steps[-1] == (score.STEPS, score.STEPS)
    assert steps == sorted(steps)
    return read_jsonl(out / "scores.jsonl")


def test_scores(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gold, "score", fake_gold)
    lines = run(folders, tmp_path / "out")
    assert [(line["prompt_id"], line["sample"]) for line in lines] == [
        ("p0", 0),
        ("p1", 0),
        ("p1", 1),
    ]
    assert [line["length"] for line in lines] == [2, 3, 0]  # EOS is not counted
    assert [line["reward_gold"] for line in lines] == [7.25, 1.5, 1.5]
    assert [line["gold_helpful"] for line in lines] == [2.0] * 3
    assert all(line["kl_from_sft"] > 1e-4 for line in lines)

    scorer = RewardScorer.load(folders["reward_gold"])
    prompts = [encode_prompt(scorer.tokenizer, str(line["prompt"])) for line in RESPONSES]
    raw = [
        scorer.score_ids([prompt], [list(line["token_ids"])])[0]  # type: ignore[call-overload]
        for prompt, line in zip(prompts, RESPONSES, strict=True)
    ]
    assert [line["reward_gold_rm_raw"] for line in lines] == pytest.approx(raw, abs=1e-5)
    # One reference score, so 10 * sigmoid(2 * (r - 0.5)).
    expected = [float(10 * torch.sigmoid(torch.tensor(2 * (r - 0.5)))) for r in raw]
    assert [line["reward_gold_rm"] for line in lines] == pytest.approx(expected, abs=1e-4)
    assert all(0 < line["reward_proxy"] < 10 for line in lines)

    corpus = json.loads((tmp_path / "out" / "corpus.json").read_text())
    assert [d["tokens"] for d in corpus["perplexity"]["documents"]] == [3, 2]
    assert all(d["nll"] > 0 for d in corpus["perplexity"]["documents"])
    # The reference response and its EOS, given the prompt: "w2 w3" is three tokens.
    assert [d["tokens"] for d in corpus["perplexity_reference"]["documents"]] == [3]


def test_kl_of_sft_from_itself_is_computed_as_zero(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gold, "score", fake_gold)
    lines = run({**folders, "model": folders["sft"]}, tmp_path / "out")
    assert [line["kl_from_sft"] for line in lines] == [0.0, 0.0, 0.0]


def test_what_no_model_wrote_has_rewards_and_no_kl(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    given = {name: folder for name, folder in folders.items() if name not in ("model", "sft")}
    lines = run(given, tmp_path / "out", kind="reward_model")
    with_model = run(folders, tmp_path / "with", kind="reward_model")
    assert [line["kl_from_sft"] for line in lines] == [None] * 3
    assert [line["reward_proxy"] for line in lines] == [line["reward_proxy"] for line in with_model]
    assert not (tmp_path / "out" / "corpus.json").exists()


def test_without_a_judge_gold_is_the_gold_reward_model(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    for line in run(folders, tmp_path / "out", kind="reward_model"):
        assert line["reward_gold"] == line["reward_gold_rm"]
        assert "gold_helpful" not in line


def test_out_of_memory_takes_smaller_batches_and_gives_the_same(
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = run(folders, tmp_path / "plain", "reward_model")
    tried: list[int] = []
    original = score.sequence_kl

    def small(*args: Any) -> Any:
        tried.append(args[-1])
        if args[-1] > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return original(*args)

    monkeypatch.setattr(score, "sequence_kl", small)
    found = run(folders, tmp_path / "again", "reward_model")
    assert tried == [64, 32, 16, 8, 4, 2]
    for one, other in zip(found, expected, strict=True):
        assert one["kl_from_sft"] == pytest.approx(other["kl_from_sft"], abs=1e-5)
    assert "substitution out of memory: from here on 2 at a time" in capsys.readouterr().out
