"""Bradley-Terry strengths from a table of pairwise wins.

P(i beats j) = 1 / (1 + exp(s_j - s_i)) (Bradley and Terry 1952; Zermelo 1929); a tie is half a win
for each. The likelihood has a finite maximum exactly where every player can be reached from every
other along "has beaten" (Ford 1957). Where that fails, some strengths are infinite or cannot be
compared: the table falls into strongly connected components, each of which has a finite maximum of
its own (games between components only say which one is infinitely stronger), and `problems` says
so in words.

Comparisons of one prompt are not independent of each other, nor are those of one training seed.
`bradley_terry_by_prompt` therefore resamples prompts, and adds what seeds contribute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignbench.stats.bootstrap import Bootstrap, Floats, percentile_interval
from alignbench.stats.draws import Draws
from alignbench.stats.fields import Fields
from alignbench.stats.inputs import confidence_level, numbers
from alignbench.stats.strength_fit import (
    Components,
    chunks,
    connected,
    maximise,
    open_bounds,
    refitted,
)

Known = tuple[float | None, ...]
#: Low and high bounds of a component, from the numbers of its players and their strengths.
Bounds = Callable[[list[int], Floats], tuple[Floats, Floats]]

#: Elo points per unit of log-strength: 400 points are odds of ten to one.
ELO = 400 / np.log(10)


@dataclass(frozen=True)
class BradleyTerry(Fields):
    """Strengths of k players; each tuple has k entries, None where there is no finite estimate.

    Attributes:
        names: of the players.
        strengths: log-strengths, centred at 0 within each component.
        low, high: percentile bounds over resampled comparisons (or prompts); None where a bound
            is open (too many resamples in which the player wins or loses everything), where
            resamples do not differ, or not asked for.
        elo: 1000 + 400 / ln 10 * strength.
        win_probability: k x k, row beats column; None for players of different components.
        components: strongly connected groups of players, as indices.
        n_comparisons: ties counted once.
        problems: what could not be estimated and why; empty if everything could.
    """

    names: tuple[str, ...]
    strengths: Known
    low: Known
    high: Known
    elo: Known
    win_probability: tuple[Known, ...]
    components: Components
    n_comparisons: float
    problems: tuple[str, ...]


def bradley_terry(
    wins: Any,
    ties: Any = None,
    *,
    names: Sequence[str] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> BradleyTerry:
    """Maximum-likelihood strengths with bootstrap intervals.

    Args:
        wins: k x k, [i, j] = times i beat j; halves are allowed (a tie is half a win for each). The
            diagonal must be 0.
        ties: k x k, symmetric, [i, j] = ties of i and j, where they are not in `wins`. Better so:
            a resample then draws a tie whole, not two half wins.
        names: of the players, for messages; their numbers by default.
        resamples: of all comparisons, with replacement; 0 for no intervals.
        confidence, seed: of the intervals.

    Raises:
        ValueError: not square, negative or not finite, a diagonal that is not 0, ties that are not
            symmetric, or names that do not fit.
    """
    table = _table(wins, "wins")
    tied = np.zeros_like(table) if ties is None else _table(ties, "ties")
    k = len(table)
    if tied.shape != table.shape or not np.array_equal(tied, tied.T):
        raise ValueError(f"ties must be symmetric and {k} x {k} as wins are")
    level = confidence_level(confidence)

    def bounds(own: list[int], centre: Floats) -> tuple[Floats, Floats]:
        at = np.ix_(own, own)
        return open_bounds(_draws(table[at], tied[at], centre, resamples, seed), level)

    return _estimated(table + tied / 2, names, bounds if resamples else None)


def bradley_terry_by_prompt(
    wins: Any,
    *,
    names: Sequence[str] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> BradleyTerry:
    """The strengths of all comparisons together, with intervals over prompts and training seeds.

    Prompts are drawn with replacement and the strengths fitted again. Of the seeds' part there are
    too few to draw: it is the strengths' first-order response to each seed's comparisons, used as
    a mean over seeds is (`stats.bootstrap`), widening for few of them included (`stats.draws`).

    Args:
        wins: shape (seeds, prompts, k, k), [s, p, i, j] = times i beat j on prompt p with the
            models of seed s, a tie being half a win for each. Comparisons of models that have no
            such seed are spread evenly over the seeds. The diagonals must be 0.
        names, resamples, confidence, seed: as in `bradley_terry`.

    Returns:
        As `bradley_terry` does, for the sum over seeds and prompts. No bounds with fewer than two
        prompts on which a component played.

    Raises:
        ValueError: another shape, or as `bradley_terry` does.
    """
    games = np.asarray(wins, dtype=np.float64)
    if games.ndim != 4 or not games.shape[0]:
        raise ValueError(f"wins must have shape (seeds, prompts, k, k), not {games.shape}")
    if not (games >= 0).all():
        raise ValueError("wins must hold counts from 0, all known")
    total = _table(games.sum(axis=(0, 1)), "wins")
    level = confidence_level(confidence)

    def bounds(own: list[int], centre: Floats) -> tuple[Floats, Floats]:
        among = games[:, :, own][:, :, :, own]
        among = among[:, among.any(axis=(0, 2, 3))]
        return _bounds_by_prompt(among, centre, resamples, level, seed)

    return _estimated(total, names, bounds if resamples else None)


def _estimated(total: Floats, names: Sequence[str] | None, bounds: Bounds | None) -> BradleyTerry:
    """The result for a table of wins, each component by itself; without `bounds`, without any."""
    k = len(total)
    called = tuple(str(name) for name in (names if names is not None else range(k)))
    if len(called) != k:
        raise ValueError(f"names has {len(called)} entries for {k} players")
    components = connected(total)
    strengths, low, high = np.full((3, k), np.nan)
    for group in components:
        if len(group) > 1:
            own = list(group)
            strengths[own] = maximise(total[np.ix_(own, own)][None])[0]
            if bounds is not None:
                low[own], high[own] = bounds(own, strengths[own])
    return BradleyTerry(
        called,
        _known(strengths),
        _known(low),
        _known(high),
        _known(1000 + ELO * strengths),
        _probabilities(strengths, components),
        components,
        float(total.sum()),
        _problems(total, components, called),
    )


def _table(values: Any, name: str) -> Floats:
    table = numbers(values, name, 2)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not len(table):
        raise ValueError(f"{name} must be a square table, not shape {table.shape}")
    if not np.isfinite(table).all() or (table < 0).any():
        raise ValueError(f"{name} must hold counts from 0, all known")
    if table.sum() > 1e15:
        raise ValueError(f"{name} holds more comparisons ({table.sum():.3g}) than can be counted")
    if np.diag(table).any():
        raise ValueError(f"{name} must have 0 on its diagonal: nobody plays against himself")
    return table


def _draws(table: Floats, tied: Floats, centre: Floats, resamples: int, seed: int) -> Floats:
    """Strengths in resamples of the comparisons, as `refitted` gives them."""
    k = len(table)
    upper = np.triu(tied)
    cells = np.concatenate([table.ravel(), upper.ravel()])
    n = round(cells.sum())
    random = np.random.default_rng(seed)
    shares = cells / cells.sum()
    return np.concatenate(
        [
            refitted(_games(random.multinomial(n, shares, size), k), centre)
            for size in chunks(resamples, k)
        ]
    )


def _games(counts: NDArray[np.int64], k: int) -> Floats:
    """Wins of some resamples, shape (resamples, k, k); `counts` holds wins, then ties."""
    half = counts[:, k * k :].reshape(-1, k, k) / 2
    games: Floats = counts[:, : k * k].reshape(-1, k, k) + half + half.transpose(0, 2, 1)
    return games


def _bounds_by_prompt(
    games: Floats, centre: Floats, resamples: int, confidence: float, seed: int
) -> tuple[Floats, Floats]:
    """Bounds of a component's strengths; games (seeds, prompts, k, k) where somebody played."""
    _, prompts, k, _ = games.shape
    low, high = np.full(k, np.nan), np.full(k, np.nan)
    if prompts < 2:
        return low, high
    bootstrap = Bootstrap(prompts, resamples, seed)
    flat = games.sum(axis=0).reshape(prompts, k * k).T
    drawn = bootstrap.ratios(flat, np.ones_like(flat)).reshape(resamples, k, k)
    parts = np.split(drawn, np.cumsum(chunks(resamples, k))[:-1])
    draws = np.concatenate([refitted(part, centre) for part in parts])
    first, last = open_bounds(draws, confidence)
    response = _response(games, centre)
    for j in range(k):
        # A draw that could be anything counts on the side that is asked about.
        for bound, end, closed, side in (
            (low, first, -np.inf, "low"),
            (high, last, np.inf, "high"),
        ):
            if np.isfinite(end[j]):
                own = np.where(np.isnan(draws[:, j]), closed, draws[:, j])
                seeds = _with_seeds(bootstrap, own, centre[j], response[:, :, j])
                found = percentile_interval(float(centre[j]), seeds, prompts, confidence)[side]
                bound[j] = np.nan if found is None else found
    return low, high


