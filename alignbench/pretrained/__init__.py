"""The sandbox's pre-trained base model that ships with the package, and how it is made.

Pre-training it takes about as long as everything else together, so recipes may take it from here
(``pretrain: {shipped: true}``). It was made by the stage `base`, and it is used only for exactly
the model, settings and corpus that it was made from: `mismatch` says which of them differs.

To make it again: run the recipe with ``--set pretrain.shipped=false``, then
``python -m alignbench.pretrained RUN/manifests/base.json STORE/base-KEY STORE/data-KEY``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alignbench.digest import sha256_file

FOLDER = Path(__file__).parent / "sandbox"


def provenance(model: dict[str, Any], pretrain: dict[str, Any], data: Path) -> dict[str, Any]:
    """What determines a pre-trained model: its shape, its settings and its corpus' digest."""
    settings = {key: value for key, value in pretrain.items() if key != "shipped"}
    return {
        "model": model,
        "pretrain": settings,
        "corpus_sha256": sha256_file(data / "corpus.jsonl"),
    }


def record() -> dict[str, Any]:
    """``{"provenance": ..., "measured": ...}`` of the shipped checkpoint."""
    found: dict[str, Any] = json.loads((FOLDER / "record.json").read_text(encoding="utf-8"))
    return found


def mismatch(wanted: dict[str, Any]) -> str | None:
    """The first part of `wanted` (see `provenance`) in which the shipped checkpoint differs."""
    made = record()["provenance"]
    return next((part for part in wanted if made.get(part) != wanted[part]), None)
