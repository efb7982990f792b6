from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignbench.results.diagnosis import health_record
from alignbench.store import Artifact
from alignbench.terminal.findings import early_findings

FALLING = [
    {"step": i, "reward_raw": 1 - i / 20 + i % 2 / 50, "reward_spread": 1.0, "finished": 0.95}
    for i in range(1, 41)
]
OPTIONS = {"learning_rate": 1e-5, "kl_coef": 0.05}


def trained(
    folder: Path, log: list[dict[str, Any]], tuned: dict[str, Any] | None = None
) -> Artifact:
    folder.mkdir()
    metrics = {"row": "ppo", "seed": 0, "method": "ppo", "consumed": {"optimizer_steps": 40}}
    if tuned is not None:
        metrics["tuned"] = {"params": tuned}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    manifest = {"stage": "train/ppo/0", "config": {"options": OPTIONS}, "inputs": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Artifact(folder, manifest)


def test_they_are_those_of_the_results(tmp_path: Path) -> None:
    made = trained(tmp_path / "train", FALLING)
    found = early_findings("train/ppo/0", made, None)
    assert [finding.rule for finding in found] == ["reward_falling"]
    inputs = {"train/ppo/0": made.folder}
    later = health_record(inputs, {}, {"ppo": OPTIONS}, {"rows": {}})["health"]
    assert [(f.rule, f.level, f.finding, f.remedy) for f in found] == [
        (f["rule"], f["level"], f["finding"], f["remedy"]) for f in later
    ]


def test_the_remedy_names_the_tuned_value(tmp_path: Path) -> None:
    made = trained(tmp_path / "train", FALLING, {"learning_rate": 3e-4})
    (finding,) = early_findings("train/ppo/0", made, None)
    assert "methods.ppo.learning_rate (now 0.0003)" in finding.remedy


def test_a_reward_model_that_guesses(tmp_path: Path) -> None:
    metrics = {"accuracy": 0.41, "valid_pairs": 500, "length_bias": 0.0}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "log.jsonl").write_text("")
    made = Artifact(tmp_path, {"config": {"reward_model": {"epochs": 1}}})
    found = early_findings("reward/proxy", made, None)
    assert any("41.0%" in finding.finding for finding in found)


def test_other_stages_have_none(tmp_path: Path) -> None:
    made = Artifact(tmp_path, {"config": {}})
    assert early_findings("generate/ppo/0", made, None) == ()
    assert early_findings("train/ppo/0", made, None) == ()


def test_a_damaged_log_is_an_error_that_names_it(tmp_path: Path) -> None:
    made = trained(tmp_path / "train", [])
    (made.folder / "log.jsonl").write_text("{")
    with pytest.raises(Exception, match=r"log\.jsonl:1"):
        early_findings("train/ppo/0", made, None)
