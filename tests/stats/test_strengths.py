from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from alignbench.stats import BradleyTerry, bradley_terry, bradley_terry_by_prompt, strength_fit


def test_two_players_by_hand() -> None:
    # 3 to 1: P = 3/4, log-odds log 3, half to each side of 0; Elo 400 log10(3) = 190.85 apart.
    found = bradley_terry([[0, 3], [1, 0]], resamples=0)
    assert found.strengths == pytest.approx((np.log(3) / 2, -np.log(3) / 2))
    assert found.win_probability[0] == pytest.approx((0.5, 0.75))
    assert found.elo == pytest.approx((1000 + 95.4243, 1000 - 95.4243), abs=1e-3)
    assert found.problems == ()
    assert found["n_comparisons"] == 4


def test_three_players_by_hand() -> None:
    # A chain: a-b 2:1, b-c 4:1, a and c never met. Each meeting is fitted exactly: a - b = log 2,
    # b - c = log 4, so (3, 2, 0) log 2 above c, and less the mean 5/3 log 2.
    found = bradley_terry([[0, 2, 0], [1, 0, 4], [0, 1, 0]], resamples=0)
    third = np.log(2) / 3
    assert found.strengths == pytest.approx((4 * third, third, -5 * third), abs=1e-9)
    assert sum(s for s in found.strengths if s is not None) == pytest.approx(0.0, abs=1e-12)
    assert found.win_probability[0][2] == pytest.approx(8 / 9)


def random_table(k: int, seed: int, games: int = 30) -> Any:
    random = np.random.default_rng(seed)
    s = random.normal(size=k)
    p = 1 / (1 + np.exp(s[None, :] - s[:, None]))
    upper = np.triu(random.binomial(games, p), 1)
    return upper + np.tril(games - upper.T, -1)


@pytest.mark.parametrize(("k", "seed"), [(3, 0), (6, 1), (15, 2)])
def test_equals_direct_optimisation(k: int, seed: int) -> None:
    wins = random_table(k, seed)

    def loss(s: Any) -> tuple[float, Any]:
        gap = s[:, None] - s[None, :]
        q = 1 / (1 + np.exp(gap))
        gradient = -(wins * q).sum(1) + (wins * q).sum(0)
        return float((wins * np.logaddexp(0, -gap)).sum()), gradient

    best = minimize(loss, np.zeros(k), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    found = bradley_terry(wins, resamples=0)
    assert found.strengths == pytest.approx(best - best.mean(), abs=1e-6)


def test_a_tie_is_half_a_win_for_each() -> None:
    split = bradley_terry([[0, 4, 1], [2, 0, 3], [2, 2, 0]], resamples=0)
    ties = bradley_terry(
        [[0, 3, 0], [1, 0, 2], [1, 1, 0]], [[0, 2, 2], [2, 0, 2], [2, 2, 0]], resamples=0
    )
    assert ties.strengths == pytest.approx(split.strengths)
    assert ties.n_comparisons == 8 + 6


def test_a_player_who_wins_everything_has_no_number() -> None:
    found = bradley_terry([[0, 5, 5], [0, 0, 3], [0, 1, 0]], names=["best", "b", "c"], resamples=50)
    assert found.strengths[0] is None
    assert (found.low[0], found.high[0], found.elo[0]) == (None, None, None)
    assert found.strengths[1:] == pytest.approx((np.log(3) / 2, -np.log(3) / 2))
    assert found.win_probability[0] == (0.5, None, None)
    assert found.components == ((0,), (1, 2))
    assert found.problems[0] == "best: won every comparison; no finite estimate"
    assert found.problems[1].startswith("b, c: lost every comparison with others")


def test_disconnected_groups_are_estimated_apart_and_said() -> None:
    wins = np.zeros((5, 5))
    wins[0, 1], wins[1, 0], wins[2, 3], wins[3, 2] = 2, 1, 1, 4
    found = bradley_terry(wins, resamples=0)
    assert found.components == ((0, 1), (2, 3), (4,))
    assert found.strengths[:4] == pytest.approx(
        (np.log(2) / 2, -np.log(2) / 2, -np.log(4) / 2, np.log(4) / 2)
    )
    assert found.win_probability[0][2] is None
    assert "0, 1: played only among themselves" in found.problems[0]
    assert found.problems[2] == "4: never played; no finite estimate"


def test_a_player_in_the_middle_who_separates() -> None:
    # 0 beats 1 beats 2, always.
    found = bradley_terry([[0, 3, 0], [0, 0, 3], [0, 0, 0]], resamples=0)
    assert found.strengths == (None, None, None)
    assert "won all against some players and lost all" in found.problems[1]


def test_intervals_cover_and_are_reproducible() -> None:
    random = np.random.default_rng(0)
    truth = np.array([0.6, 0.2, -0.2, -0.6])
    p = 1 / (1 + np.exp(truth[None, :] - truth[:, None]))
    hits = []
    for number in range(120):
        upper = np.triu(random.binomial(40, p), 1)
        wins = upper + np.tril(40 - upper.T, -1)
        found = bradley_terry(wins, resamples=200, seed=number)
        hits += [
            low <= s <= high
            for low, s, high in zip(found.low, truth, found.high, strict=True)
            if low is not None and high is not None
        ]
    assert len(hits) == 480
    assert 0.92 <= np.mean(hits) <= 0.975
    again = bradley_terry(wins, resamples=200, seed=number)
    assert again == found
    assert again.low != bradley_terry(wins, resamples=200, seed=number + 1).low


def test_an_open_side_is_none() -> None:
    # One loss in 20: in 1/e of the resamples there is none, and the strength is infinite.
    found = bradley_terry([[0, 19], [1, 0]], resamples=500)
    assert found.strengths[0] == pytest.approx(np.log(19) / 2)
    assert found.high[0] is None
    assert found.low[1] is None


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(0, 1000))
def test_renaming_players_renames_results(k: int, seed: int) -> None:
    wins = random_table(k, seed, games=9)
    order = np.random.default_rng(seed).permutation(k)
    one = bradley_terry(wins, resamples=0)
    other = bradley_terry(wins[np.ix_(order, order)], resamples=0)
    assert [one.strengths[i] for i in order] == pytest.approx(list(other.strengths), abs=1e-7)


