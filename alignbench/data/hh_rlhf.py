"""Anthropic HH-RLHF as the same files that the sandbox writes.

A record is two transcripts which share everything up to the last assistant turn (Bai et al.
2022, https://arxiv.org/abs/2204.05862). One person labelled each pair, so there is one vote.
"""

from __future__ import annotations

import gzip
import json
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignbench.data.checks import normalise
from alignbench.data.dataset import Dataset, Row, numbered
from alignbench.errors import UserError
from alignbench.recipe.data_sections import HhRlhfData

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
FAMILY = "hh_rlhf"
VALID_SHARE = 0.1
"""Size of the validation parts, on top of what the recipe asks for."""
MALFORMED_SHOWN = 5


@dataclass(frozen=True)
class Record:
    """One comparison.

    Attributes:
        prompt: the dialogue before the last assistant turn, without its leading "Human:", so that
            the plain prompt format puts it back exactly.
        chosen, rejected: the last assistant turns.
        transcript: the whole chosen dialogue.
    """

    prompt: str
    chosen: str
    rejected: str
    transcript: str


def parse(chosen: str, rejected: str) -> Record | str:
    """Take two transcripts apart, or say why they are of no use (a key of the skip counts)."""
    prefix, found, answer = chosen.rpartition(ASSISTANT)
    other_prefix, _, other_answer = rejected.rpartition(ASSISTANT)
    if not found or not prefix.lstrip().startswith(HUMAN.lstrip()):
        return "not a dialogue"
    if prefix != other_prefix:
        return "prompts differ"
    answer, other_answer = answer.strip(), other_answer.strip()
    if not answer or not other_answer:
        return "empty answer"
    if answer == other_answer:
        return "equal answers"
    prompt = prefix.lstrip().removeprefix(HUMAN.lstrip()).strip()
    return Record(prompt, answer, other_answer, chosen.strip()) if prompt else "empty prompt"


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(p for p in path.rglob("*") if p.name.endswith((".jsonl", ".jsonl.gz")))
    if not files:
        raise UserError(f"data.path: no .jsonl or .jsonl.gz file in {path}")
    return files


