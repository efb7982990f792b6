from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignbench.metering.currencies import COUNTED
from alignbench.results.bills import (
    bills_record,
    cheaper,
    order_flips,
    ranks,
    row_needs,
    stage_cost,
)

GRAPH = {
    "data": [],
    "base": ["data"],
    "sft": ["data", "base"],
    "reward/proxy": ["data", "sft"],
    "reward/gold": ["data", "sft"],
    "trial/ppo/0": ["data", "sft", "reward/proxy"],
    "train/ppo/0": ["data", "sft", "reward/proxy", "trial/ppo/0"],
    "train/dpo/0": ["data", "sft"],
    "train/best_of_n/0": ["data", "sft"],
    "generate/best_of_n/0": ["data", "train/best_of_n/0", "reward/proxy"],
    "generate/ppo/0": ["data", "train/ppo/0"],
    "generate/dpo/0": ["data", "train/dpo/0"],
}


def stage(
    root: Path, name: str, times: dict[str, float] | None = None, **consumed: float
) -> tuple[str, Path]:
    folder = root / name
    folder.mkdir(parents=True)
    bill = {**dict.fromkeys(COUNTED, 0), **consumed}
    (folder / "metrics.json").write_text(json.dumps({"consumed": bill, "responses": 4}))
    if times is not None:
        (folder / "cost.json").write_text(json.dumps(times))
    return name, folder


def cost(seconds: float, peak: float) -> dict[str, float]:
    return {
        "wall_seconds": seconds,
        "device_seconds": 2 * seconds,
        "peak_rss_bytes": peak,
        "peak_cuda_bytes": 0,
    }


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """PPO spends less than DPO by itself, and more with the reward model and its trial."""
    return dict(
        [
            stage(tmp_path, "sft", cost(10, 50), flops=100, prompts=7, human_labels=0),
            stage(tmp_path, "reward/proxy", cost(20, 900), flops=60, human_labels=30),
            stage(tmp_path, "trial/ppo/0", cost(5, 10), flops=9, prompts=20),
            stage(tmp_path, "train/ppo/0", cost(4, 100), flops=20, prompts=16),
            stage(tmp_path, "train/ppo/1", cost(6, 200), flops=24, prompts=16),
            stage(tmp_path, "train/dpo/0", cost(8, 300), flops=30, human_labels=32),
            stage(tmp_path, "train/dpo/1", cost(8, 300), flops=30, human_labels=32),
            stage(tmp_path, "generate/dpo/0", flops=40, tokens_generated=8),
            stage(tmp_path, "generate/dpo/1", flops=80, tokens_generated=8),
            stage(tmp_path, "generate/sft/0", flops=20, tokens_generated=4),
        ]
    )


RUNS = [("sft", 0), ("ppo", 0), ("ppo", 1), ("dpo", 0), ("dpo", 1)]
NEEDS = {"ppo": ["reward/proxy", "sft", "trial/ppo/0"], "dpo": ["sft"]}


def test_a_row_needs_all_its_ancestors_but_what_all_start_from() -> None:
    assert row_needs(GRAPH, ["ppo", "dpo", "best_of_n"]) == {
        **NEEDS,
        "best_of_n": ["reward/proxy", "sft"],
    }


def test_shared_stages_are_charged_whole_and_seeds_averaged(inputs: dict[str, Path]) -> None:
    counted, timed = bills_record(inputs, RUNS, NEEDS)
    assert list(counted["rows"]) == ["ppo", "dpo"]
    ppo = counted["rows"]["ppo"]
    assert (ppo["seeds"], ppo["needs"]) == (2, NEEDS["ppo"])
    # Of 20 and 24: standard deviation sqrt(8), over sqrt(2).
    assert ppo["marginal"]["flops"] == {"value": 22.0, "error": pytest.approx(2.0)}
    assert ppo["end_to_end"]["flops"] == {"value": 22.0 + 9 + 60 + 100, "error": pytest.approx(2.0)}
    assert counted["rows"]["dpo"]["end_to_end"]["flops"]["value"] == 130.0
    times = timed["rows"]["ppo"]
    assert times["marginal"]["wall_seconds"]["value"] == 5.0
    assert times["end_to_end"]["wall_seconds"]["value"] == 5.0 + 10 + 20 + 5
    assert times["end_to_end"]["device_seconds"]["value"] == 80.0
    assert times["marginal"]["peak_rss_bytes"]["value"] == 150.0
    assert times["end_to_end"]["peak_rss_bytes"]["value"] == 900  # the most, not the sum


def test_data_read_twice_is_bought_once(inputs: dict[str, Path]) -> None:
    counted, _ = bills_record(inputs, RUNS, {**NEEDS, "dpo": ["sft", "reward/proxy"]})
    rows = counted["rows"]
    # Prompts: the trial read 20 of the pool that the training read 16 of; SFT has its own 7.
    assert rows["ppo"]["end_to_end"]["prompts"]["value"] == 27
    assert rows["ppo"]["end_to_end"]["human_labels"]["value"] == 30
    assert rows["dpo"]["end_to_end"]["human_labels"]["value"] == 32