def _response(games: Floats, strengths: Floats) -> Floats:
    """First-order change of each strength with each cell's games, shape (seeds, prompts, k).

    One Newton step from the strengths of all games (the influence function of the maximum of a
    likelihood), scaled so that the mean over the cells is the change; it is 0 over all of them.
    """
    p = 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))
    played = games + games.transpose(0, 1, 3, 2)
    score = (games - played * p).sum(axis=3)
    inner = played.sum(axis=(0, 1)) * p * (1 - p)
    information = np.diag(inner.sum(axis=1)) - inner
    # The pseudo-inverse leaves out the common shift, which no comparison can tell.
    change: Floats = score @ np.linalg.pinv(information, hermitian=True)
    change *= games.shape[0] * games.shape[1]
    return change


def _with_seeds(bootstrap: Bootstrap, own: Floats, centre: float, response: Floats) -> Draws:
    """Draws over prompts with the seeds' part of the first-order `response` (seeds, prompts)."""
    known = own[np.isfinite(own)]
    cells = centre + response
    seeds = bootstrap.means(cells, 0, (-np.inf, np.inf))
    over_prompts = cells.mean(axis=0)[None]
    linear = bootstrap.ratios(over_prompts, np.ones_like(over_prompts))[:, 0]
    # Few enough to lie beyond the bound, infinite draws only have to stay at their end.
    values = np.clip(own, known.min(), known.max()) + np.asarray(seeds) - linear
    return Draws.of(values, centre, (-np.inf, np.inf), seeds.n_units, seeds.seeds)