def _read_file(path: Path) -> Iterator[tuple[str, str]]:
    """The (chosen, rejected) transcripts of a file; malformed lines are reported together."""
    problems: list[str] = []
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                pair = _read_line(line)
                if isinstance(pair, str):
                    problems.append(f"{path}:{number}: {pair}")
                elif not problems:
                    yield pair
    except (gzip.BadGzipFile, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable UTF-8 .jsonl file: {error}") from error
    if problems:
        more = len(problems) - MALFORMED_SHOWN
        raise UserError(
            *problems[:MALFORMED_SHOWN],
            *([f"… and {more} more malformed lines"] if more > 0 else []),
            'each line must be {"chosen": "\\n\\nHuman: …", "rejected": "\\n\\nHuman: …"}',
        )


def _read_line(line: str) -> tuple[str, str] | str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        return f"not JSON ({error.msg} at column {error.colno})"
    if not isinstance(row, dict):
        return "not a JSON object"
    for key in ("chosen", "rejected"):
        if not isinstance(row.get(key), str):
            return f'no text under "{key}"'
    return row["chosen"], row["rejected"]


def _read_hub(name: str) -> Iterator[tuple[str, str]]:
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        rows: Any = datasets.load_dataset(name, split="train")
    except (OSError, ValueError, DatasetsError) as error:
        raise UserError(
            f'data.path: cannot load "{name}" from the Hugging Face hub '
            f"({type(error).__name__}: {error}); without network set data.path to a local "
            ".jsonl or .jsonl.gz file of HH-RLHF, or to a folder with such files"
        ) from error
    if not {"chosen", "rejected"} <= set(rows.column_names):
        raise UserError(
            f'data.path: "{name}" has the columns {", ".join(rows.column_names)}; '
            "chosen and rejected are needed"
        )
    yield from ((row["chosen"], row["rejected"]) for row in rows)


def read(path: str) -> Iterator[tuple[str, str]]:
    """Transcript pairs of a local file, of all files under a folder, or of a hub dataset.

    Raises:
        UserError: nothing there, malformed lines (with file:line), or the hub cannot be reached.
    """
    local = Path(path).expanduser()
    if local.exists():
        for file in _files(local):
            yield from _read_file(file)
    elif path.startswith((".", "/", "~")) or path.endswith((".jsonl", ".gz")):
        raise UserError(f"data.path: there is no file or folder {path}")
    else:
        yield from _read_hub(path)


def records(pairs: Iterable[tuple[str, str]]) -> tuple[list[Record], Counter[str]]:
    """Usable records, one a prompt, and how many were skipped for each reason."""
    kept: dict[str, Record] = {}
    skipped: Counter[str] = Counter()
    for chosen, rejected in pairs:
        record = parse(chosen, rejected)
        if isinstance(record, str):
            skipped[record] += 1
        elif (key := normalise(record.prompt) or record.prompt) in kept:
            skipped["repeated prompt"] += 1
        else:
            kept[key] = record
    return list(kept.values()), skipped


def _sizes(config: HhRlhfData) -> dict[str, int]:
    """Records asked for per file, the scarce and precious evaluation prompts first.

    The last file is the one that gets less when dialogues with one opening do not split evenly.
    """

    def valid(size: int) -> int:
        return max(4, math.ceil(size * VALID_SHARE))

    return {
        "eval_prompts": config.evaluation_prompts,
        "train_prompts": config.train_prompts,
        "sft_valid": valid(config.sft_examples),
        "sft": config.sft_examples,
        "pairs_proxy_valid": valid(config.reward_pairs),
        "pairs_gold_valid": valid(config.gold_pairs),
        "pairs_gold": config.gold_pairs,
        "valid_prompts": config.validation_prompts,
        "pairs_proxy": config.reward_pairs,
    }


def _deal(
    kept: Sequence[Record], sizes: dict[str, int], rng: random.Random
) -> dict[str, list[Record]]:
    """Deal records to files; dialogues with the same first human turn stay in one file.

    HH-RLHF holds many dialogues that go on from the same opening; apart, they would leak.
    """
    groups: dict[str, list[Record]] = {}
    for record in kept:
        opening = record.prompt.split(ASSISTANT)[0]
        groups.setdefault(normalise(opening) or opening, []).append(record)
    deck = list(groups.values())
    rng.shuffle(deck)
    dealt: dict[str, list[Record]] = {}
    for name, size in sizes.items():
        dealt[name] = []
        while deck and len(dealt[name]) < size:
            dealt[name] += deck.pop()
        del dealt[name][size:]
    return dealt


def build(config: HhRlhfData) -> Dataset:
    """All files but the corpus, deterministic in `config` and the data.

    Splits are scaled down together when there are fewer records than asked for (noted).

    Raises:
        UserError: unreadable data, or too few usable records to fill every file.
    """
    kept, skipped = records(read(config.path))
    asked = _sizes(config)
    scale = min(1.0, len(kept) / sum(asked.values()))
    sizes = {name: max(1, int(size * scale)) for name, size in asked.items()}
    dealt = _deal(kept, sizes, random.Random(f"{config.seed}/hh_rlhf"))
    empty = [name for name, part in dealt.items() if not part]
    if empty:
        raise UserError(
            f"data.path: {config.path} has {len(kept)} usable records with different prompts "
            f"({sum(skipped.values())} skipped), too few to fill {', '.join(empty)}"
        )
    dataset = Dataset(rows=_rows(dealt), summary=_summary(len(kept), skipped, scale))
    if skipped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
        dataset.notes.append(f"HH-RLHF: skipped records: {reasons}")
    if scale < 1:
        dataset.notes.append(
            f"HH-RLHF: {len(kept)} usable records for {sum(asked.values())} asked for; all splits "
            f"are scaled to {scale:.0%} of their size"
        )
    return dataset


def _summary(kept: int, skipped: Counter[str], scale: float) -> Row:
    return {
        "source": FAMILY,
        "records": kept,
        "skipped": dict(sorted(skipped.items())),
        "scale": scale,
        # One vote a pair and no known truth: there is nothing to agree with.
        "annotator_agreement": None,
    }


def _rows(dealt: dict[str, list[Record]]) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {
        "heldout": [{"text": record.transcript} for record in dealt["eval_prompts"]]
    }
    for name, part in dealt.items():
        if name.startswith("sft"):
            rows[name] = [
                {"prompt": r.prompt, "response": r.chosen, "family": FAMILY} for r in part
            ]
        elif name.startswith("pairs"):
            prefix = name.removeprefix("pairs_")
            rows[name] = numbered(prefix, [_preference(r) for r in part])
        else:
            prefix = name.removesuffix("_prompts")
            rows[name] = numbered(prefix, [{"prompt": r.prompt, "family": FAMILY} for r in part])
    return rows


def _preference(record: Record) -> Row:
    return {
        "prompt": record.prompt,
        "chosen": record.chosen,
        "rejected": record.rejected,
        "votes_chosen": 1,
        "votes_total": 1,
        "family": FAMILY,
    }
