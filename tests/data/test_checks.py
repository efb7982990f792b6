from __future__ import annotations

import itertools

import pytest

from alignbench.data.checks import SPLITS, check, normalise
from alignbench.data.dataset import Row
from alignbench.errors import UserError


def _rows() -> dict[str, list[Row]]:
    def pair(prompt: str) -> Row:
        return {"prompt": prompt, "chosen": "Good.", "rejected": "Bad."}

    return {
        "corpus": [{"text": "A b."}, {"text": "A b."}],
        "heldout": [{"text": "C d."}],
        "sft": [{"prompt": "One?", "response": "1."}],
        "sft_valid": [{"prompt": "Two?", "response": "2."}],
        "train_prompts": [{"prompt": "Three?"}],
        "pairs_proxy": [pair("Four?")],
        "pairs_proxy_valid": [pair("Five?")],
        "pairs_gold": [pair("Six?"), {"prompt": "Six?", "chosen": "Good.", "rejected": "Ugly."}],
        "pairs_gold_valid": [pair("Seven?")],
        "valid_prompts": [{"prompt": "Nought?"}],
        "eval_prompts": [{"prompt": "Eight?"}],
    }


def test_clean_splits_pass_and_stay_as_they_are() -> None:
    rows = _rows()
    check(rows)  # raises where something is wrong
    assert rows == _rows()


@pytest.mark.parametrize(
    "name",
    [
        "sft", "sft_valid", "train_prompts", "pairs_proxy", "pairs_proxy_valid", "pairs_gold",
        "pairs_gold_valid", "valid_prompts",
    ],
)  # fmt: skip
def test_an_evaluation_prompt_in_any_other_file_fails_and_is_named(name: str) -> None:
    rows = _rows()
    # Other case, spaces and punctuation are the same prompt.
    rows["eval_prompts"].append({"prompt": f" {rows[name][0]['prompt'].upper()} !"})
    with pytest.raises(UserError) as caught:
        check(rows)
    assert "1 prompts are in both the" in str(caught.value)
    assert "evaluation split" in str(caught.value)
    assert rows[name][0]["prompt"].upper() in str(caught.value)


@pytest.mark.parametrize(("first", "second"), itertools.combinations(SPLITS, 2))
def test_no_two_files_may_share_a_prompt(first: str, second: str) -> None:
    rows = _rows()
    rows[second].append({**rows[second][0], "prompt": rows[first][0]["prompt"]})
    with pytest.raises(UserError) as caught:
        check(rows)
    expected = f"in both the {SPLITS[first]} and the {SPLITS[second]} split"
    assert expected in str(caught.value)


def test_proxy_and_gold_must_not_share_prompts() -> None:
    rows = _rows()
    rows["pairs_gold"].append({**rows["pairs_proxy"][0], "chosen": "Other."})
    with pytest.raises(UserError, match=r'both the proxy and the gold split: "Four\?"'):
        check(rows)


def test_all_problems_come_together() -> None:
    rows = _rows()
    rows["sft"] *= 2
    rows["train_prompts"] *= 2
    rows["pairs_gold"].append({"prompt": "Six?", "chosen": "Bad.", "rejected": "Good."})
    rows["pairs_proxy"].append({"prompt": "Nine?", "chosen": "Same. ", "rejected": "Same."})
    rows["heldout"].append({"text": "a B"})
    rows["eval_prompts"] = []
    with pytest.raises(UserError) as caught:
        check(rows)
    message = str(caught.value)
    for expected in (
        'sft.jsonl has 1 duplicate rows: "One?"',
        'train_prompts.jsonl has 1 duplicate rows: "Three?"',
        'pairs_gold.jsonl has 1 duplicate rows: "Six?"',
        'pairs_proxy.jsonl has 1 pairs of equal responses: "Nine?"',
        '1 held-out documents are in the corpus: "a B"',
        "eval_prompts.jsonl has no rows",
        "remedy:",
    ):
        assert expected in message


def test_long_lists_are_cut() -> None:
    rows = _rows()
    rows["eval_prompts"] = [{"prompt": f"Prompt {i}"} for i in range(9)]
    rows["sft"] = [{"prompt": f"prompt {i}!", "response": "x"} for i in range(9)]
    with pytest.raises(UserError, match="and 4 more"):
        check(rows)


def test_normalise() -> None:
    assert normalise("  Héllo,\n World_1! ") == "héllo world_1"
    assert normalise("?!") == "?!" != normalise("...")
