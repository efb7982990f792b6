from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignbench.data.found import Comparison, Example, Found
from alignbench.data.open_assistant import find
from alignbench.errors import UserError
from tests.data.files import write


def _node(name: str, *replies: Any, rank: int | None = None, **more: Any) -> dict[str, Any]:
    role = "prompter" if name[0].isupper() else "assistant"
    return {"message_id": name, "text": name, "role": role, "rank": rank, "replies": list(replies),
            "lang": "en", "deleted": False, "review_result": True, **more}  # fmt: skip


TREE = _node(
    "Q",
    _node("worst", _node("R", _node("alone")), rank=2),
    _node("best", _node("S", _node("s2", rank=1), _node("s1", rank=0)), rank=0),
    _node("middle", rank=1, synthetic=True),
)
BELOW = "Q\n\nAssistant: best\n\nHuman: S"
PAIRS = [
    Comparison("Q", "best", "middle"),
    Comparison("Q", "best", "worst"),
    Comparison("Q", "middle", "worst"),
    Comparison(BELOW, "s1", "s2"),
]


def _flat(node: dict[str, Any], parent: str | None = None) -> list[dict[str, Any]]:
    own = {key: value for key, value in node.items() if key != "replies"} | {"parent_id": parent}
    return [own, *(row for r in node["replies"] for row in _flat(r, node["message_id"]))]


def _find(tmp_path: Path, *rows: Any, **more: Any) -> Found:
    return find(str(write(tmp_path / "f.jsonl.gz", rows)), **more)


@pytest.mark.parametrize("flat", [False, True])
def test_ranked_siblings_give_all_pairs_and_best_paths_examples(tmp_path: Path, flat: bool) -> None:
    rows = _flat(TREE)[::-1] if flat else [{"message_tree_id": "t", "prompt": TREE}]
    found = _find(tmp_path, *rows)
    key = lambda pair: (pair.prompt, pair.chosen, pair.rejected)  # noqa: E731
    assert sorted(found.comparisons, key=key) == sorted(PAIRS, key=key)
    # "R" follows an answer that is not the best, so "alone" is on no best path.
    assert found.examples == [Example("Q", "best"), Example(BELOW, "s1")]
    assert found.skipped == {}
    assert found.facts == {
        "trees": 1, "messages": 9, "ranked nodes": 2, "ranked pairs": 4,
        "without synthetic side": 2,
    }  # fmt: skip


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    tree = _node(
        "Q",
        _node("a", rank=0),
        _node("b", rank=0),
        _node("c"),
        _node("d", _node("X", _node("y")), rank=1, deleted=True),
        _node("e", rank=2, review_result=False),
    )
    unranked = _node("U", _node("v"), _node("w"))
    found = _find(tmp_path, {"prompt": tree}, {"prompt": unranked})
    assert found.comparisons == []
    assert found.examples == [Example("Q", "a")]
    assert found.skipped == {
        "tied ranks": 1, "answers without a rank (no pair)": 3, "deleted messages": 1,
        "messages below those": 2, "messages that did not pass the review": 1,
        "several answers and no ranks (no example)": 1,
    }  # fmt: skip
    assert found.facts["messages"] == 8 + 3


def test_flat_rows_without_a_path_to_a_first_message(tmp_path: Path) -> None:
    lost = [{**_node("l"), "parent_id": "nobody"}, {**_node("m"), "parent_id": "m"}]
    found = _find(tmp_path, *_flat(TREE), *lost, _flat(TREE)[0])
    assert len(found.comparisons) == 4
    assert found.skipped == {
        "messages without a path to a first message": 2, "repeated message_id": 1,
    }  # fmt: skip


def test_one_language(tmp_path: Path) -> None:
    other = {**_node("Z", _node("z")), "lang": "de"}
    found = _find(tmp_path, {"prompt": TREE}, {"prompt": other}, lang="de")
    assert found.examples == [Example("Z", "z")]
    assert found.skipped == {"trees in another language": 1}
    with pytest.raises(UserError, match=r"data\.lang: no tree in fr; there are: de, en"):
        _find(tmp_path, {"prompt": TREE}, {"prompt": other}, lang="fr")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"text": "x"}, 'no text under "message_id"'),
        ({"prompt": {**_node("Q"), "role": "user"}}, '"role" must be prompter or assistant'),
        ({"prompt": {**_node("Q"), "replies": 3}}, '"replies" must be a list'),
        ({"prompt": _node("Q", {**_node("a"), "rank": "0"})}, '"rank" must be a number'),
        ({**_node("Q"), "parent_id": 3}, '"parent_id" must be text'),
    ],
)
def test_other_forms_are_errors(tmp_path: Path, row: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        _find(tmp_path, row)


def test_a_deep_tree_is_no_matter(tmp_path: Path) -> None:
    rows = [
        {**_node(("A" if n % 2 == 0 else "a") + str(n)), "parent_id": None if n == 0 else
         ("A" if n % 2 else "a") + str(n - 1)}
        for n in range(300)
    ]  # fmt: skip
    assert len(_find(tmp_path, *rows).examples) == 150


def test_the_real_trees(real_data: Path, tmp_path: Path) -> None:
    found = find(str(real_data / "open_assistant"))
    assert found.facts == {
        "trees": 100, "messages": 1167, "ranked nodes": 212, "ranked pairs": 754,
        "without synthetic side": 732,
    }  # fmt: skip
    assert len(found.comparisons) == 754
    assert len(found.examples) == 144
    assert found.skipped["answers without a rank (no pair)"] == 6


def test_real_trees_flat_give_the_same(real_data: Path, tmp_path: Path) -> None:
    import gzip

    (path,) = (real_data / "open_assistant").glob("*.gz")
    with gzip.open(path, "rt") as file:
        trees = [json.loads(line)["prompt"] for line in file]
    flat = _find(tmp_path, *(row for tree in trees for row in _flat(tree)))
    nested = find(str(path))
    assert (flat.comparisons, flat.examples) == (nested.comparisons, nested.examples)
