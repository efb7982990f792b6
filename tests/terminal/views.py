"""Snapshots of made-up runs."""

from __future__ import annotations

from typing import Any

from alignbench.terminal.snapshot import Said, Snapshot, Spent, StageView

METHODS = ("reinforce", "ppo", "dpo", "grpo", "rlaif", "kto", "ipo", "simpo", "orpo", "online_dpo")
SHARED = ("data", "base", "sft", "reward/proxy", "reward/gold", "reference")
REPORT = ("results", "cards", "report")


def names(methods: tuple[str, ...] = METHODS, seeds: int = 3) -> list[str]:
    runs = [f"{row}/{seed}" for row in methods for seed in range(seeds)]
    rated = [f"{kind}/{run}" for kind in ("generate", "score", "judge") for run in runs]
    return [*SHARED, *(f"train/{run}" for run in runs), *rated, *REPORT]


def running(name: str, **given: Any) -> StageView:
    known = {
        "seconds": 100.0,
        "share": 0.46,
        "left": 125.0,
        "spent": Spent(share=0.46, currency="flops"),
        "metrics": {"loss": 0.0312, "reward": 1.24, "KL": 0.38},
    }
    return StageView(name=name, state="running", **{**known, **given})


def run(
    going: tuple[str, ...] = (), done: int = 0, notes: tuple[Said, ...] = (), **changed: StageView
) -> Snapshot:
    """The first `done` stages are finished, `going` run, and all others wait."""
    stages = []
    for place, name in enumerate(names()):
        view = StageView(name=name)
        if name in going:
            view = running(name)
        elif place < done:
            spent = Spent(share=1.02, currency="flops") if name.startswith("train/") else None
            view = StageView(name=name, state="finished", seconds=10.0, spent=spent)
        stages.append(changed.get(name, view))
    return Snapshot(updated=1.8e9, elapsed=843.0, left=4800.0, stages=tuple(stages), notes=notes)


BUSY = run(
    ("train/ppo/0", "train/ppo/1"),
    done=9,
    notes=(
        Said(kind="warning", message="61 prompts too long, left out", stages=("train/dpo/0", "x")),
        Said(kind="health error", message="The mean reward fell. " * 9, stages=("train/dpo/0",)),
        *(Said(kind="warning", message=f"note {i}", stages=("sft",)) for i in range(6)),
    ),
)
