"""What a run would do: keys, which stages are in the store already, and what the rest may cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from alignbench.digest import canonical_json
from alignbench.keys import kind_of, stage_key
from alignbench.stage import Stage
from alignbench.store import Artifact, Corrupt, Store, is_stale


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a run.

    Attributes:
        stage: the stage.
        key: its key in the store.
        cached: it is in the store, made from what its inputs are now (sizes checked; the content
            is verified when the run uses it).
        seconds_estimate: mean wall seconds of past runs with this config, whatever the seed; None
            when the store knows none.
    """

    stage: Stage
    key: str
    cached: bool
    seconds_estimate: float | None


def plan(stages: Sequence[Stage], store: Store) -> list[PlannedStage]:
    """Plan `stages`, which must be in topological order.

    Raises:
        ValueError: names that repeat or are malformed, or an input that comes later or not at all.
        UserError: a module that a stage needs cannot be found.
    """
    keys = _keys(stages)
    cached: dict[str, Artifact] = {}
    for stage in stages:
        inputs = {role: cached.get(name) for role, name in stage.inputs.items()}
        present = {role: given for role, given in inputs.items() if given is not None}
        found = _peek(store, stage, keys[stage.name]) if len(present) == len(inputs) else None
        if found is not None and not is_stale(found, present):
            cached[stage.name] = found
    if len(cached) == len(stages):
        estimates = {name: float(found.manifest["seconds"]) for name, found in cached.items()}
    else:
        estimates = _estimates(stages, store.manifests())
    return [
        PlannedStage(stage, keys[stage.name], stage.name in cached, estimates.get(stage.name))
        for stage in stages
    ]


def _keys(stages: Sequence[Stage]) -> dict[str, str]:
    keys: dict[str, str] = {}
    for stage in stages:
        kind_of(stage.name)
        if stage.name in keys:
            raise ValueError(f"two stages are named {stage.name}")
        late = sorted(set(stage.inputs.values()) - keys.keys())
        if late:
            raise ValueError(
                f"stage {stage.name} needs {', '.join(late)}, which must come before it"
            )
        keys[stage.name] = stage_key(
            stage, {role: keys[name] for role, name in stage.inputs.items()}
        )
    return keys


def _peek(store: Store, stage: Stage, key: str) -> Artifact | None:
    try:
        return store.peek(kind_of(stage.name), key)
    except Corrupt:
        return None  # the run names it, sets it aside and makes it again


def _estimates(stages: Sequence[Stage], manifests: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Stage name -> mean seconds of past runs of the same work, whatever their seed or inputs.

    Stages of the same kind with another config say nothing: a smoke test's training takes a
    second, and the real one minutes.
    """
    past: dict[str, list[float]] = {}
    for manifest in manifests:
        work = _work(str(manifest["stage"]), manifest["config"])
        past.setdefault(work, []).append(float(manifest["seconds"]))
    works = {stage.name: _work(stage.name, stage.config) for stage in stages}
    return {name: fmean(past[work]) for name, work in works.items() if work in past}


def _work(stage_name: str, config: Mapping[str, Any]) -> str:
    """What a stage does, as text: its kind and config without the seed."""
    settings = {key: value for key, value in config.items() if key != "seed"}
    return f"{kind_of(stage_name)} {canonical_json(settings)!r}"


def remaining_paths(
    planned: Sequence[PlannedStage], costs: Mapping[str, float]
) -> dict[str, float]:
    """Stage name -> cost of the most expensive chain from it (included) to the end."""
    longest = {item.stage.name: 0.0 for item in planned}
    for item in reversed(planned):
        name = item.stage.name
        longest[name] += costs[name]
        for needed in item.stage.inputs.values():
            longest[needed] = max(longest[needed], longest[name])
    return longest
