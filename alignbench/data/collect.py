"""Collecting preferences: K answers of a model to each prompt, ranked, as all pairs.

Ouyang et al. 2022 (arXiv:2203.02155), section 3.5. What is written is what source `preference`
reads back.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignbench.data.checks import normalise
from alignbench.data.found import Unusable, check_unicode
from alignbench.errors import UserError
from alignbench.files import write_atomic

if TYPE_CHECKING:
    from alignbench.data.labellers import Labeller

Row = dict[str, Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Sampling:
    """How answers are sampled; `samples` to each prompt."""

    samples: int = 4
    temperature: float = 1.0
    max_prompt_tokens: int = 512
    max_response_tokens: int = 256
    seed: int = 0
    batch_size: int = 32
    precision: str = "fp32"


@dataclass(frozen=True)
class Asked:
    """A prompt and the different, complete answers to it."""

    prompt: str
    answers: tuple[str, ...]


def read_prompts(path: Path, limit: int | None = None) -> tuple[list[str], Counter[str]]:
    """The prompts of a text file, one a line, or of a data file (``prompt``, ``instruction``, …).

    Returns:
        Each prompt once, and how many were left out for which reason.

    Raises:
        UserError: an unreadable file, or no prompt in it.
    """
    from alignbench.scoring.records import PROMPT, read_entries, texts

    if path.name.lower().endswith((".txt", ".text")):
        try:
            given = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a readable UTF-8 text file: {error}") from error
    else:
        given = texts(read_entries(path), PROMPT)[1]
    kept: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    for prompt in (text.strip() for text in given):
        try:
            check_unicode(prompt)
        except Unusable as error:
            left_out[str(error)] += 1
            continue
        if not prompt:
            left_out["empty prompts"] += 1
        elif normalise(prompt) in kept:
            left_out["repeated prompts"] += 1
        else:
            kept[normalise(prompt)] = prompt
    prompts = list(kept.values())
    if not prompts:
        raise UserError(f"{path}: no prompt in it")
    if limit is not None and len(prompts) > limit:
        left_out["prompts beyond --limit"] = len(prompts) - limit
    return prompts[:limit], left_out


def sample(
    folder: Path, prompts: Sequence[str], how: Sampling, progress: Progress
) -> tuple[list[Asked], Counter[str], str]:
    """Answers of a model, deterministic in the seed.

    An answer cut at the limit is left out: as text it would look complete. So are empty ones, and
    what the model says twice to one prompt counts once.

    Args:
        folder: a transformers folder, or a stage's output with one in ``model/``.

    Returns:
        Prompts with two answers or more; how much was left out and why; the weights' digest.

    Raises:
        UserError: no model there, or no prompt with two answers.
    """
    from alignbench.models.load import load_policy, weights_digest
    from alignbench.models.text import encode_prompt

    inner = folder / "model"
    model, tokenizer = load_policy(inner if inner.is_dir() else folder, how.precision)
    encoded = [(prompt, encode_prompt(tokenizer, prompt)) for prompt in prompts]
    fitting = [(prompt, ids) for prompt, ids in encoded if len(ids) <= how.max_prompt_tokens]
    texts = _texts(model, tokenizer, [ids for _, ids in fitting], how, progress)
    asked, left_out = complete([prompt for prompt, _ in fitting], texts, how.samples)
    left_out["prompts too long"] = len(encoded) - len(fitting)
    if not asked:
        told = ", ".join(f"{count} {reason}" for reason, count in (+left_out).items())
        raise UserError(
            f"no prompt has two different complete answers ({told}); raise --samples, "
            "--max-response-tokens or --temperature"
        )
    return asked, +left_out, weights_digest(model)


def _texts(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], how: Sampling, progress: Progress
) -> list[str | None]:
    """`how.samples` answers to each prompt, in order; None: cut at the limit."""
    from alignbench.models.decode import Decoding
    from alignbench.models.decode import sample as decode
    from alignbench.models.text import decode_response

    completions = decode(
        model,
        tokenizer,
        [ids for ids in prompts for _ in range(how.samples)],
        Decoding(how.max_response_tokens, how.temperature),
        how.seed,
        how.batch_size,
        progress,
    )
    return [decode_response(tokenizer, one.ids) if one.finished else None for one in completions]


def complete(
    prompts: Sequence[str], texts: Sequence[str | None], samples: int
) -> tuple[list[Asked], Counter[str]]:
    """The different, complete answers to each prompt that has two or more of them.

    Args:
        texts: `samples` to each prompt, in order; None: cut at the limit.

    Returns:
        The prompts, and how much was left out for which reason.
    """
    asked: list[Asked] = []
    left_out: Counter[str] = Counter()
    for n, prompt in enumerate(prompts):
        own = texts[n * samples : (n + 1) * samples]
        whole = [text for text in own if text is not None]
        different = dict.fromkeys(filter(None, whole))
        left_out["answers cut at the limit"] += len(own) - len(whole)
        left_out["empty answers"] += whole.count("")
        left_out["repeated answers"] += len(whole) - whole.count("") - len(different)
        if len(different) > 1:
            asked.append(Asked(prompt, tuple(different)))
        else:
            left_out["prompts with fewer than two answers"] += 1
    return asked, left_out


def pairs(
    asked: Sequence[Asked], labeller: Labeller, progress: Progress
) -> tuple[list[Row], Counter[str]]:
    """All pairs of answers to each prompt that the labeller does not hold equal.

    Returns:
        Rows of source `preference`, and what was left out: answers that the labeller did not rate,
        and pairs that it holds equal.
    """
    from alignbench.methods.rlaif import ranked_pairs

    rows: list[Row] = []
    left_out: Counter[str] = Counter()
    for each, utilities in zip(asked, labeller.utilities(asked, progress), strict=True):
        rated = [
            (answer, value)
            for answer, value in zip(each.answers, utilities, strict=True)
            if value is not None
        ]
        left_out["answers without a rating"] += len(each.answers) - len(rated)
        answers, values = [a for a, _ in rated], [v for _, v in rated]
        found = ranked_pairs(each.prompt, answers, values)
        left_out["pairs held equal"] += len(rated) * (len(rated) - 1) // 2 - len(found)
        rows += [pair_row(p.prompt, p.chosen, p.rejected) for p in found]
    return _numbered("pair", rows), +left_out


def pair_row(prompt: str, chosen: str, rejected: str, votes: int = 1, total: int = 1) -> Row:
    """A row of source `preference`, but for its id."""
    return {
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "votes_chosen": votes,
        "votes_total": total,
    }


def to_rank(asked: Sequence[Asked]) -> list[Row]:
    """Rows for people: ``ranks`` has a gap for each answer; 1 is the best, ties are allowed."""
    return _numbered(
        "prompt",
        [
            {
                "prompt": each.prompt,
                "answers": list(each.answers),
                "ranks": [None] * len(each.answers),
            }
            for each in asked
        ],
    )


def _numbered(prefix: str, rows: Sequence[Row]) -> list[Row]:
    from alignbench.data.dataset import numbered

    return numbered(prefix, rows)


def write(out: Path, rows: Sequence[Row], meta: Row) -> None:
    """Write the rows, and ``FILE.meta.json`` that says where they come from; both appear whole.

    Raises:
        UserError: the folder is not there or cannot be written to.
    """
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    try:
        write_atomic(out.with_name(f"{out.name}.meta.json"), json.dumps(meta, indent=1) + "\n")
        write_atomic(out, text)
    except OSError as error:
        raise UserError(f"--out: cannot write {out}: {error.strerror or error}") from error


def about(folder: Path, digest: str, how: Sampling) -> Row:
    """What `write` records of the model."""
    return {"model": {"path": str(folder), "weights": digest}, "sampling": asdict(how)}
