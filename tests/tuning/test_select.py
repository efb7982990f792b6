from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignbench.errors import UserError
from alignbench.metering.currencies import COUNTED
from alignbench.tuning.select import (
    best_options,
    read_trials,
    summary,
    tuning_cost,
)

OPTIONS = {"learning_rate": 0.1, "dpo": {"beta": 0.1}, "uses": "p:C"}


def trial(number: int, value: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "row": "ppo",
        "number": number,
        "params": {"learning_rate": number / 10 + 0.1, "dpo.beta": number + 0.5},
        "state": "failed" if value is None else "complete",
        "reason": "diverged: weights are not finite" if value is None else None,
        "metric": "reward_proxy",
        "scorer": "proxy reward model",
        "saw_gold": False,
        "floor": 0.0,
        "value": value,
        "standard_error": None if value is None else 0.1,
        "consumed": {"flops": 100 + number, "prompts": 30 + number, "ai_labels": 2},
        "validation": {"flops": 7, "tokens_generated": 5},
        **changes,
    }


def folders(tmp_path: Path, *values: float | None, **changes: Any) -> list[Path]:
    made = []
    for number, value in enumerate(values):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "trial.json").write_text(json.dumps(trial(number, value, **changes)))
        made.append(folder)
    return made


def test_the_best_trial_decides_and_is_recorded(tmp_path: Path) -> None:
    options, record = best_options(OPTIONS, folders(tmp_path, 4.0, None, 6.5, 5.0))
    assert options == {"learning_rate": pytest.approx(0.3), "dpo": {"beta": 2.5}, "uses": "p:C"}
    assert OPTIONS["dpo"] == {"beta": 0.1}
    assert record == {
        "trials": 4, "failed": 1, "selected": 2,
        "params": {"learning_rate": pytest.approx(0.3), "dpo.beta": 2.5},
        "value": 6.5, "standard_error": 0.1, "metric": "reward_proxy", "saw_gold": False,
    }  # fmt: skip


def test_of_equal_trials_the_earlier_wins(tmp_path: Path) -> None:
    assert best_options(OPTIONS, folders(tmp_path, 4.0, 6.0, 6.0))[1]["selected"] == 1


def test_the_flag_for_having_seen_gold(tmp_path: Path) -> None:
    made = folders(tmp_path, 4.0, 6.0, metric="reward_gold", saw_gold=True)
    assert best_options(OPTIONS, made)[1]["saw_gold"] is True
    assert summary(read_trials(made))["saw_gold"] is True


def test_when_all_failed_the_user_hears_why_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"all 2 trials of ppo.*not finite.*narrow tuning\.search"):
        best_options(OPTIONS, folders(tmp_path, None, None))


def test_other_folders_are_refused(tmp_path: Path) -> None:
    made = folders(tmp_path, 1.0, 2.0)
    with pytest.raises(RuntimeError, match="not the trials of one row"):
        read_trials(made[::-1])
    (made[1] / "trial.json").write_text(json.dumps(trial(1, 2.0, row="dpo")))
    with pytest.raises(RuntimeError, match="not the trials of one row"):
        read_trials(made)


def test_cost_sums_work_and_takes_data_once() -> None:
    cost = tuning_cost([trial(0, 1.0), trial(1, None), trial(2, 3.0)])
    assert cost["trials"] == 3
    assert set(cost["consumed"]) == set(cost["validation"]) == set(COUNTED)
    assert cost["consumed"]["flops"] == 303  # a failed trial is paid for
    assert cost["consumed"]["ai_labels"] == 6
    assert cost["consumed"]["prompts"] == 32
    assert (cost["validation"]["flops"], cost["validation"]["tokens_generated"]) == (21, 15)


def test_summary_counts_a_failure_at_the_floor() -> None:
    found = summary([trial(0, 3.0), trial(1, None), trial(2, 6.0)])
    assert found["running_best"] == [3.0, 3.0, 6.0]
    assert found["expected_best"][0] == pytest.approx(3.0)  # (3 + 0 + 6) / 3
    assert found["trials"][1] == {
        "number": 1, "params": {"learning_rate": 0.2, "dpo.beta": 1.5}, "state": "failed",
        "reason": "diverged: weights are not finite", "value": None, "standard_error": None,
    }  # fmt: skip
    assert found["cost"]["trials"] == 3
