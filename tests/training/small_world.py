"""Data, SFT and reward model on disk, for running the stage of a method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alignbench.files import write_jsonl
from alignbench.models.load import load_policy, weights_digest
from alignbench.stage import StageContext
from alignbench.stages import method
from tests import tiny


def make(tmp_path: Path, pairs: int = 24) -> dict[str, Path]:
    """Input folders of a method's stage: data, sft and reward."""
    sft = tiny.start_folder(tmp_path).parent
    digest = weights_digest(load_policy(sft / "model")[0])
    (sft / "metrics.json").write_text(json.dumps({"weights_digest": digest}))
    data = tmp_path / "data"
    data.mkdir()
    write_jsonl(data / "train_prompts.jsonl", [{"prompt": p} for p in tiny.PROMPTS * 4])
    write_jsonl(
        data / "pairs_proxy.jsonl",
        [
            {"id": f"p{n}", "prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected}
            for n, p in enumerate(tiny.pairs(n=pairs))
        ],
    )
    reward = tiny.reward_folder(tmp_path)
    (reward / "metrics.json").write_text(json.dumps({"train_pairs": 40}))
    return {"sft": sft, "data": data, "reward": reward}


def smaller(row: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options with half the micro-batch and twice the accumulation."""
    halved = {"batch_size": options["batch_size"] // 2} if row == "dpo" else {}
    return {**options, **halved, "gradient_accumulation": 2}


def run_method(
    out: Path, inputs: dict[str, Path], row: str, options: dict[str, Any], **config: Any
) -> tuple[Path, list[str]]:
    """Run the stage of a method into `out`; returns it and the stage's notes."""
    out.mkdir()
    notes: list[str] = []
    settings = {
        "row": row,
        "options": options,
        "seed": 7,
        "max_prompt_tokens": 8,
        "max_response_tokens": tiny.LIMIT,
        "precision": "fp32",
        "labeller": "reward_model",
        "budget": None,
        "snapshots": [],
        **config,
    }
    context = StageContext(
        out, settings, inputs, lambda *_, **__: None, lambda kind, text: notes.append(text)
    )
    method.run(context)
    return out, notes
