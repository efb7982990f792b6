from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignbench.leaderboard.signals import signals


def stage(folder: Path, lines: list[dict[str, Any]], **consumed: float) -> Path:
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "metrics.json").write_text(json.dumps({"consumed": consumed}))
    return folder


def test_first_mean_and_root_mean_square_by_seed(tmp_path: Path) -> None:
    logs = [
        [{"step": 1, "loss": 3.0, "kl": 0.0}, {"step": 2, "loss": -1.0, "kl": 0.5}],
        [{"step": 1, "loss": 1.0}],
    ]
    folders = {
        f"train/ppo/{seed}": stage(tmp_path / str(seed), log, flops=10.0 * (seed + 1))
        for seed, log in enumerate(logs)
    }
    found = signals(folders, [("sft", 0), ("ppo", 0), ("ppo", 1)])
    assert list(found) == ["ppo"]
    assert found["ppo"] == {
        "seeds": [0, 1],
        "quantities": {
            "kl": {"first": [0.0, None], "mean": [0.25, None], "rms": [0.353553, None]},
            "loss": {"first": [3.0, 1.0], "mean": [1.0, 1.0], "rms": [2.23607, 1.0]},
        },
        "spent": {"flops": [10.0, 20.0]},
    }


def test_counters_extremes_and_what_is_no_number_are_left_out(tmp_path: Path) -> None:
    line = {
        "step": 1,
        "epoch": 0.5,
        "flops": 9,
        "completions_max_length": 40,
        "note": "x",
        "yes": True,
        "huge": 1e300,
        "beyond": 10**400,
    }
    folder = stage(tmp_path / "a", [line, {"step": 2, "train_loss": 0.5}])
    found = signals({"train/ppo/0": folder}, [("ppo", 0)])["ppo"]["quantities"]
    assert set(found) == {"huge", "loss"}
    assert found["huge"]["rms"] == [1e300]
    assert found["loss"]["mean"] == [0.5]


def test_logged_losses_count_and_not_the_trainers_mean(tmp_path: Path) -> None:
    folder = stage(tmp_path / "a", [{"step": 1, "loss": 2.0}, {"step": 1, "train_loss": 7.0}])
    found = signals({"train/ppo/0": folder}, [("ppo", 0)])["ppo"]["quantities"]
    assert found["loss"]["mean"] == [pytest.approx(2.0)]


def test_shared_stages_have_one_seed(tmp_path: Path) -> None:
    folder = stage(tmp_path / "a", [{"step": 1, "loss": 2.0, "eval_loss": 3.0}])
    found = signals({"sft": folder}, [("sft", 0), ("ppo", 0)])
    assert found["sft"]["seeds"] == [0]
    assert set(found["sft"]["quantities"]) == {"loss", "eval_loss"}
