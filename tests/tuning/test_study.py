from __future__ import annotations

import math
import warnings
from typing import Any

import pytest

from alignbench.tuning.space import parse
from alignbench.tuning.study import STARTUP_TRIALS, Tried, propose

SPACE = {
    "rate": parse({"low": 1e-4, "high": 1e-2, "log": True}),
    "kl": parse([0.02, 0.05, [1, 2]]),
    "n": parse({"low": 2, "high": 5}),
}
OWN = {"rate": 3e-3, "kl": 0.05, "n": 3, "other": "kept out"}


def search(trials: int, value: Any, space: Any = SPACE, own: Any = OWN, seed: int = 0) -> list[Any]:
    tried: list[Tried] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna warns of what it is not meant to be given
        for _ in range(trials):
            params = propose(space, own, tried, seed)
            tried.append(Tried(params, value(params)))
    return tried


def test_the_first_trial_is_the_recipes_own() -> None:
    assert propose(SPACE, OWN, [], 0) == {"rate": 3e-3, "kl": 0.05, "n": 3}


def test_proposals_lie_in_the_space_and_are_never_tried_twice() -> None:
    tried = search(12, lambda p: -p["rate"])
    settings = [trial.params for trial in tried]
    for params in settings:
        assert all(params[name] in SPACE[name] for name in SPACE)
        assert isinstance(params["n"], int)
        assert float(f"{params['rate']:.4g}") == params["rate"]
    assert all(a != b for i, a in enumerate(settings) for b in settings[:i])
    # The random ones before the estimator begins differ too, though each stage starts afresh.
    assert len({trial.params["rate"] for trial in tried[:STARTUP_TRIALS]}) == STARTUP_TRIALS


def test_the_same_past_gives_the_same_proposal_and_another_seed_another() -> None:
    past = search(6, lambda p: -p["rate"])
    assert propose(SPACE, OWN, past, 0) == propose(SPACE, OWN, past, 0)
    assert propose(SPACE, OWN, past, 0) != propose(SPACE, OWN, past, 1)


def test_adding_trials_keeps_the_earlier_ones() -> None:
    assert search(9, lambda p: p["rate"])[:6] == search(6, lambda p: p["rate"])


def test_values_guide_the_search() -> None:
    """Late proposals lie nearer to the optimum than random ones would.

    Of x uniform in [-6, 0] the mean of abs(x + 2) is (16 / 2 + 4 / 2) / 6 = 5/3.
    """
    space = {"rate": parse({"low": 1e-6, "high": 1.0, "log": True})}

    def value(params: Any) -> float:
        return -abs(math.log10(params["rate"] / 1e-2))

    late = []
    for seed in range(5):
        tried = search(24, value, space, {"rate": 1e-6}, seed)
        late += [value(trial.params) for trial in tried[-8:]]
    assert -sum(late) / len(late) < 0.7 * 5 / 3


def test_failures_are_learnt_from() -> None:
    """What diverges above a rate is proposed less and less."""
    space = {"rate": parse({"low": 0.0, "high": 1.0})}
    failed = []
    for seed in range(3):
        tried = search(20, lambda p: None if p["rate"] > 0.5 else 1.0, space, {"rate": 0.9}, seed)
        failed += [trial.value is None for trial in tried[10:]]
    assert sum(failed) / len(failed) < 0.3


@pytest.mark.parametrize(
    ("space", "own", "size"),
    [
        ({"kl": parse([1, 2, 3]), "n": parse({"low": 0, "high": 1})}, {"kl": 1, "n": 0}, 6),
        ({"flag": parse([True, 1])}, {"flag": 1}, 2),
    ],
)
def test_a_small_space_is_searched_to_the_end(space: Any, own: Any, size: int) -> None:
    tried = search(size, lambda p: 0.0, space, own)
    assert len({repr(sorted(trial.params.items())) for trial in tried}) == size
