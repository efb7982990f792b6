"""What must be equal for rows to be comparable, with digests of all of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignbench.digest import sha256_file
from alignbench.errors import UserError

DATA_FILES = (
    "sft.jsonl",
    "train_prompts.jsonl",
    "pairs_proxy.jsonl",
    "pairs_gold.jsonl",
    "eval_prompts.jsonl",
    "heldout.jsonl",
)


def certificate(
    recipe: Mapping[str, Any],
    data: Path,
    sft: Path,
    trained: Mapping[str, Mapping[str, Any]],
    judge: str,
) -> dict[str, Any]:
    """Digests of start weights, tokenizer, chat template, data and prompts; decoding; judge.

    Args:
        recipe: the resolved recipe.
        data: output folder of the data stage.
        sft: output folder of the SFT stage.
        trained: metrics.json of every trained model, by ``<row>/<seed>``.
        judge: name of the judge.

    Raises:
        UserError: methods that did not start from the SFT checkpoint of this run, by name.
    """
    start = _read(sft / "metrics.json")["weights_digest"]
    _check_start(start, trained)
    evaluation = recipe["evaluation"]
    return {
        "start_weights": start,
        "tokenizer": sha256_file(sft / "model" / "tokenizer.json"),
        "chat_template": _chat_template(sft / "model"),
        "data": {name: sha256_file(data / name) for name in DATA_FILES if (data / name).exists()},
        "decoding": {
            "samples_per_prompt": evaluation["samples_per_prompt"],
            "temperature": evaluation["temperature"],
            "top_p": evaluation["top_p"],
            "seed": evaluation["seed"],
            "max_prompt_tokens": recipe["max_prompt_tokens"],
            "max_response_tokens": recipe["max_response_tokens"],
        },
        "judge": judge,
        "trained_weights": {run: metrics["weights_digest"] for run, metrics in trained.items()},
    }


def _check_start(start: str, trained: Mapping[str, Mapping[str, Any]]) -> None:
    strangers: Sequence[str] = [
        run
        for run, metrics in trained.items()
        if metrics["start_digest"] != start or (metrics.get("reference_digest") or start) != start
    ]
    if strangers:
        raise UserError(
            f"results: {', '.join(strangers)} did not start from (or refer to) this run's SFT "
            "checkpoint; their rows cannot share a table. Remove their stages from the store and "
            "run again."
        )


def _chat_template(model: Path) -> str | None:
    """Digest of the chat template file, or of the template in the tokenizer's config; or None."""
    if (model / "chat_template.jinja").exists():
        return sha256_file(model / "chat_template.jinja")
    template = _read(model / "tokenizer_config.json").get("chat_template")
    if template is None:
        return None
    import hashlib

    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