def _known(values: Floats) -> Known:
    return tuple(float(value) if np.isfinite(value) else None for value in values)


def _probabilities(strengths: Floats, components: Components) -> tuple[Known, ...]:
    k = len(strengths)
    table = np.full((k, k), np.nan)
    for group in components:
        own = strengths[list(group)]
        with np.errstate(invalid="ignore"):
            table[np.ix_(group, group)] = 1 / (1 + np.exp(own[None, :] - own[:, None]))
    np.fill_diagonal(table, 0.5)
    return tuple(_known(row) for row in table)


def _problems(total: Floats, components: Components, names: tuple[str, ...]) -> tuple[str, ...]:
    if len(components) < 2:
        return ()
    found = []
    for group in components:
        who = ", ".join(names[i] for i in group)
        others = [i for i in range(len(names)) if i not in group]
        won, lost = total[np.ix_(group, others)].sum(), total[np.ix_(others, group)].sum()
        single = len(group) == 1
        if not won and not lost:
            what = "never played" if single else "played only among themselves"
        elif not lost:
            what = "won every comparison" if single else "won every comparison with others"
        elif not won:
            what = "lost every comparison" if single else "lost every comparison with others"
        else:
            what = "won all against some players and lost all against the others"
        end = "no finite estimate" if single else "strengths are relative to this group only"
        found.append(f"{who}: {what}; {end}")
    return tuple(found)