def test_times_stay_out_of_what_must_be_equal_in_equal_runs(inputs: dict[str, Path]) -> None:
    counted, timed = bills_record(inputs, RUNS, NEEDS)
    (inputs["train/ppo/0"] / "cost.json").write_text(json.dumps(cost(400, 1)))
    again, other = bills_record(inputs, RUNS, NEEDS)
    assert again == counted
    assert other != timed


def test_one_seed_has_no_spread_and_unknown_stays_unknown(inputs: dict[str, Path]) -> None:
    (inputs["sft"] / "cost.json").unlink()
    (inputs["sft"] / "manifest.json").write_text('{"seconds": 11, "peak_rss_bytes": 5}')
    bare = {"consumed": {"flops": 1}}
    (inputs["reward/proxy"] / "metrics.json").write_text(json.dumps(bare))
    counted, timed = bills_record(inputs, RUNS[:2], NEEDS)
    ppo = counted["rows"]["ppo"]
    assert ppo["marginal"]["flops"] == {"value": 20.0, "error": None}
    assert ppo["end_to_end"]["flops"]["value"] == 20 + 9 + 1 + 100
    assert ppo["end_to_end"]["human_labels"]["value"] is None
    assert counted["ranks"]["end_to_end"]["human_labels"] == {"ppo": None}
    assert timed["rows"]["ppo"]["end_to_end"]["wall_seconds"]["value"] == 4 + 11 + 20 + 5
    assert timed["rows"]["ppo"]["end_to_end"]["device_seconds"]["value"] is None


def test_a_trial_costs_its_training_and_its_validation(tmp_path: Path) -> None:
    bill = {**dict.fromkeys(COUNTED, 0), "flops": 7}
    trial = {"consumed": bill, "validation": {**bill, "tokens_generated": 3}}
    (tmp_path / "trial.json").write_text(json.dumps(trial))
    refused = stage_cost(tmp_path)
    assert (refused["flops"], refused["tokens_generated"]) == (14, 3)
    assert refused["device_seconds"] == 0
    (tmp_path / "cost.json").write_text(json.dumps({**cost(5, 11), "validation_seconds": 2}))
    spent = stage_cost(tmp_path)
    assert (spent["wall_seconds"], spent["device_seconds"]) == (7, 12)
    assert spent["peak_rss_bytes"] == 11


def test_the_gold_reward_model_has_labels_of_its_own(inputs: dict[str, Path]) -> None:
    inputs["reward/gold"] = stage(inputs["sft"].parent, "reward/gold", human_labels=30)[1]
    needs = {"ppo": ["reward/gold", "reward/proxy", "sft"]}
    counted, _ = bills_record(inputs, RUNS, needs)
    assert counted["rows"]["ppo"]["end_to_end"]["human_labels"]["value"] == 60


def test_flips_are_named_with_both_bills(inputs: dict[str, Path]) -> None:
    counted, timed = bills_record(inputs, RUNS, NEEDS)
    [flip] = counted["order_flips"]
    assert (flip["currency"], flip["rows"]) == ("flops", ["ppo", "dpo"])
    assert flip["sentence"] == (
        "FLOPs: ppo costs less than dpo by itself (22 against 30) but more with all that it needs "
        "(191 against 130)."
    )
    assert {f["currency"] for f in timed["order_flips"]} == {"wall_seconds", "device_seconds"}
    assert counted["ranks"]["marginal"]["flops"] == {"ppo": 1, "dpo": 2}
    assert counted["ranks"]["end_to_end"]["flops"] == {"ppo": 2, "dpo": 1}


def test_ties_are_no_order() -> None:
    assert not cheaper(0, 0)
    assert not cheaper(99.1, 100)
    assert cheaper(99, 100)
    assert not cheaper(100, 99)
    assert ranks({"a": 100.0, "b": 100.5, "c": 50.0, "d": None}) == {
        "a": 2,
        "b": 2,
        "c": 1,
        "d": None,
    }
    near: dict[str, float | None] = {"a": 100.0, "b": 100.5}
    far: dict[str, float | None] = {"a": 200.0, "b": 100.0}
    assert order_flips("flops", near, far) == []
    assert order_flips("flops", far, near) == []
    assert order_flips("flops", {"a": 1.0, "b": None}, far) == []
    assert [f["rows"] for f in order_flips("flops", {"a": 1.0, "b": 2.0}, far)] == [["a", "b"]]


def test_decoding_is_charged_by_response(inputs: dict[str, Path]) -> None:
    decoding: dict[str, Any] = bills_record(inputs, RUNS, NEEDS)[0]["decoding"]
    assert list(decoding) == ["sft", "dpo"]
    assert decoding["dpo"]["responses"] == 8
    assert decoding["dpo"]["per_response"]["flops"] == (40 / 4 + 80 / 4) / 2
    assert decoding["sft"]["per_response"]["tokens_generated"] == 1