def test_expected_wins_equal_observed_wins() -> None:
    wins = random_table(8, 5)
    found = bradley_terry(wins, resamples=0)
    p = np.array(found.win_probability, dtype=float)
    np.fill_diagonal(p, 0)
    assert ((wins + wins.T) * p).sum(1) == pytest.approx(wins.sum(1), abs=1e-6)


@pytest.mark.parametrize(
    ("wins", "options", "message"),
    [
        ([], {}, "square"),
        ([[0, 1]], {}, "square"),
        ([1, 2], {}, "dimension"),
        ([[0, -1], [1, 0]], {}, "counts from 0"),
        ([[0, None], [1, 0]], {}, "counts from 0"),
        ([[1, 1], [1, 0]], {}, "diagonal"),
        ([[0, 1e300], [1, 0]], {}, "more comparisons"),
        ([["0", "1"], ["1", "0"]], {}, "must be numbers"),
        ([[0, 1], [1, 0]], {"ties": [[0, 1], [2, 0]]}, "symmetric"),
        ([[0, 1], [1, 0]], {"ties": [[0]]}, "symmetric"),
        ([[0, 1], [1, 0]], {"names": ["a"]}, "names has 1"),
        ([[0, 1], [1, 0]], {"confidence": 95}, "confidence"),
    ],
)
def test_bad_input_is_named(wins: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bradley_terry(wins, **options)


def test_one_player_and_no_games() -> None:
    assert bradley_terry([[0]]).strengths == (None,)
    assert bradley_terry(np.zeros((3, 3))).strengths == (None, None, None)


def test_resamples_in_chunks_are_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    wins = [[0, 30, 40], [20, 0, 25], [10, 25, 0]]
    whole = bradley_terry(wins, resamples=400)
    monkeypatch.setattr(strength_fit, "CHUNK", 9 * 50)
    parts = bradley_terry(wins, resamples=400)
    assert parts.strengths == whole.strengths
    assert parts.low == pytest.approx(whole.low)  # the same random numbers, drawn in order


def width(found: BradleyTerry, i: int = 0) -> float:
    low, high = found.low[i], found.high[i]
    assert low is not None
    assert high is not None
    return high - low


def spread_over_prompts(wins: Any, prompts: int, seeds: int = 1) -> Any:
    """The same table on every prompt with every seed."""
    return np.broadcast_to(np.asarray(wins, dtype=float), (seeds, prompts, 3, 3))


def test_by_prompt_three_players_by_hand() -> None:
    # The chain of `test_three_players_by_hand`, its comparisons dealt to prompts: the same fit.
    games = np.zeros((1, 4, 3, 3))
    games[0, 0, 0, 1] = games[0, 1, 0, 1] = games[0, 1, 1, 0] = 1
    games[0, 2, 1, 2], games[0, 3, 1, 2], games[0, 3, 2, 1] = 2, 2, 1
    found = bradley_terry_by_prompt(games, names=["a", "b", "c"], resamples=50)
    third = np.log(2) / 3
    assert found.strengths == pytest.approx((4 * third, third, -5 * third), abs=1e-9)
    assert found.n_comparisons == 8
    # a beat b on two prompts and lost on one of these: no resample without prompt 1 has a bound.
    assert found.high[0] is None


def test_by_prompt_two_players_standard_error_by_hand() -> None:
    # The strength is half the log-odds of the mean share w: its standard error over prompts is
    # sd(w) / sqrt(P) / (2 w (1 - w)), here of 50 shares of 0.8 and 50 of 0.4.
    games = np.zeros((1, 100, 2, 2))
    games[0, :, 0, 1] = [8] * 50 + [4] * 50
    games[0, :, 1, 0] = 10 - games[0, :, 0, 1]
    found = bradley_terry_by_prompt(games, resamples=4000)
    assert found.strengths[0] == pytest.approx(np.log(0.6 / 0.4) / 2)
    half = 1.984 * (0.2 * np.sqrt(100 / 99)) / 10 / (2 * 0.6 * 0.4)
    assert width(found) / 2 == pytest.approx(half, rel=0.05)
    assert width(found, 1) == pytest.approx(width(found), rel=0.05)


def test_many_comparisons_of_few_prompts_are_few() -> None:
    random = np.random.default_rng(0)
    games = np.zeros((1, 12, 3, 3))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        games[0, :, i, j] = random.integers(2, 19, 12)  # of 20 on each prompt
        games[0, :, j, i] = 20 - games[0, :, i, j]
    together = bradley_terry_by_prompt(games)
    alone = bradley_terry(games.sum(axis=(0, 1)))
    assert together.strengths == pytest.approx(alone.strengths)
    for i in range(3):
        assert width(together, i) > 2 * width(alone, i)
    # The same comparisons on ten times as many prompts.
    more = np.repeat(games / 10, 10, axis=1)
    apart = bradley_terry_by_prompt(more)
    assert width(apart) < width(together) / 2.5
    assert bradley_terry_by_prompt(games) == together
    assert bradley_terry_by_prompt(games, seed=1).low != together.low


def test_seeds_that_differ_widen_the_interval() -> None:
    random = np.random.default_rng(1)
    widths = []
    for effect in (0.0, 0.3):
        games = np.zeros((3, 60, 2, 2))
        for seed, shift in enumerate((-effect, 0.0, effect)):
            games[seed, :, 0, 1] = random.binomial(4, 0.5 + shift, 60)
        games[:, :, 1, 0] = 4 - games[:, :, 0, 1]
        found = bradley_terry_by_prompt(games)
        widths.append(width(found))
    assert widths[1] > 4 * widths[0]


def test_by_prompt_says_what_cannot_be_estimated() -> None:
    # c lost everything; a and b have met on two prompts, once each way.
    games = np.zeros((1, 3, 3, 3))
    games[0, 0, 0, 1] = games[0, 1, 1, 0] = games[0, 2, 0, 2] = games[0, 2, 1, 2] = 1
    found = bradley_terry_by_prompt(games, names=["a", "b", "c"], resamples=200)
    assert found.components == ((0, 1), (2,))
    assert found.strengths == (0.0, 0.0, None)
    # Half of all resamples hold one of their two prompts only.
    assert (found.low[:2], found.high[:2]) == ((None, None), (None, None))
    assert "c: lost every comparison; no finite estimate" in found.problems


def test_prompts_that_do_not_differ_have_no_bounds() -> None:
    same = spread_over_prompts([[0, 2, 1], [1, 0, 2], [1, 1, 0]], 5, seeds=2)
    found = bradley_terry_by_prompt(same, resamples=50)
    assert None not in found.strengths
    assert set(found.low + found.high) == {None}
    one = bradley_terry_by_prompt(same[:, :1], resamples=50)
    assert one.strengths == pytest.approx(found.strengths)
    assert set(one.low + one.high) == {None}
    nobody = bradley_terry_by_prompt(np.zeros((1, 0, 3, 3)))
    assert nobody.strengths == (None, None, None)


@pytest.mark.parametrize(
    ("wins", "message"),
    [
        (np.zeros((2, 2)), "shape"),
        (np.zeros((0, 3, 2, 2)), "shape"),
        (np.full((1, 1, 2, 2), -1.0), "counts from 0"),
        (np.full((1, 1, 2, 2), np.nan), "counts from 0"),
        (np.ones((1, 1, 2, 2)), "diagonal"),
        (np.zeros((1, 1, 2, 3)), "square"),
    ],
)
def test_bad_tables_by_prompt_are_named(wins: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bradley_terry_by_prompt(wins)
