"""Entries whose noise and effects are known, from one fake run's."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from alignbench.gate.source import load_run
from alignbench.leaderboard.schema import Entry, Observations, Seen, Signal, Trained
from tests.finished_run import finished_run

METHODS = ("ppo", "dpo")
PROMPTS = 12


@cache
def fake_entry() -> Entry:
    with TemporaryDirectory() as folder:
        return load_run(str(finished_run(Path(folder)).folder)).entry


def made(
    seeds: list[int],
    random: int,
    reward: float = 0.0,
    push: float = 0.8,
    entropy: float = 4.0,
    steps: float = 40.0,
) -> Entry:
    """The fake run's entry with other seeds of its methods.

    Gold reward is 5 + the prompt's part + the seed's (sd 0.05) + noise (sd 0.1) + `reward`; the
    signals `push` (sd 0.05), `entropy` (sd 0.05) and `kl` (lognormal) are what the methods logged.
    """
    fake, draw = fake_entry(), np.random.default_rng(random)
    parts = np.random.default_rng(0).normal(0, 1, PROMPTS)
    assert fake.observations is not None
    rows: dict[str, Seen] = {}
    training: dict[str, Trained] = {}
    n = len(seeds)
    for row in METHODS:
        own = draw.normal(0, 0.05, (n, 1)) + draw.normal(0, 0.1, (n, PROMPTS))
        cells = 5 + parts + own + reward
        rows[row] = Seen(
            seeds=seeds,
            means={"reward_gold": cells.mean(1).tolist()},
            prompts={"reward_gold": cells.tolist()},
        )
        logged = {
            "push": draw.normal(push, 0.05, n),
            "entropy": draw.normal(entropy, 0.05, n),
            "kl": np.exp(draw.normal(-3, 0.3, n)),
        }
        training[row] = Trained(
            seeds=seeds,
            quantities={name: signal(values) for name, values in logged.items()},
            spent={"optimizer_steps": [steps] * n},
        )
    others = {row: seen for row, seen in fake.observations.rows.items() if row not in METHODS}
    observed = Observations(prompts=fake.observations.prompts, rows={**others, **rows})
    cells_of = [
        cell.model_copy(update={"n_seeds": n}) if cell.model in METHODS else cell
        for cell in fake.rows
        if cell.metric == "reward_gold"
    ]
    certificate = {**fake.certificate, "seeds": seeds}
    return fake.model_copy(
        update={
            "rows": cells_of,
            "observations": observed,
            "training": training,
            "certificate": certificate,
        }
    )


def signal(values: np.ndarray) -> Signal:
    found = values.tolist()
    return Signal(first=found, mean=found, rms=np.abs(values).tolist())


def with_signal(entry: Entry, row: str, name: str, values: list[float]) -> Entry:
    """The entry with one quantity of one row replaced."""
    assert entry.training is not None
    trained = entry.training[row]
    quantities = {**trained.quantities, name: signal(np.array(values))}
    replaced = trained.model_copy(update={"quantities": quantities})
    return entry.model_copy(update={"training": {**entry.training, row: replaced}})
