"""Put a freshly pre-trained base model into the package (see `alignbench.pretrained`)."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch

from alignbench.models.load import load_policy, save_model
from alignbench.pretrained import FOLDER, provenance


def ship(config: dict[str, object], base: Path, data: Path) -> None:
    """Replace the shipped checkpoint by the output of stage `base` made with `config`."""
    model, tokenizer = load_policy(base / "model")
    shutil.rmtree(FOLDER, ignore_errors=True)
    # Half precision halves the package; the rounding is part of what ships, and its digest is
    # that of the rounded weights.
    save_model(model.to(torch.float16), tokenizer, FOLDER / "model")
    shutil.copy(base / "log.jsonl", FOLDER / "log.jsonl")
    made = {
        "provenance": provenance(config["model"], config["pretrain"], data),  # type: ignore[arg-type]
        "measured": json.loads((base / "metrics.json").read_text(encoding="utf-8")),
    }
    text = json.dumps(made, indent=1, sort_keys=True) + "\n"
    (FOLDER / "record.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    manifest, base, data = map(Path, sys.argv[1:])
    ship(json.loads(manifest.read_text(encoding="utf-8"))["config"], base, data)
