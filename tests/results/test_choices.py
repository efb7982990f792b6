from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignbench.results import load
from alignbench.results.choices import (
    NOBODY,
    all_choices,
    candidates,
    choices_record,
    memory_choice,
)
from alignbench.results.estimates import Estimates
from alignbench.results.observations import Row
from alignbench.results.stability import spread_interval
from alignbench.stages.results import run
from tests.fake_run import FakeRun

Record = dict[str, Any]
METHODS = ["ppo", "dpo", "kto", "orpo"]


def estimates(**gold: float) -> Estimates:
    rows = [
        Row(name, (0,), {"reward_gold": np.array([[value, value + 1]])}, {}, [[(0, "a b")]], [])
        for name, value in gold.items()
    ]
    return Estimates(rows, 50, 0.95, 0)


TABLE = estimates(sft=4.0, ppo=7.0, dpo=6.5, kto=6.0, orpo=4.1)
#: orpo is not better than SFT; kto is worse than the best, ppo; dpo cannot be told from ppo.
TESTS = [
    {"model": "ppo", "metric": "reward_gold", "verdict": "better"},
    {"model": "dpo", "metric": "reward_gold", "verdict": "better"},
    {"model": "kto", "metric": "reward_gold", "verdict": "better"},
    {"model": "orpo", "metric": "reward_gold", "verdict": "not separable"},
    {"model": "orpo", "metric": "win_rate_vs_sft", "verdict": "better"},
]
PAIRS = [
    {"model": "ppo", "other": "dpo", "verdict": "not separable"},
    {"model": "ppo", "other": "kto", "verdict": "better"},
    {"model": "ppo", "other": "orpo", "verdict": "better"},
    {"model": "dpo", "other": "kto", "verdict": "better"},
]


def bills(**amounts: tuple[float | None, ...]) -> Record:
    """End-to-end amounts, each currency those of `METHODS`."""
    return {
        "rows": {
            method: {
                "seeds": 3,
                "end_to_end": {
                    currency: {"value": values[i], "error": 2.0 if values[i] else None}
                    for currency, values in amounts.items()
                },
            }
            for i, method in enumerate(METHODS)
        }
    }


def spread(std: float | None, seeds: int = 3) -> Record:
    found = spread_interval(std, seeds, 0.95) if std else None
    bounds = {"low": found.low, "high": found.high} if found else {"low": None, "high": None}
    return {"seeds": seeds, "std": std, **bounds}


def made(
    asked: list[str],
    labels: tuple[float | None, ...] = (400, 200, 100, 0),
    flops: tuple[float | None, ...] = (2e12, 2e12, 1e12, 1e12),
    stds: tuple[float | None, ...] = (0.1, 0.2, 0.3, 0.4),
    pairs: list[Record] = PAIRS,
    seeds: int = 3,
) -> dict[str, Record]:
    stability = [{"model": m, **spread(s, seeds)} for m, s in zip(METHODS, stds, strict=True)]
    found = choices_record(
        asked, pairs, METHODS, TABLE, bills(human_labels=labels, flops=flops), stability
    )
    return {each["constraint"]: each for each in found}


def test_who_is_asked_about() -> None:
    assert candidates(TESTS, PAIRS, METHODS, TABLE) == ["ppo", "dpo"]
    none = [{**test, "verdict": "not separable"} for test in TESTS]
    assert candidates(none, PAIRS, METHODS, TABLE) == []
    # Said the other way round, it is the same.
    turned = [{"model": "kto", "other": "ppo", "verdict": "worse"}, PAIRS[0]]
    assert candidates(TESTS, turned, METHODS, TABLE) == ["ppo", "dpo"]


