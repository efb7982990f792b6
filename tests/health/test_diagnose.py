from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from alignbench.health import RewardModelRecord, TrainingRecord, diagnose, table
from tests.health import logs

ROOT = Path(__file__).parents[2]


def rules(record: TrainingRecord) -> set[str]:
    diagnosis = diagnose(record)
    assert not diagnosis.findings
    return {*diagnosis.healthy, *(found.rule for found in diagnosis.unchecked)}


def test_rules_are_those_of_the_log_s_family() -> None:
    policy, preference = rules(logs.policy()), rules(logs.preference())
    both = {"kl_high", "kl_low", "entropy_collapse", "overoptimised"}
    assert policy & preference == both
    online = dataclasses.replace(logs.policy(), log=[*logs.policy().log, *logs.preference().log])
    assert rules(online) == policy | preference


def test_a_log_that_says_nothing_leaves_everything_unchecked() -> None:
    silent = dataclasses.replace(logs.policy(), log=[{"step": 1, "loss": 0.5}])
    diagnosis = diagnose(silent)
    assert (diagnosis.findings, diagnosis.healthy) == ([], [])
    assert {f.rule for f in diagnosis.unchecked} == rules(logs.policy()) | rules(logs.preference())
    assert all(found.reason for found in diagnosis.unchecked)


def test_a_diagnosis_is_json() -> None:
    falling = logs.policy(reward_raw=(lambda x: 1 - x, 0.1))
    sick = diagnose(dataclasses.replace(falling, metrics={"consumed": {"optimizer_steps": 70}}))
    [finding] = json.loads(json.dumps(dataclasses.asdict(sick), allow_nan=False))["findings"]
    assert finding["rule"] == "reward_falling"


def test_records_are_read_from_a_stage_s_folder(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "reward_raw": 0.5}\n')
    metrics = {"row": "mine", "seed": 3, "method": "ppo", "consumed": {}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    record = TrainingRecord.read(tmp_path, {"kl_coef": 0.1}, {"score_std": 1.0})
    assert (record.row, record.seed, record.method) == ("mine", 3, "ppo")
    assert record.log == [{"step": 1, "reward_raw": 0.5}]
    assert record.key("kl_coef") == "methods.mine.kl_coef (now 0.1)"
    assert record.reward_model == {"score_std": 1.0}
    model = RewardModelRecord.read(tmp_path, "gold", {"epochs": 2})
    assert (model.row, model.metrics["seed"]) == ("reward/gold", 3)
    assert model.key("epochs") == "reward_model.epochs (now 2)"
    assert model.key("beta") is None


def test_the_page_has_the_current_table() -> None:
    assert table() in (ROOT / "docs" / "health.md").read_text(encoding="utf-8")
    assert len({line.split("|")[1] for line in table().splitlines()[2:]}) == 17


def test_importing_it_imports_no_torch() -> None:
    code = "import sys, alignbench.health; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
