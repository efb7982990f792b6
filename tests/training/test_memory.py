"""Out of memory: half as much at a time, and the same result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from alignbench.models.load import load_policy
from alignbench.recipe.schema import Sft
from alignbench.training.memory import halving, is_out_of_memory, with_half_batch

CUDA = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory")


@pytest.mark.parametrize("error", [CUDA, CPU, MemoryError()])
def test_what_counts_as_out_of_memory(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of memory")])
def test_what_does_not(error: BaseException) -> None:
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("error", [CUDA, CPU])
def test_halving_goes_on_with_less_and_says_so(error: RuntimeError) -> None:
    notes: list[str] = []
    tried: list[int] = []

    def work(batch: int) -> str:
        tried.append(batch)
        if batch > 3:
            raise error
        return f"done by {batch}"

    assert halving(12, lambda kind, text: notes.append(f"{kind}: {text}"), work) == "done by 3"
    assert tried == [12, 6, 3]
    assert notes == [
        "substitution: out of memory: from here on 6 at a time",
        "substitution: out of memory: from here on 3 at a time",
    ]


def test_a_batch_of_one_that_does_not_fit_fails() -> None:
    def work(batch: int) -> None:
        raise CUDA

    with pytest.raises(torch.cuda.OutOfMemoryError):
        halving(2, lambda *_: None, work)


def test_other_errors_pass_at_once() -> None:
    tried: list[int] = []

    def work(batch: int) -> None:
        tried.append(batch)
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        halving(8, lambda *_: None, work)
    assert tried == [8]


def test_the_effective_batch_stays() -> None:
    seen: list[tuple[int, int]] = []
    notes: list[str] = []

    def train(settings: Sft) -> None:
        seen.append((settings.batch_size, settings.gradient_accumulation))
        if settings.batch_size > 2:
            raise CUDA

    settings = Sft(learning_rate=1e-3, batch_size=8, gradient_accumulation=2)
    with_half_batch(settings, lambda _, text: notes.append(text), train)
    assert seen == [(8, 2), (4, 4), (2, 8)]
    assert [note.split(": ")[1] for note in notes] == [
        "begun again with 4 x 4 (the effective batch is the same)",
        "begun again with 2 x 8 (the effective batch is the same)",
    ]


def test_an_odd_micro_batch_cannot_be_halved() -> None:
    def train(settings: Sft) -> None:
        raise CUDA

    with pytest.raises(torch.cuda.OutOfMemoryError):
        with_half_batch(Sft(learning_rate=1e-3, batch_size=1), lambda *_: None, train)


ROLLOUT = {"learning_rate": 1e-3, "prompts_per_rollout": 2, "samples_per_prompt": 2, "rollouts": 2}


@pytest.mark.parametrize(
    ("row", "options", "can"),
    [
        ("dpo", {"learning_rate": 1e-3, "batch_size": 4}, True),
        ("simpo", {"learning_rate": 1e-3, "batch_size": 4}, True),
        ("kto", {"learning_rate": 1e-3, "batch_size": 4}, False),
        ("dpo", {"learning_rate": 1e-3, "batch_size": 3}, False),
        ("grpo", ROLLOUT, True),
        ("grpo", {**ROLLOUT, "loss": "bnpo"}, False),
        ("grpo", {**ROLLOUT, "gradient_accumulation": 4}, False),
        ("reinforce", ROLLOUT, True),
        ("online_dpo", ROLLOUT, True),
        ("ppo", ROLLOUT, False),
    ],
)
def test_only_methods_whose_update_does_not_depend_on_the_micro_batch_halve_it(
    row: str, options: dict[str, Any], can: bool, world: dict[str, Path], tmp_path: Path
) -> None:
    from alignbench.methods.registry import resolve
    from tests.training.small_world import run_method

    half = resolve(row, options).with_half_batch()
    assert (half is not None) == can
    if half is None:
        return
    weights = []
    for n, method in enumerate((options, half.model_dump(exclude_unset=True))):
        out, _ = run_method(tmp_path / f"out{n}", world, row, method)
        weights.append(load_policy(out / "model")[0].state_dict())
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], atol=1e-5), name


class TestStage:
    """A method's stage begins again, from the certified start and with an empty bill."""

    @pytest.mark.parametrize(
        ("row", "options"),
        [
            ("dpo", {"learning_rate": 1e-3, "batch_size": 4}),
            (
                "grpo",
                {
                    "learning_rate": 1e-3,
                    "rollouts": 2,
                    "prompts_per_rollout": 2,
                    "samples_per_prompt": 2,
                },
            ),
        ],
    )
    def test_equal_to_a_run_with_the_smaller_micro_batch(
        self,
        row: str,
        options: dict[str, Any],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        world: dict[str, Path],
    ) -> None:
        from tests.training.small_world import run_method, smaller

        plain, _ = run_method(tmp_path / "plain", world, row, smaller(row, options))
        failed: list[int] = []
        from transformers import Trainer

        step = Trainer.training_step

        def out_of_memory_once(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not failed and self.state.global_step == 1:
                failed.append(1)
                raise CUDA
            return step(self, *args, **kwargs)

        monkeypatch.setattr(Trainer, "training_step", out_of_memory_once)
        again, notes = run_method(tmp_path / "again", world, row, options)
        assert failed
        ours, theirs = (json.loads((f / "metrics.json").read_text()) for f in (again, plain))
        assert (ours.pop("micro_batch_halvings"), theirs.pop("micro_batch_halvings")) == (1, 0)
        assert ours == theirs  # weights and bill
        assert (again / "log.jsonl").read_text() == (plain / "log.jsonl").read_text()
        assert any("out of memory: begun again" in note for note in notes)
