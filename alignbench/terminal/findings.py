"""Health findings as soon as a training ends, before the `results` stage makes them all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignbench.health import Finding
    from alignbench.store import Artifact


def early_findings(stage: str, made: Artifact, reward: Artifact | None) -> Sequence[Finding]:
    """What the health rules say about one finished stage; nothing where it trained nothing.

    The rules over budget curves need all rows: they come with the results.

    Args:
        stage: its name.
        made: its artifact.
        reward: the reward model that it trained against, if any.
    """
    from alignbench.health import (
        RewardModelRecord,
        TrainingRecord,
        diagnose,
        diagnose_reward_model,
    )

    kind, _, rest = stage.partition("/")
    config: Mapping[str, Any] = made.manifest["config"]
    if kind == "reward" and "reward_model" in config:
        record = RewardModelRecord.read(made.folder, rest, config["reward_model"])
        return diagnose_reward_model(record).findings
    if kind == "train" and "options" in config:
        proxy = None if reward is None else _metrics(reward.folder)
        options = _options(config["options"], _metrics(made.folder))
        return diagnose(TrainingRecord.read(made.folder, options, proxy)).findings
    return ()


def _options(options: Mapping[str, Any], metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options it was trained with: the recipe's, and the best trial's over them."""
    from alignbench.tuning.space import replaced

    tuned = metrics.get("tuned")
    return replaced(options, tuned["params"]) if tuned else options


def _metrics(folder: Path) -> Mapping[str, Any]:
    metrics: Mapping[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return metrics
