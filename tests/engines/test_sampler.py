"""The engine that is torch itself: the same answers and the same bill, however much memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from alignbench.engines.opening import fixed_sampler, policy_samplers
from alignbench.engines.sampler import TransformersSampler
from alignbench.metering.meter import Meter
from alignbench.metering.watch import watch
from alignbench.models.decode import Decoding, sample
from alignbench.models.load import load_policy
from tests import tiny
from tests.engines.stage import context

PROMPTS = [[3, 4, 2], [5, 6, 2], [7, 4, 2], [6, 7, 2], [8, 2, 2]]
DECODING = Decoding(6, 1.0)


def small_memory(model: Any, most: int) -> list[int]:
    """Let forwards of more than `most` rows fail after their work; returns the rows of each."""
    rows: list[int] = []

    def fail(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        rows.append(len(kwargs["input_ids"]))
        if rows[-1] > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    model.register_forward_hook(fail, with_kwargs=True)
    return rows


def test_with_less_memory_the_answers_and_the_bill_are_the_same(tmp_path: Path) -> None:
    model, tokenizer = load_policy(tiny.start_folder(tmp_path))
    plain, short, notes = Meter(), Meter(), []
    with watch(plain):
        expected = sample(model, tokenizer, PROMPTS, DECODING, 3, 1)
    rows = small_memory(model, most=1)
    sampler = TransformersSampler(
        model, tokenizer, note=lambda kind, text: notes.append(f"{kind}: {text}")
    )
    with watch(short):
        assert sampler.sample(PROMPTS, DECODING, 3) == expected
    assert rows[:3] == [5, 2, 1]
    assert short.bill() == plain.bill()
    assert notes == [
        "substitution: out of memory: from here on 2 at a time",
        "substitution: out of memory: from here on 1 at a time",
    ]
    rows.clear()
    assert sampler.sample(PROMPTS, DECODING, 3) == expected
    assert set(rows) == {1}  # it has learnt
    assert model.training is False


def test_where_nobody_listens_too_little_memory_is_an_error(tmp_path: Path) -> None:
    model, tokenizer = load_policy(tiny.start_folder(tmp_path))
    small_memory(model, most=1)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        TransformersSampler(model, tokenizer).sample(PROMPTS, DECODING, 3)


def test_rollouts_remember_how_much_there_is(tmp_path: Path) -> None:
    model, tokenizer = load_policy(tiny.start_folder(tmp_path))
    rows, notes = small_memory(model, most=4), []
    ctx = context("transformers", note=lambda *told: notes.append(told))
    with policy_samplers(ctx, tmp_path, "fp32", 20) as sampler:
        for seed in range(3):
            sampler(model, tokenizer).sample(PROMPTS, DECODING, seed)
    assert len(notes) == 1
    assert rows.count(5) == 1


def test_evaluation_without_a_named_engine_is_plain_sampling(tmp_path: Path) -> None:
    folder = tiny.start_folder(tmp_path)
    model, tokenizer = load_policy(folder)
    with fixed_sampler(context("transformers"), folder, tokenizer, 20, 2) as sampler:
        found = sampler.sample(PROMPTS, DECODING, 3)
    assert found == sample(model, tokenizer, PROMPTS, DECODING, 3, 5)