def test_the_least_among_those_who_are_asked_about() -> None:
    labels = made(["ppo", "dpo"])["labels"]
    assert labels["answer"] == "dpo"  # kto and orpo need less, but are not as good
    assert labels["sentence"] == (
        "Of ppo and dpo, none separably worse than the best: dpo needs 200 labels (ppo is next "
        "with 400 labels)."
    )
    rows = {row["model"]: row for row in labels["rows"]}
    assert [row["asked"] for row in labels["rows"]] == [True, True, False, False]
    # The error of the mean of three seeds is 2: t with 2 degrees of freedom is 4.30.
    assert rows["ppo"]["low"] == pytest.approx(400 - 2 * 4.3027, abs=1e-3)
    assert (rows["orpo"]["value"], rows["orpo"]["text"]) == (0, "0 labels")
    assert (rows["orpo"]["low"], rows["orpo"]["high"]) == (None, None)


@pytest.mark.parametrize(("second", "answer"), [(1.98e12, "dpo"), (1.981e12, None)])
def test_less_than_a_percent_apart_is_a_tie(second: float, answer: str | None) -> None:
    compute = made(["ppo", "dpo"], flops=(2e12, second, 1.0, 1.0))["compute"]
    assert compute["answer"] == answer
    assert ("alike within 1 %" in compute["sentence"]) == (answer is None)


def test_a_tie_of_some_names_them() -> None:
    labels = made(["ppo", "dpo", "kto"], labels=(400, 200, 200, 0))["labels"]
    assert labels["answer"] is None
    assert labels["sentence"].endswith("dpo and kto need the least, 200 labels, alike within 1 %.")


def test_an_unknown_amount_decides_nothing() -> None:
    found = made(["ppo", "dpo"], flops=(None, 2e12, 1e12, 1e12))
    assert found["compute"]["answer"] is None
    assert found["compute"]["sentence"].endswith("not known of ppo.")
    assert found["compute"]["rows"][0]["text"] == "–"
    # Of one who is not asked about it does not matter.
    other = made(["ppo", "dpo"], labels=(400, 200, None, None))["labels"]
    assert (other["answer"], other["rows"][2]["text"]) == ("dpo", "–")


def test_nobody_is_better_than_sft_so_nothing_is_licensed() -> None:
    for choice in [
        *made([]).values(),
        memory_choice([], METHODS, bills(peak_cuda_bytes=(1,) * 4, peak_rss_bytes=(1,) * 4), 0.95),
    ]:
        assert (choice["answer"], choice["sentence"]) == (None, NOBODY)
        assert len(choice["rows"]) == 4


def test_the_only_one_is_the_answer_and_it_is_said() -> None:
    found = made(["ppo"], pairs=[{**pair, "verdict": "better"} for pair in PAIRS])
    assert {choice["answer"] for choice in found.values()} == {"ppo"}
    assert found["labels"]["sentence"].startswith("Only ppo is better than SFT and not separably")
    assert found["quality"]["sentence"] == (
        "ppo has the highest gold reward, separably from every other method."
    )


def test_spread_needs_an_f_test() -> None:
    # Three seeds against three: the ratio of variances must exceed 39, of deviations 6.24.
    assert made(["ppo", "dpo"], stds=(0.1, 0.6, 0, 0))["stability"]["answer"] is None
    close = made(["ppo", "dpo"], stds=(0.1, 0.6, 0, 0))["stability"]["sentence"]
    assert close.endswith("but by an F-test not separably less than dpo.")
    assert made(["ppo", "dpo"], stds=(0.1, 0.63, 0, 0))["stability"]["answer"] == "ppo"
    # Of all others, not only of one.
    three = made(["ppo", "dpo", "kto"], stds=(0.1, 0.2, 0.9, 0))["stability"]
    assert three["answer"] is None
    assert three["sentence"].endswith("not separably less than dpo.")
    assert made(["ppo", "dpo"], stds=(0.1, 0.3, 0, 0), seeds=12)["stability"]["answer"] == "ppo"


@pytest.mark.parametrize("std", [None, 0.0])
def test_a_spread_that_nothing_tells_of_is_no_answer(std: float | None) -> None:
    found = made(["ppo", "dpo"], stds=(std, 0.2, 0.3, 0.4), seeds=2)["stability"]
    assert found["answer"] is None
    assert "not known of ppo: one seed, or seeds that are all equal" in found["sentence"]


