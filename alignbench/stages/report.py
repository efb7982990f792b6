"""Stage `report`: report.html from `results` and the responses (`generate/<row>/<seed>`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignbench.files import read_jsonl
from alignbench.report.html import write_report
from alignbench.results.schema import load
from alignbench.stage import StageContext

Record = dict[str, Any]
PROMPTS_PER_FAMILY = 3


def run(ctx: StageContext) -> None:
    """Write report.html."""
    results = load(ctx.inputs["results"] / "results.json")
    samples = pick_samples(ctx.inputs, results["models"])
    write_report(results, samples, ctx.out / "report.html")


def pick_samples(inputs: Mapping[str, Path], models: list[str]) -> list[Record]:
    """The first prompts of each family with every model's first sample, for the sample browser.

    Args:
        inputs: must hold ``generate/<row>/<seed>`` folders with responses.jsonl; the lowest seed
            of each row is shown.
        models: rows in the order of the table.

    Returns:
        Dicts ``{"prompt_id", "family", "prompt", "responses": [{"model", "response",
        "finished"}]}``.
    """
    shown: dict[str, Record] = {}
    per_family: dict[str, int] = defaultdict(int)
    for model in models:
        seeds = [
            int(name.split("/")[2]) for name in inputs if name.startswith(f"generate/{model}/")
        ]
        if not seeds:
            continue
        folder = inputs[f"generate/{model}/{min(seeds)}"]
        for line in read_jsonl(folder / "responses.jsonl"):
            if line["sample"] != 0:
                continue
            key = line["prompt_id"]
            if key not in shown:
                # Every row has the same prompts, so the first row decides which are shown.
                if model != models[0] or per_family[line["family"]] >= PROMPTS_PER_FAMILY:
                    continue
                per_family[line["family"]] += 1
                shown[key] = {
                    "prompt_id": key,
                    "family": line["family"],
                    "prompt": line["prompt"],
                    "responses": [],
                }
            shown[key]["responses"].append(
                {"model": model, "response": line["response"], "finished": line["finished"]}
            )
    return list(shown.values())
