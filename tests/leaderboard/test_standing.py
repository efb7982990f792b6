"""Who is best among rows of several runs, and how that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignbench.leaderboard.entry import load
from alignbench.leaderboard.grouping import Group, groups_of, named
from alignbench.leaderboard.schema import Entry
from alignbench.leaderboard.standing import Lead, best_of, lead_of
from tests.leaderboard.entries import EFFECTS, changed, published

Record = dict[str, Any]
GOLD = "reward_gold"


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs on the same prompts: ppo of the second is far better than all others."""
    root = tmp_path_factory.mktemp("standing")
    far = {**EFFECTS, "ppo": 3.0}
    return [published(root, 0), published(root, 1, effects=far)]


def together(*entries: Entry) -> Group:
    (group,) = groups_of(named(entries))
    return group


def where(group: Group, path: Path) -> str:
    digest = load(path).digest
    return next(one.name for one in group.entries if one.entry.digest == digest)


def against(leads: list[Lead], row: tuple[str, str]) -> Lead:
    return next(lead for lead in leads if lead.other == row)


def test_the_best_of_two_runs_is_marked_and_paired_by_prompt(paths: list[Path]) -> None:
    group = together(*map(load, paths))
    near, far = (where(group, path) for path in paths)
    assert best_of(group)[GOLD] == [(far, "ppo")]
    leads = lead_of(group, GOLD)
    assert {lead.row for lead in leads} == {(far, "ppo")}
    lead = against(leads, (near, "ppo"))
    assert lead.paired
    assert lead.verdict == "better"
    assert lead.low is not None
    assert lead.low > 0
    values = {
        (one.name, c.model): c.value
        for one in group.entries
        for c in one.entry.rows
        if c.metric == GOLD
    }
    expected = values[far, "ppo"] - values[near, "ppo"]
    assert lead.difference == pytest.approx(expected, abs=1e-4)


def test_without_observations_rows_compare_unpaired_and_more_strictly(paths: list[Path]) -> None:
    blind = changed(paths[0], lambda r: r.update(observations=None))
    group = together(blind, load(paths[1]))
    far = where(group, paths[1])
    near = next(one.name for one in group.entries if one.name != far)
    lead = against(lead_of(group, GOLD), (near, "ppo"))
    assert not lead.paired
    assert lead.p_holm is None
    cells = {
        (one.name, c.model): c for one in group.entries for c in one.entry.rows if c.metric == GOLD
    }
    a, b = cells[far, "ppo"], cells[near, "ppo"]
    assert (lead.low, lead.high) == (a.low - b.high, a.high - b.low)
    assert best_of(group)[GOLD] == [(far, "ppo")]


def test_overlapping_intervals_of_two_runs_have_no_best(tmp_path: Path) -> None:
    """Two trainings of one effect: nobody is separable, whoever has the higher value."""
    paths = [published(tmp_path, number) for number in (3, 4)]
    assert best_of(together(*map(load, paths)))[GOLD] == []


def test_pairing_follows_the_texts_and_not_the_order_of_prompts(paths: list[Path]) -> None:
    def shuffled(record: Record) -> None:
        order = np.random.default_rng(0).permutation(len(record["observations"]["prompts"]))
        seen = record["observations"]
        seen["prompts"] = [seen["prompts"][i] for i in order]
        for row in seen["rows"].values():
            for metric, seeds in row["prompts"].items():
                row["prompts"][metric] = [[seed[i] for i in order] for seed in seeds]

    plain = together(*map(load, paths))
    mixed = together(changed(paths[0], shuffled), load(paths[1]))
    differences = [
        sorted((lead.difference or 0, lead.low or 0) for lead in lead_of(group, GOLD))
        for group in (plain, mixed)
    ]
    for one, other in zip(*differences, strict=True):
        assert one[0] == pytest.approx(other[0])
        assert one[1] == pytest.approx(other[1], abs=0.1)


def test_a_model_published_twice_does_not_compete_with_itself(paths: list[Path]) -> None:
    again = changed(paths[1], lambda r: r["certificate"].update(tuning_search="again"))
    group = together(load(paths[1]), again)
    assert best_of(group)[GOLD] == [("A", "ppo"), ("B", "ppo")]
    assert all(lead.other[1] != "ppo" for lead in lead_of(group, GOLD))


def test_a_row_that_is_set_apart_competes_for_nothing(paths: list[Path]) -> None:
    def own_budget(record: Record) -> None:
        record["certificate"]["rows"]["ppo"]["budget"] = {"flops": 1e9}
        record["recipe"]["settings"]["methods"]["ppo"] = {"budget": {"flops": 1e9}}

    group = together(load(paths[0]), changed(paths[1], own_budget))
    assert all(row[1] != "ppo" or row not in group.apart for row in best_of(group)[GOLD])
    leads = lead_of(group, GOLD)
    assert all(lead.row not in group.apart and lead.other not in group.apart for lead in leads)


def test_one_entry_keeps_its_own_statistics(paths: list[Path]) -> None:
    entry = load(paths[1])
    best = best_of(together(entry))
    for metric, row in entry.statistics.best.items():
        assert best.get(metric, []) == ([("A", row)] if row else []), metric


def test_of_metrics_where_less_is_better_the_lowest_leads(paths: list[Path]) -> None:
    leads = lead_of(together(*map(load, paths)), "perplexity")
    assert all((lead.difference or 0) <= 0 for lead in leads if lead.other[1] in ("ppo", "dpo"))