def test_quality_only_if_separable() -> None:
    quality = made(["ppo", "dpo"])["quality"]
    assert quality["answer"] is None
    assert quality["sentence"] == (
        "ppo has the highest gold reward, but is not separable from dpo."
    )
    assert quality["rows"][0]["text"] == "7.50"
    behind = made(["dpo"])["quality"]
    assert behind["sentence"].endswith("but it is not separably above SFT's.")


def test_a_single_method_is_not_the_best_of_anything() -> None:
    quality = made(["ppo"], pairs=[])["quality"]
    assert quality["answer"] is None
    assert quality["sentence"] == (
        "ppo has the highest gold reward, but there is no other method to compare with."
    )


def test_a_cost_is_never_below_zero() -> None:
    row = made(["ppo", "dpo"], labels=(3, 200, 100, 0))["labels"]["rows"][0]
    assert row["low"] == 0
    assert row["high"] == pytest.approx(3 + 2 * 4.3027, abs=1e-3)


def test_memory_of_the_gpu_that_was_not_measured_is_unknown() -> None:
    mixed = bills(peak_cuda_bytes=(2**30, 0, 0, 0), peak_rss_bytes=(3 * 2**30, 2**30, 1, 1))
    found = memory_choice(["ppo", "dpo"], METHODS, mixed, 0.95)
    assert found["answer"] is None
    assert found["sentence"].endswith("not known of dpo.")
    assert found["rows"][1]["text"] == "–"


def test_memory_is_that_of_the_gpu_where_there_is_one() -> None:
    on_cpu = bills(peak_cuda_bytes=(0, 0, 0, 0), peak_rss_bytes=(3 * 2**30, 2**30, 1, 1))
    found = memory_choice(["ppo", "dpo"], METHODS, on_cpu, 0.95)
    assert found["answer"] == "dpo"
    assert "dpo needs 1,024 MiB (ppo is next with 3,072 MiB)" in found["sentence"]
    on_gpu = bills(peak_cuda_bytes=(2**30, 2**31, 1, 1), peak_rss_bytes=(3 * 2**30, 2**30, 1, 1))
    found = memory_choice(["ppo", "dpo"], METHODS, on_gpu, 0.95)
    assert (found["answer"], found["rows"][0]["text"]) == ("ppo", "1,024 MiB on the GPU")


def test_choices_of_a_run(tmp_path: Path) -> None:
    fake = FakeRun(
        tmp_path / "in", {"base": -1.5, "sft": 0, "sft_copy": 0, "ppo": 2, "dpo": 2, "kto": 0.5}
    )
    where = {"python": "3.11", "platform": "here", "cpu_count": 2, "versions": {"torch": "2"}}
    for name, folder in fake.inputs.items():
        if name.startswith("train/"):
            metrics = json.loads((folder / "metrics.json").read_text())
            metrics["consumed"]["flops"] = 3e12 if "ppo" in name else 1e12
            (folder / "metrics.json").write_text(json.dumps(metrics))
            (folder / "manifest.json").write_text(
                json.dumps({"notes": [], "seconds": 3.0, "peak_rss_bytes": 2**30}
                | {"environment": where})
            )  # fmt: skip
    run(fake.context(tmp_path / "out"))
    results = load(tmp_path / "out" / "results.json")
    assert [each["constraint"] for each in all_choices(results)] == [
        "memory", "labels", "compute", "stability", "quality"
    ]  # fmt: skip
    memory, _, compute, _, quality = all_choices(results)
    assert compute["answer"] == "dpo"
    assert memory["answer"] is None  # of equal peaks
    assert quality["answer"] is None
    # Memory differs in equal runs, so it stands with the costs.
    assert [each["constraint"] for each in results["choices"]] == [
        "labels", "compute", "stability", "quality"
    ]  # fmt: skip
    assert results["costs"]["bills"]["environment"] == {
        "python": "3.11",
        "platform": "here",
        "processor": None,
        "cpu_count": 2,
        "libraries": {"torch": "2"},
    }
    del results["choices"], results["costs"]["bills"]
    assert all_choices(results) == []
