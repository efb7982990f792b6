from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignbench.errors import UserError
from alignbench.models.load import load_policy
from alignbench.models.text import decode_response
from alignbench.stages import generate
from tests import tiny
from tests.stages.tiny_stages import LIMITS, read_lines, run_stage, write_lines

EVALUATION = {"samples_per_prompt": 3, "temperature": 0.8, "top_p": 1.0, "batch_size": 4}
PROMPTS = [
    {"id": f"eval-{i}", "prompt": " ".join(f"w{k}" for k in range(5 - i)), "family": f"f{i % 2}"}
    for i in range(5)
]


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    tiny.start_folder(tmp_path)
    write_lines(tmp_path / "data" / "eval_prompts.jsonl", PROMPTS)
    return {"data": tmp_path / "data", "model": tmp_path / "start"}


def responses(out: Path, inputs: dict[str, Path], **changes: Any) -> list[dict[str, Any]]:
    config = {"evaluation": EVALUATION, "seed": 5, **changes}
    run_stage(generate.run, out, config, inputs)
    return read_lines(out / "responses.jsonl")


def test_every_sample_of_every_prompt_in_order(tmp_path: Path, inputs: dict[str, Path]) -> None:
    lines = responses(tmp_path / "out", inputs)
    assert [(line["prompt_id"], line["sample"]) for line in lines] == [
        (prompt["id"], k) for prompt in PROMPTS for k in range(3)
    ]
    _, tokenizer = load_policy(inputs["model"] / "model")
    for line, prompt in zip(lines, [p for p in PROMPTS for _ in range(3)], strict=True):
        assert (line["prompt"], line["family"]) == (prompt["prompt"], prompt["family"])
        assert line["response"] == decode_response(tokenizer, line["token_ids"])
        assert line["finished"] == (line["token_ids"][-1] == tokenizer.eos_token_id)
        assert line["finished"] or len(line["token_ids"]) == LIMITS["max_response_tokens"]
    assert len({tuple(line["token_ids"]) for line in lines}) > 12


def test_batch_size_changes_nothing_and_the_seed_everything(
    tmp_path: Path, inputs: dict[str, Path]
) -> None:
    first = responses(tmp_path / "a", inputs)
    assert first == responses(tmp_path / "b", inputs, evaluation={**EVALUATION, "batch_size": 64})
    assert first != responses(tmp_path / "c", inputs, seed=6)


def test_too_long_prompts_are_left_out_with_a_warning(
    tmp_path: Path, inputs: dict[str, Path]
) -> None:
    config = {"evaluation": EVALUATION, "seed": 5, "max_prompt_tokens": 4}
    notes = run_stage(generate.run, tmp_path / "out", config, inputs)
    assert notes == [("warning", "eval_prompts: 2 prompts too long, left out")]
    lines = read_lines(tmp_path / "out" / "responses.jsonl")
    assert {line["prompt_id"] for line in lines} == {"eval-2", "eval-3", "eval-4"}
    with pytest.raises(UserError, match="max_prompt_tokens"):
        run_stage(generate.run, tmp_path / "none", {**config, "max_prompt_tokens": 1}, inputs)
