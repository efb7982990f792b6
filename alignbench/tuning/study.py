"""Which parameters to try next, as a pure function of what has been tried.

Every trial is a stage of its own, in a process of its own, so there is no study that lives on:
each stage builds it anew from the earlier trials' results. The proposals are those of Optuna's
tree-structured Parzen estimator (Bergstra et al. 2011).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alignbench.tuning.space import Choice, Dimension, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

STARTUP_TRIALS = 5
"""Trials before the estimator proposes; those after the first are random. Optuna's 10 would leave
it nothing to do at the usual numbers of trials. Not a function of the number of trials, so that
adding trials keeps the earlier ones."""
DIGITS = 4
"""Significant digits of a proposed number, so that people can write it down."""
REDRAWS = 20


@dataclass(frozen=True)
class Tried:
    """An earlier trial: its parameters, and its value or None if it failed."""

    params: Mapping[str, Any]
    value: float | None


def propose(
    space: Space, own: Mapping[str, Any], earlier: Sequence[Tried], seed: int
) -> dict[str, Any]:
    """Parameters of trial number ``len(earlier)``, none of which has been tried as a whole.

    Args:
        space: what varies.
        own: the recipe's own values of it; they are the first trial.
        earlier: all trials before this one, in order.
        seed: of the search.
    """
    if not earlier:
        return {name: own[name] for name in space}
    tried = [dict(trial.params) for trial in earlier]
    for attempt in range(REDRAWS):
        params = _ask(space, earlier, _stream(seed, len(earlier), attempt))
        if params not in tried:
            return params
    return _untried(space, tried, _stream(seed, len(earlier), REDRAWS)) or params


def _stream(seed: int, number: int, attempt: int) -> int:
    """A seed of its own for every trial: with one for all, each would draw the same at random."""
    return int(np.random.SeedSequence([seed, number, attempt]).generate_state(1)[0])


def _ask(space: Space, earlier: Sequence[Tried], seed: int) -> dict[str, Any]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: _distribution(dimension) for name, dimension in space.items()}
    sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in earlier:
        study.add_trial(_frozen(space, distributions, trial))
    asked = study.ask(distributions).params
    return {name: _value(dimension, asked[name]) for name, dimension in space.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(dimension, Choice):
        # By place, since Optuna takes no lists and holds True and 1 for the same choice.
        return CategoricalDistribution(range(len(dimension.values)))
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _value(dimension: Dimension, asked: Any) -> Any:
    if isinstance(dimension, Choice):
        return dimension.values[asked]
    if dimension.whole:
        return int(asked)
    return float(min(max(float(f"{asked:.{DIGITS}g}"), dimension.low), dimension.high))


def _frozen(space: Space, distributions: dict[str, BaseDistribution], trial: Tried) -> FrozenTrial:
    import optuna

    params = {name: trial.params[name] for name in space}
    for name, dimension in space.items():
        if isinstance(dimension, Choice):
            params[name] = dimension.index(params[name])
    if trial.value is None:
        # Pruned, not failed: the estimator ranks it below all others, where it would otherwise
        # take no notice and go on proposing what diverges.
        return optuna.create_trial(
            state=optuna.trial.TrialState.PRUNED, params=params, distributions=distributions
        )
    return optuna.create_trial(params=params, distributions=distributions, value=trial.value)


def _untried(space: Space, tried: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any] | None:
    """A random setting of a finite space that has not been tried; None if there is none."""
    values: list[tuple[Any, ...]] = []
    for dimension in space.values():
        if isinstance(dimension, Choice):
            values.append(dimension.values)
        elif dimension.whole:
            values.append(tuple(range(int(dimension.low), int(dimension.high) + 1)))
        else:
            return None
    settings = (dict(zip(space, point, strict=True)) for point in itertools.product(*values))
    left = [setting for setting in settings if setting not in tried]
    return random.Random(seed).choice(left) if left else None
