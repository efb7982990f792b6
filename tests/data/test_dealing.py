from __future__ import annotations

import random

import pytest

from alignbench.data.dealing import deal, grouped, percent
from alignbench.data.found import Comparison, Example, opening


def test_groups_are_never_split_between_files_and_none_is_used_twice() -> None:
    pairs = [
        Comparison(f"Q{i}{'' if t == 0 else f'{chr(10) * 2}Assistant: x{chr(10) * 2}Human: {t}'}",
                   "a", f"b{k}")
        for i in range(40) for t in range(2) for k in range(3)
    ]  # fmt: skip
    groups = grouped(pairs, [Example(f"Q{i}", "a") for i in range(0, 40, 2)])
    asked = {"eval_prompts": 8, "sft": 6, "pairs_gold": 20, "pairs_proxy": 21}
    dealt = deal(groups, asked, random.Random(0))
    assert dealt.scale == 1.0
    assert {name: len(rows) for name, rows in dealt.files.items()} == asked
    owners = [{opening(row.prompt) for row in rows} for rows in dealt.files.values()]
    assert sum(map(len, owners)) == len(set().union(*owners))
    # Groups without an example are passed over by sft, and left for the files after it.
    assert all(int(name[1:]) % 2 == 0 for name in owners[1])
    assert dealt.short() == {}


def test_the_scale_counts_rows_of_each_kind() -> None:
    # 20 groups with 3 pairs each: 60 pairs, or 20 prompts. 10/20 + 60/60 is 1.5 of what is there.
    pairs = [Comparison(f"Q{i}", "a", f"b{k}") for i in range(20) for k in range(3)]
    dealt = deal(grouped(pairs, []), {"eval_prompts": 10, "pairs": 60}, random.Random(0))
    assert dealt.scale == pytest.approx(2 / 3)
    assert {name: len(rows) for name, rows in dealt.files.items()} == {
        "eval_prompts": 6, "pairs": 40,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.5, "50%"), (2 / 3, "67%"), (0.056, "5.6%"), (0.00041, "0.041%"), (0.9996, "99.960%")],
)
def test_shares_are_told_apart_from_none_and_all(share: float, told: str) -> None:
    assert percent(share) == told


def test_large_groups_make_files_smaller_until_none_is_empty() -> None:
    pairs = [Comparison(f"Q{i}", "a", f"b{k}") for i in range(4) for k in range(50)]
    asked = {"pairs_gold": 60, "pairs_proxy": 60, "pairs_proxy_valid": 20, "pairs_gold_valid": 10}
    dealt = deal(grouped(pairs, []), asked, random.Random(0))
    assert all(dealt.files.values())
    assert dealt.scale == 0.5
