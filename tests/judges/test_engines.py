from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from alignbench import machine
from alignbench.errors import UserError
from alignbench.judges.chat import Chat
from alignbench.judges.engines import TransformersEngine, VllmEngine, choose_engine
from alignbench.judges.labels import Labels, StepLogprobs
from alignbench.models.load import load_policy, load_tokenizer
from tests.judges.model import folder, tokenizer

QUESTIONS = [list(range(1, n)) for n in (3, 70, 9, 64, 65, 130, 30, 129)]


def ratings(model: Path) -> Labels:
    chat = Chat(load_tokenizer(model))
    return Labels([[str(n) for n in range(1, 11)]], chat.continuation)


def asked(model: Path, precision: str, batch_size: int) -> list[StepLogprobs]:
    found = dict(
        TransformersEngine(model, precision, batch_size).logprobs(QUESTIONS, ratings(model))
    )
    return [found[i] for i in range(len(QUESTIONS))]


def flat(found: list[StepLogprobs]) -> torch.Tensor:
    return torch.tensor([[v for values in row.values() for v in values] for row in found])


@torch.inference_mode()
def one_by_one(model: Path, precision: str) -> torch.Tensor:
    """The same without padding, batches or the engine; (8, 9 + 1)."""
    policy, made = load_policy(model, precision)
    one, zero = made.convert_tokens_to_ids(["1", "0"])
    digits = [made.convert_tokens_to_ids(str(n)) for n in range(1, 10)]
    rows = []
    for question in QUESTIONS:
        at_start = policy(torch.tensor([question])).logits[0, -1].float().log_softmax(-1)
        after_one = policy(torch.tensor([[*question, one]])).logits[0, -1].float().log_softmax(-1)
        rows.append(torch.cat([at_start[digits], after_one[[zero]]]))
    return torch.stack(rows)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("side", ["left", "right"])
def test_values_do_not_depend_on_batch_or_padding(
    tmp_path: Path, batch_size: int, side: str
) -> None:
    model = folder(tmp_path, tokenizer(padding_side=side))
    found = flat(asked(model, "fp32", batch_size))
    torch.testing.assert_close(found, one_by_one(model, "fp32"), atol=1e-4, rtol=0)


def test_halves_do_not_depend_on_the_batch_either(tmp_path: Path) -> None:
    model = folder(tmp_path)
    alone, together = (flat(asked(model, "bf16", size)) for size in (1, 8))
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    torch.testing.assert_close(alone, one_by_one(model, "fp32"), atol=0.05, rtol=0)


def test_the_head_works_in_fp32(tmp_path: Path) -> None:
    """Of the values of bf16 logits many are equal; of these none are."""
    found = flat(asked(folder(tmp_path, initializer_range=0.5), "bf16", 8))
    assert len(found.unique()) == found.numel()


def test_a_question_that_fills_the_window(tmp_path: Path) -> None:
    model = folder(tmp_path, n_positions=100)  # no multiple of the width
    engine = TransformersEngine(model, "fp32", 4)
    ((_, found),) = engine.logprobs([list(range(98))], ratings(model))
    assert all(len(values) for values in found.values())


def test_several_paths(tmp_path: Path) -> None:
    model = folder(tmp_path)
    labels = Labels([["yes", "no"]], Chat(load_tokenizer(model)).continuation)  # letter by letter
    assert len(labels.paths) == 2
    found = dict(TransformersEngine(model, "fp32", 4).logprobs(QUESTIONS, labels))
    assert all(set(steps) == set(labels.steps) for steps in found.values())
    assert all(labels.probabilities(steps) is not None for steps in found.values())


def test_auto_says_what_it_came_to(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, str]] = []
    note = lambda kind, message: said.append((kind, message))  # noqa: E731
    monkeypatch.setattr(machine, "cuda", lambda: (False, "there is no CUDA device"))
    assert choose_engine("auto", note) == "transformers"
    assert choose_engine("vllm", note) == "vllm"
    monkeypatch.setattr(machine, "cuda", lambda: (True, "a device"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose_engine("auto", note) == "transformers"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert choose_engine("auto", note) == "vllm"
    assert [kind for kind, _ in said] == ["substitution"] * 2
    assert "no CUDA device" in said[0][1]
    assert "pip install 'alignbench[vllm]'" in said[1][1]


def test_without_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    for name in ("VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_NO_USAGE_STATS", "VLLM_CPU_KVCACHE_SPACE"):
        monkeypatch.setenv(name, "1")
    with pytest.raises(UserError, match=r"pip install 'alignbench\[vllm\]'.*vllm-cpu"):
        VllmEngine(tmp_path, "bf16", 4, 100)


def test_an_old_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = types.SimpleNamespace(SamplingParams=object)
    monkeypatch.setitem(sys.modules, "vllm", old)  # type: ignore[arg-type]
    for name in ("VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_NO_USAGE_STATS", "VLLM_CPU_KVCACHE_SPACE"):
        monkeypatch.setenv(name, "1")
    with pytest.raises(UserError, match="upgrade vllm"):
        VllmEngine(tmp_path, "bf16", 4, 100)


VLLM_CHECK = """
import json, sys
from alignbench.judges.base import Answer, Pair
from alignbench.judges.local import LocalModelJudge
from alignbench.recipe.schema import LocalJudge

PROMPT = "How can I learn Python?"
TEXTS = ["Read the tutorial, then write small programs every day.", "You can read a book.",
         "I don't know.", "blue of the the seven lamp"]

def main(model, engine, precision):
    judge = LocalModelJudge(LocalJudge(kind="local", model=model, engine=engine,
                                       precision=precision, batch_size=4, max_tokens=600))
    answers = [Answer(PROMPT, text) for text in TEXTS]
    pairs = [Pair(PROMPT, a, b) for a in TEXTS for b in TEXTS if a != b]
    print("FOUND " + json.dumps({
        "ratings": [reply.value for reply in judge.rate(answers, "helpful")],
        "soft": [reply.soft for reply in judge.compare(pairs) + judge.refusals(answers)],
        "tokens": [reply.prompt_tokens for reply in judge.rate(answers, "helpful")],
    }))

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "rating", "soft"), [("bf16", 0.3, 0.05), ("fp32", 0.01, 0.002)]
)
def test_vllm_agrees_with_transformers(
    tmp_path: Path, precision: str, rating: float, soft: float
) -> None:
    python, model = (
        os.environ.get(f"ALIGNBENCH_{name}") for name in ("VLLM_PYTHON", "SMOLLM2")
    )  # fmt: skip
    if not python or not model:
        pytest.skip("ALIGNBENCH_VLLM_PYTHON or ALIGNBENCH_SMOLLM2 is not set")
    script = tmp_path / "check.py"
    script.write_text(VLLM_CHECK)
    found = {}
    for engine in ("transformers", "vllm"):
        done = subprocess.run(
            [python, str(script), model, engine, precision],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        line = next(x for x in done.stdout.splitlines() if x.startswith("FOUND "))
        found[engine] = json.loads(line.removeprefix("FOUND "))
    one, other = found["transformers"], found["vllm"]
    print(found)
    assert one["tokens"] == other["tokens"]
    assert one["ratings"] == pytest.approx(other["ratings"], abs=rating)
    assert one["soft"] == pytest.approx(other["soft"], abs=soft)
