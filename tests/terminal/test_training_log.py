from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignbench.terminal.snapshot import Spent
from alignbench.terminal.training_log import TAIL, last_values, shown, spent, spent_at_end


def log(folder: Path, *lines: dict[str, Any], more: str = "") -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "log.jsonl").write_text(text + more)


def test_the_last_value_of_each_quantity(tmp_path: Path) -> None:
    assert last_values(tmp_path) == {}
    log(tmp_path, {"step": 1, "loss": 0.7, "eval_loss": 0.9}, {"step": 2, "loss": 0.6})
    assert last_values(tmp_path) == {"step": 2, "loss": 0.6, "eval_loss": 0.9}


def test_half_a_line_is_not_read_yet(tmp_path: Path) -> None:
    log(tmp_path, {"loss": 0.7}, more='{"loss": 0.1}')
    assert last_values(tmp_path) == {"loss": 0.7}


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log(tmp_path, {"once": 1}, *({"loss": i / 10, "pad": "x" * 100} for i in range(1000)))
    assert (tmp_path / "log.jsonl").stat().st_size > 2 * TAIL
    assert last_values(tmp_path) == {"loss": 99.9}


def test_a_hostile_log_does_no_harm(tmp_path: Path) -> None:
    bad = [
        "[1]",
        '"x"',
        "[" * 20_000,
        '{"loss": Infinity, "accuracy": true, "reward_raw": "high"}',
        f'{{"margin": 1{"0" * 400}}}',
        '{"loss": 0.5}',
    ]
    (tmp_path / "log.jsonl").write_bytes("\n".join(bad).encode() + b"\n\xff\xfe\n")
    assert last_values(tmp_path) == {"loss": 0.5}


def test_short_names_in_a_fixed_order() -> None:
    values = {"sequence_kl": 0.4, "rewards_accuracies": 0.6, "accuracy": 0.9, "loss": 1, "x": 2}
    assert list(shown(values).items()) == [("loss", 1.0), ("KL", 0.4), ("accuracy", 0.6)]


@pytest.mark.parametrize(
    ("values", "budget", "found"),
    [
        ({"spent_fraction": 0.46}, {"flops": 4e13}, Spent(share=0.46, currency="flops")),
        ({"spent_fraction": 0.2}, {"wall_hours": 1.0}, Spent(share=0.2, currency="wall_seconds")),
        # A limit on data ends nothing.
        (
            {"spent_fraction": 0.5},
            {"prompts": 9, "optimizer_steps": 40},
            Spent(share=0.5, currency="optimizer_steps"),
        ),
        (
            {"spent_fraction": 0.5, "step": 20, "flops": 1e13},
            {"optimizer_steps": 40, "flops": 4e13},
            Spent(share=0.5, currency="optimizer_steps"),
        ),
        ({"spent_fraction": 0.5}, {"tokens_trained": 9, "tokens_scored": 7}, Spent(share=0.5)),
        ({"spent_fraction": -1}, {"flops": 1}, None),
        ({"spent_fraction": 1e200}, {"flops": 1}, None),
        ({}, {"flops": 4e13}, None),
    ],
)
def test_the_budget_spent(values: Any, budget: Any, found: Spent | None) -> None:
    assert spent(values, {"budget": budget}) == found


def test_without_a_budget_nothing_is_spent_of_it(tmp_path: Path) -> None:
    assert spent({"spent_fraction": 0.0}, {"budget": None}) == Spent(share=0)
    metrics = {"budget": {"limits": {}}, "spent_fraction": 0.0, "ended": {"by": "method"}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert spent_at_end(tmp_path) is None


def test_what_ended_a_method(tmp_path: Path) -> None:
    assert spent_at_end(tmp_path) is None
    metrics: dict[str, Any] = {
        "budget": {"limits": {"flops": 4e13}},
        "spent_fraction": 1.05,
        "ended": {"by": "budget", "currency": "flops", "reason": None},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert spent_at_end(tmp_path) == Spent(share=1.05, currency="flops")
    (tmp_path / "metrics.json").write_text(json.dumps({**metrics, "spent_fraction": "all"}))
    assert spent_at_end(tmp_path) is None
