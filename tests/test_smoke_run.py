"""The whole of `alignbench run recipes/smoke.yaml`, as a user starts it."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from alignbench.judges.base import SENTINELS

pytestmark = pytest.mark.slow

RECIPE = Path(__file__).parents[1] / "recipes" / "smoke.yaml"
METHODS = ["reinforce", "ppo", "dpo", "grpo", "rlaif"]
ROWS = ["base", "sft", *SENTINELS, *METHODS]
METRICS = [
    "reward_proxy",
    "reward_gold",
    "perplexity",
    "perplexity_reference",
    "distinct_1",
    "distinct_2",
    "distinct_3",
    "self_bleu",
    "helpful",
    "harmless",
    "honest",
    "win_rate_vs_base",
    "win_rate_vs_sft",
    "length",
    "kl_from_sft",
    "refusal_rate",
    "over_refusal_rate",
    "harmful_rate",
]
LIMIT = 900


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "alignbench", "run", str(RECIPE), "--out", str(out), *more]


def run(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(out, *more), capture_output=True, text=True, timeout=LIMIT)


def results(out: Path) -> dict[str, Any]:
    """results.json without its times."""
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    del found["costs"]
    return found


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cold run ä") / "smoke"
    done = run(out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_row_has_every_metric(cold: Path) -> None:
    with (cold / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["model", "metric", "value", "low", "high", "n_seeds", "n_prompts"]
    assert list(dict.fromkeys(row["model"] for row in rows)) == ROWS
    for name in ROWS:
        own = {row["metric"] for row in rows if row["model"] == name}
        assert set(METRICS) <= own, (name, set(METRICS) - own)
    seeds = {row["model"]: row["n_seeds"] for row in rows if row["metric"] == "reward_gold"}
    assert seeds["ppo"] == "2"
    assert seeds["sft"] == "1"


def test_substitution_and_simulated_judge_are_said(cold: Path) -> None:
    page = (cold / "report.html").read_text()
    assert "simulated judge" in page
    assert "Profile default" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_second_run_does_nothing(cold: Path) -> None:
    before = (cold / "results.json").read_bytes()
    done = run(cold)
    assert done.returncode == 0, done.stderr
    assert "0 to run" in done.stdout
    assert (cold / "results.json").read_bytes() == before


def test_killed_in_a_method_it_goes_on_to_the_same_results(cold: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    child = subprocess.Popen(
        command(out), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert child.stdout is not None
    finished = 0
    for line in child.stdout:
        finished += ": finished" in line
        if line.startswith("train/ppo/0: started"):
            break
    time.sleep(0.5)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not (out / "results.json").exists()
    done = run(out)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = re.search(r"(\d+) in the store", done.stdout)
    assert kept is not None
    # Another stage may have finished in the half second before the end.
    assert finished <= int(kept[1]) <= finished + 1
    assert results(out) == results(cold)


def test_a_real_model_judges_the_run(cold: Path) -> None:
    url = os.environ.get("ALIGNBENCH_JUDGE_URL")
    if not url:
        pytest.skip("ALIGNBENCH_JUDGE_URL is not set")
    judge = f"{{kind: openai, model: SmolLM2-135M-Instruct, base_url: '{url}', prompts: 2}}"
    out = cold.with_name("judged")  # beside it, so that only the judging is new
    done = run(out, "--set", f"judge={judge}")
    assert done.returncode == 0, done.stdout + done.stderr
    # 15 rows and seeds: 8 questions on each answer, but 6 on Base's and SFT's; 10 pairs of methods
    # with two seeds, in both orders; 2 asked again.
    asked = 2 * (13 * 8 + 2 * 6 + 10 * 2 * 2) + 2
    assert f"The judge is asked {asked} questions at most" in done.stdout
    found = results(out)
    assert found["judge"]["bill"]["questions"] == asked
    assert found["judge"]["bill"]["prompt_tokens"] > 100 * asked
    assert "SmolLM2-135M-Instruct" in found["judge"]["name"]
    assert found["judge_audit"]["pairs"] > 0
    helpful = [row["value"] for row in found["rows"] if row["metric"] == "helpful"]
    assert all(1 <= value <= 10 for value in helpful)
    assert "Audit of the judge" in (out / "report.html").read_text()


def test_every_method_met_every_other(cold: Path) -> None:
    found = results(cold)
    pairwise = found["pairwise"]
    assert pairwise["models"] == ["base", "sft", *METHODS]
    for i, row in enumerate(pairwise["wins"]):
        assert [cell is None for cell in row] == [i == j for j in range(len(row))]
        assert {cell["n"] for cell in row if cell is not None} == {40}
    constraints = [choice["constraint"] for choice in found["choices"]]
    assert constraints == ["labels", "compute", "stability", "quality"]
    assert [spread["seeds"] for spread in found["stability"]] == [2] * 5
    assert found["effect"]["reference"] == "ppo"


def test_equal_terms(cold: Path) -> None:
    found = results(cold)
    for run_name, training in found["training"].items():
        metrics = training["metrics"]
        assert metrics["budget"]["limits"] == {"flops": 8e9}
        if metrics["ended"]["by"] == "budget":
            assert metrics["spent_fraction"] >= 1, run_name
        else:
            assert metrics["ended"]["reason"], run_name
    assert set(found["bills"]["rows"]) == set(METHODS)
    assert set(found["budget_curves"]["rows"]) == set(METHODS)
    assert [trial["state"] for trial in found["tuning"]["dpo"]["trials"]] == ["complete"] * 2
    assert found["plan"]["train/dpo/0"]["predicted"]["flops"] > 0
    compared = subprocess.run(
        [sys.executable, "-m", "alignbench", "compare", str(cold), str(cold)],
        capture_output=True,
        text=True,
    )
    assert compared.returncode == 0, compared.stdout + compared.stderr
