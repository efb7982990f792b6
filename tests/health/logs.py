"""Synthetic records in the shape of the default recipe's finished runs (cpu profile)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from alignbench.health import RewardModelRecord, TrainingRecord

Line = dict[str, Any]
Shape = Callable[[np.ndarray], np.ndarray]
DPO_OPTIONS = {"learning_rate": 2e-4, "beta": 0.1, "epochs": 1, "label_smoothing": 0.0}


def saturating(start: float, end: float) -> Shape:
    """From `start` towards `end`, fast at first, as rewards and KL go; x is the share done."""
    return lambda x: start + (end - start) * (1 - np.exp(-2.5 * x)) / (1 - np.exp(-2.5))


def _log(shapes: dict[str, tuple[Shape, float]], lines: int, stride: int, seed: int) -> list[Line]:
    """Lines of shape + noise; `shapes` maps a quantity to (mean as a function of x, deviation)."""
    generator = np.random.default_rng(seed)
    x = np.linspace(0, 1, lines)
    columns = {
        name: shape(x) * np.ones(lines) + noise * generator.standard_normal(lines)
        for name, (shape, noise) in shapes.items()
    }
    log: list[Line] = [
        {"step": (i + 1) * stride, **{name: float(v[i]) for name, v in columns.items()}}
        for i in range(lines)
    ]
    return [*log, {"step": lines * stride, "epoch": 1.0, "train_loss": 0.1}]


POLICY: dict[str, tuple[Shape, float]] = {
    "reward_raw": (saturating(0.3, 1.0), 0.13),
    "reward_spread": (saturating(0.83, 0.76), 0.08),
    "rewards__score_mean": (saturating(0.0, 0.7), 0.13),
    "finished": (lambda x: 0.995 - 0.005 * x, 0.003),
    "sampled_entropy": (saturating(0.34, 0.28), 0.025),
    "sequence_kl": (saturating(0.0, 1.3), 0.15),
    "clip_ratio_region_mean": (lambda x: 0.004 * (1 - x), 0.001),
    "frac_reward_zero_std": (lambda x: 0 * x, 0.0),
}
PREFERENCE: dict[str, tuple[Shape, float]] = {
    "rewards_accuracies": (saturating(0.6, 0.72), 0.05),
    "rewards_margins": (saturating(0.0, 0.21), 0.03),
    "rewards_chosen": (lambda x: -0.1 * x, 0.03),
    "rewards_rejected": (lambda x: -0.3 * x, 0.04),
    "entropy": (saturating(0.32, 0.26), 0.03),
}
REWARD_METRICS = {
    "accuracy": 0.70, "length_bias": 0.014, "length_correlation": 0.27, "longer_wins_labels": 0.553,
    "longer_wins_predicted": 0.567, "score_mean": -0.9, "score_std": 1.02, "valid_pairs": 667,
    "train_pairs": 4000,
}  # fmt: skip


def policy(lines: int = 70, seed: int = 0, **changes: tuple[Shape, float] | None) -> TrainingRecord:
    """A record of GRPO; `changes` replace quantities, None takes one out."""
    log = _log(_changed(POLICY, changes), lines, 1, seed)
    options = {"learning_rate": 4e-4, "kl_coef": 0.05, "rollouts": lines, "temperature": 1.0}
    return TrainingRecord("grpo", 0, "grpo", options, log)


def preference(
    lines: int = 50, seed: int = 0, **changes: tuple[Shape, float] | None
) -> TrainingRecord:
    """A record of DPO, likewise."""
    log = _log(_changed(PREFERENCE, changes), lines, 5, seed)
    return TrainingRecord("dpo", 0, "dpo", DPO_OPTIONS, log, {"reference_digest": "4d4a"})


def reward_model(lines: int = 50, seed: int = 0, **changes: Any) -> RewardModelRecord:
    """A record of the proxy reward model; `changes` are of its metrics."""
    log = _log({"accuracy": (saturating(0.57, 0.72), 0.035)}, lines, 5, seed)
    options = {"learning_rate": 1.5e-3, "epochs": 2, "batch_size": 32, "minimum_accuracy": 0.7}
    return RewardModelRecord("proxy", options, log, {**REWARD_METRICS, **changes})


def _changed(
    shapes: dict[str, tuple[Shape, float]], changes: dict[str, tuple[Shape, float] | None]
) -> dict[str, tuple[Shape, float]]:
    together = {**shapes, **changes}
    return {name: shape for name, shape in together.items() if shape is not None}
