"""Which entries share a table, and which rows stand apart in it."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from alignbench.leaderboard.grouping import Named, comparable, groups_of, named, refusals
from alignbench.leaderboard.schema import Entry
from tests.leaderboard.entries import changed, published

Record = dict[str, Any]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("grouping"))


def certified(path: Path, **fields: Any) -> Entry:
    def change(record: Record) -> None:
        for name, value in fields.items():
            if value is None:
                record["certificate"].pop(name, None)
            else:
                record["certificate"][name] = value

    return changed(path, change)


def members(entries: list[Entry]) -> list[set[str]]:
    return [{one.entry.digest for one in group.entries} for group in groups_of(named(entries))]


def test_equal_terms_share_a_table_and_others_do_not(path: Path) -> None:
    same = [certified(path, tuning_search=number) for number in "ab"]
    other = certified(path, tokenizer="c" * 64)
    groups = members([*same, other])
    assert sorted(map(len, groups)) == [1, 2]
    assert {entry.digest for entry in same} in groups


def test_groups_are_mutually_comparable_where_comparable_is_not_transitive(path: Path) -> None:
    """An empty section agrees with one that says none of a key; "none at all" only with that."""
    empty = certified(path, chat_template={}, tuning_search="empty")
    keyed = certified(path, chat_template={"a": None}, tuning_search="keyed")
    none = changed(path, lambda r: r["certificate"].update(chat_template=None, tuning_search="n"))
    pair = {"empty": empty, "keyed": keyed, "none": none}
    found = {
        (a, b): comparable(Named("A", pair[a]), Named("B", pair[b]))
        for a, b in combinations(pair, 2)
    }
    assert found == {("empty", "keyed"): True, ("empty", "none"): False, ("keyed", "none"): True}
    for group in groups_of(named([empty, keyed, none])):
        assert all(comparable(a, b) for a, b in combinations(group.entries, 2))


def test_what_nobody_certified_is_in_a_table_of_its_own(path: Path) -> None:
    entries = [certified(path, engine=None, tuning_search=number) for number in "ab"]
    assert sorted(map(len, members(entries))) == [1, 1]


def test_groups_do_not_depend_on_the_order_of_files(path: Path) -> None:
    entries = [certified(path, tuning_search=number) for number in "abc"]
    entries += [certified(path, tokenizer="c" * 64)]
    assert members(entries) == members(entries[::-1])
    assert [one.name for one in named(entries)] == ["A", "B", "C", "D"]


def test_names_of_many_entries_differ(path: Path) -> None:
    entries = [certified(path)] * 60
    names = [one.name for one in named(entries)]
    assert names[25:28] == ["Z", "A2", "B2"]
    assert len(set(names)) == 60


def test_a_row_that_left_the_terms_of_its_run_stands_apart_and_its_namesake_does_not(
    path: Path,
) -> None:
    def own_budget(record: Record) -> None:
        record["certificate"]["rows"]["ppo"]["budget"] = {"flops": 1e9}
        record["recipe"]["settings"]["methods"]["ppo"] = {"budget": {"flops": 1e9}}

    entries = named([changed(path, own_budget), certified(path, tuning_search="b")])
    (group,) = groups_of(entries)
    (place,) = group.apart
    assert place[1] == "ppo"
    assert group.apart[place] == ["has a budget of its own: flops 1e+09"]
    budgets = {one.name: one.entry.certificate["rows"]["ppo"]["budget"] for one in entries}
    assert budgets[place[0]] is not None


def test_rows_of_one_name_and_two_methods_stand_apart_both(path: Path) -> None:
    def plugged(record: Record) -> None:
        record["certificate"]["rows"]["ppo"]["method"] = "evil.package:PPO"

    (group,) = groups_of(named([changed(path, plugged), certified(path, tuning_search="b")]))
    assert set(group.apart) == {("A", "ppo"), ("B", "ppo")}
    (reason,) = group.apart["A", "ppo"]
    assert reason.startswith("another method under the same name: ")
    assert "evil.package:PPO in " in reason


def test_tables_of_one_recipe_say_what_keeps_them_apart(path: Path) -> None:
    groups = groups_of(named([certified(path), certified(path, tokenizer="c" * 64)]))
    (refused,) = refusals(groups[0], groups)
    assert (refused.other, refused.fields) == ("B", ["tokenizer"])
