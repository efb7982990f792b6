"""The data stage: every split of a recipe's data source as JSON lines, checked for leaks.

Files in the output folder (one JSON object a line):

- ``corpus.jsonl`` {"text"}: pre-training documents (sandbox only);
- ``heldout.jsonl`` {"text"}: text for perplexity, never trained on;
- ``sft.jsonl``, ``sft_valid.jsonl`` {"prompt", "response", "family"};
- ``train_prompts.jsonl``, ``valid_prompts.jsonl`` (for tuning), ``eval_prompts.jsonl`` {"id",
  "prompt", "family"}, and "harmful" (whether it deserves a refusal) where the source knows;
- ``pairs_proxy.jsonl``, ``pairs_gold.jsonl`` and ``…_valid.jsonl`` {"id", "prompt", "chosen",
  "rejected", "votes_chosen", "votes_total", "family"};
- ``summary.json``: counts, families, annotator agreement.

No prompt is in two files.
"""

from __future__ import annotations

from pydantic import TypeAdapter

from alignbench.data import checks
from alignbench.data.dataset import Dataset
from alignbench.recipe.data_sections import DataSection, ExternalData, SandboxData
from alignbench.stage import StageContext

_CONFIG: TypeAdapter[SandboxData | ExternalData] = TypeAdapter(DataSection)


def build(config: SandboxData | ExternalData) -> Dataset:
    """All files of a source, not yet checked."""
    if isinstance(config, SandboxData):
        from alignbench.sandbox import dataset

        return dataset.build(config)
    from alignbench.data import sources

    return sources.build(config)


def run(ctx: StageContext) -> None:
    """Build, check and write the data of ``ctx.config["data"]`` (a dump of `recipe.data`).

    Raises:
        UserError: an unreadable source, too few prompts, or a leak between splits.
    """
    dataset = build(_CONFIG.validate_python(ctx.config["data"]))
    for note in dataset.notes:
        ctx.note("warning", note)
    checks.check(dataset.rows)
    dataset.write(ctx.out)
    ctx.progress(1, 1)
