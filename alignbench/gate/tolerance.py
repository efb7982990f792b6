"""How large a difference must be to matter, by metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from alignbench.errors import UserError, nearest
from alignbench.results.metrics import METRIC

TRAINING, SPENT = "training", "spent"


@dataclass(frozen=True)
class Tolerance:
    """`amount` in the metric's unit, or in percent of the baseline's value."""

    amount: float
    percent: bool = False

    def of(self, baseline: float) -> float:
        """The tolerance in the metric's unit, for this value of the baseline."""
        return self.amount / 100 * abs(baseline) if self.percent else self.amount

    def __str__(self) -> str:
        return f"{self.amount:g}{'%' if self.percent else ''}"


_OF_TEN, _OF_HUNDRED, _SHARE = Tolerance(0.3), Tolerance(5.0), Tolerance(0.02)
DEFAULTS: Mapping[str, Tolerance] = {
    "reward_proxy": _OF_TEN,
    "reward_gold": _OF_TEN,
    "reward_gold_rm": _OF_TEN,
    "reward_model": Tolerance(10, percent=True),
    "perplexity": Tolerance(2, percent=True),
    "perplexity_reference": Tolerance(2, percent=True),
    "distinct_1": _SHARE,
    "distinct_2": _SHARE,
    "distinct_3": _SHARE,
    "self_bleu": _SHARE,
    "helpful": _OF_TEN,
    "harmless": _OF_TEN,
    "honest": _OF_TEN,
    "win_rate_vs_base": _OF_HUNDRED,
    "win_rate_vs_sft": _OF_HUNDRED,
    "win_rate_vs_baseline": _OF_HUNDRED,
    "length": Tolerance(10, percent=True),
    "characters": Tolerance(10, percent=True),
    "kl_from_sft": Tolerance(20, percent=True),
    "refusal_rate": _OF_HUNDRED,
    "over_refusal_rate": _OF_HUNDRED,
    "harmful_rate": Tolerance(2.0),
    TRAINING: Tolerance(5, percent=True),
    SPENT: Tolerance(5, percent=True),
}
OTHER = Tolerance(5, percent=True)
"""Of a metric that the table above does not have."""


@dataclass(frozen=True)
class Tolerances:
    """The defaults with what a user changed."""

    changed: Mapping[str, Tolerance] = field(default_factory=dict)

    @classmethod
    def parse(cls, settings: Iterable[str]) -> Tolerances:
        """From texts such as ``reward_gold=0.5`` or ``training=10%``.

        Raises:
            UserError: every one that names no metric or no amount of 0 or more.
        """
        changed: dict[str, Tolerance] = {}
        problems = []
        known = {*METRIC, TRAINING, SPENT}
        for setting in settings:
            name, _, text = setting.partition("=")
            amount = _amount(text)
            if name not in known:
                listed = ", ".join(sorted(known))
                problems.append(
                    f'--tolerance {setting}: no metric "{name}"{nearest(name, known)}; '
                    f"metrics: {listed}"
                )
            elif amount is None:
                problems.append(
                    f"--tolerance {setting}: the amount must be a number of 0 or more, in the "
                    f"metric's unit or in percent of the baseline, such as {name}={DEFAULTS[name]}"
                    if name in DEFAULTS
                    else f"--tolerance {setting}: the amount must be a number of 0 or more"
                )
            elif name in (TRAINING, SPENT) and not amount.percent:
                problems.append(
                    f"--tolerance {setting}: {name} has many units: give percent ({text}%)"
                )
            else:
                changed[name] = amount
        if problems:
            raise UserError(*problems)
        return cls(changed)

    def __getitem__(self, name: str) -> Tolerance:
        return self.changed.get(name, DEFAULTS.get(name, OTHER))


def metric_names(text: str | None) -> tuple[str, ...] | None:
    """Metrics from an option such as ``reward_gold,honest``; "none" are none, None the defaults."""
    if text is None:
        return None
    return () if text == "none" else tuple(name.strip() for name in text.split(","))


def check_metrics(names: Iterable[str]) -> None:
    """Whether deciding metrics exist.

    Raises:
        UserError: every name that is none.
    """
    listed = ", ".join(sorted(METRIC))
    problems = [
        f'deciding: no metric "{name}"{nearest(name, METRIC)}; metrics: {listed}'
        for name in names
        if name not in METRIC
    ]
    if problems:
        raise UserError(*problems)


def _amount(text: str) -> Tolerance | None:
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        return None
    return Tolerance(value, text.endswith("%")) if 0 <= value < float("inf") else None
