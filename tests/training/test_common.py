from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import PrinterCallback, TrainingArguments

from alignbench.errors import UserError
from alignbench.training.common import (
    LogCallback,
    attach,
    json_log,
    trainer_arguments,
    write_json,
)


def test_arguments_are_accepted_and_write_nothing(tmp_path: Path) -> None:
    arguments = TrainingArguments(**trainer_arguments(tmp_path / "scratch", "fp32", seed=7))
    assert (arguments.seed, arguments.data_seed) == (7, 7)
    assert (arguments.bf16, arguments.fp16) == (False, False)
    assert arguments.save_strategy == "no"
    assert arguments.report_to == []
    assert not (tmp_path / "scratch").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_fp16_without_cuda_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="precision=fp32"):
        trainer_arguments(tmp_path, "fp16", 0)


def test_log_lines_are_complete_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with json_log(path) as log:
        log(3, loss=0.5)
        assert json.loads(path.read_text()) == {"step": 3, "loss": 0.5}
        log(4, loss=0.25, b=1)
    assert path.read_text().splitlines()[1] == '{"b": 1, "loss": 0.25, "step": 4}'


def test_json_does_not_depend_on_the_order_of_keys(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"x": 1, "y": 2})
    write_json(tmp_path / "b", {"y": 2, "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_callback_logs_finite_numbers_but_no_times() -> None:
    lines: list[dict[str, Any]] = []
    steps: list[tuple[Any, ...]] = []
    callback = LogCallback(
        lambda step, **values: lines.append({"step": step, **values}),
        lambda done, total, **last: steps.append((done, total, last)),
    )
    state = SimpleNamespace(global_step=5, max_steps=10)
    logs = {
        "loss": 0.5,
        "rewards/margins": 1.0,
        "grad_norm": float("nan"),
        "train_runtime": 3.2,
        "eval_samples_per_second": 9.0,
        "note": "text",
    }
    callback.on_log(None, state, None, logs)
    callback.on_step_end(None, state, None)
    assert lines == [{"step": 5, "loss": 0.5, "rewards_margins": 1.0}]
    assert steps == [(5, 10, {"loss": 0.5})]


def test_attach_silences_the_printer() -> None:
    calls: list[tuple[str, Any]] = []
    trainer = SimpleNamespace(
        remove_callback=lambda c: calls.append(("remove", c)),
        add_callback=lambda c: calls.append(("add", c)),
    )
    callback = LogCallback(print, print)
    attach(trainer, callback)
    assert calls == [("remove", PrinterCallback), ("add", callback)]
