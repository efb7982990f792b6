"""Checks of the written splits before anything trains on them: duplicates and leakage."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from alignbench.data.dataset import Row
from alignbench.errors import UserError

SHOWN = 5
"""Offending texts quoted per problem."""

SPLITS = {
    "sft": "sft",
    "sft_valid": "sft_valid",
    "train_prompts": "train",
    "pairs_proxy": "proxy",
    "pairs_proxy_valid": "proxy_valid",
    "pairs_gold": "gold",
    "pairs_gold_valid": "gold_valid",
    "valid_prompts": "validation",
    "eval_prompts": "evaluation",
}
"""File -> what its prompts are called in messages. A prompt belongs to one of them only."""
ONE_PROMPT_A_ROW = ("train_prompts", "valid_prompts", "eval_prompts")


def normalise(text: str) -> str:
    """Lower case, letters and digits only, single spaces: what counts as the same text.

    A text without any letter or digit counts as itself, or all of them would be one.
    """
    return " ".join(re.findall(r"\w+", text.lower())) or text


def check(rows: Mapping[str, Sequence[Row]]) -> None:
    """Check all files of a data stage.

    Args:
        rows: file name without ``.jsonl`` -> its rows; absent files are not checked.

    Raises:
        UserError: naming every kind of problem with the offending texts: a prompt (normalised)
            in two splits, a row twice in one file, a pair of equal responses, a held-out document
            that is also in the corpus, or an empty file.
    """
    problems = [f"{name}.jsonl has no rows" for name in rows if not rows[name]]
    problems += _leaks(rows)
    for name, file_rows in rows.items():
        problems += _duplicates(name, file_rows)
    if problems:
        raise UserError(
            "the data must not be trained on:",
            *problems,
            "remedy: remove the named rows from the source, or choose another `data.seed` or "
            "smaller sizes",
        )


def _quote(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(f'"{text.strip()[:120]}"' for text in texts[:SHOWN]) + more


def _leaks(rows: Mapping[str, Sequence[Row]]) -> list[str]:
    """Prompts in two splits, and documents both trained on and held out."""
    owners: dict[str, str] = {}
    shared: dict[tuple[str, str], list[str]] = {}
    for name, split in SPLITS.items():
        for row in rows.get(name, ()):
            owner = owners.setdefault(normalise(row["prompt"]), split)
            if owner != split:
                shared.setdefault((owner, split), []).append(row["prompt"])
    problems = [
        f"{len(set(prompts))} prompts are in both the {a} and the {b} split: "
        f"{_quote(sorted(set(prompts)))}"
        for (a, b), prompts in shared.items()
    ]
    corpus = {normalise(row["text"]) for row in rows.get("corpus", ())}
    both = [row["text"] for row in rows.get("heldout", ()) if normalise(row["text"]) in corpus]
    if both:
        problems.append(f"{len(both)} held-out documents are in the corpus: {_quote(both)}")
    return problems


def _row_key(name: str, row: Row) -> tuple[str, ...]:
    if name in ONE_PROMPT_A_ROW:
        return (normalise(row["prompt"]),)
    if "chosen" in row:
        return (normalise(row["prompt"]), *sorted((row["chosen"], row["rejected"])))
    return (normalise(row["prompt"]), row["response"])


def _duplicates(name: str, rows: Sequence[Row]) -> list[str]:
    """Rows that occur twice in a file; documents may repeat, as the web does."""
    if name not in SPLITS:
        return []
    seen: set[tuple[str, ...]] = set()
    twice, equal = [], []
    for row in rows:
        key = _row_key(name, row)
        if key in seen:
            twice.append(row["prompt"])
        seen.add(key)
        if "chosen" in row and row["chosen"].split() == row["rejected"].split():
            equal.append(row["prompt"])
    problems = []
    if twice:
        problems.append(f"{name}.jsonl has {len(twice)} duplicate rows: {_quote(twice)}")
    if equal:
        problems.append(f"{name}.jsonl has {len(equal)} pairs of equal responses: {_quote(equal)}")
    return problems
