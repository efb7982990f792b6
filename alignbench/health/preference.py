"""Rules over the log of a method that trains on preference pairs (DPO and its relatives)."""

from __future__ import annotations

from alignbench.health.rule import Rule, Symptom, TrainingRecord
from alignbench.health.series import Change, NotCheckedError, Series

STUCK = 0.6
"""Share of pairs ranked as labelled: "low" in the seed (2.4, technique 1). Default runs reach 0.7,
which is as much as the sandbox's annotators agree on."""
STILL_RISING = 0.05
"""A sure rise of the accuracy by this much from the first to the last third: slow, not stuck."""
CHOSEN_FELL = 5.0
"""Nats per answer: the bound of `policy.KL_HIGH`, on the chosen answers. Default runs: about 1."""
MARGIN = 4.6
"""log(0.99 / 0.01): the model holds each label for 99 % certain, which no annotator is."""


def _stuck(record: TrainingRecord) -> Symptom | None:
    if any("reward_raw" in line for line in record.log):
        raise NotCheckedError(
            "its pairs are fresh samples, each seen once: `reward_flat` says whether it learns"
        )
    accuracy = Series.of(record.log, "rewards_accuracies")
    first, _, last = accuracy.thirds()
    if last.high >= STUCK:
        if last.mean >= STUCK:
            return None
        raise NotCheckedError(
            f"the accuracy of {last.mean:.1%} is within its noise of {STUCK:.0%} (up to "
            f"{last.high:.1%})"
        )
    rise = Change.between(first, last)
    if rise.low > 0 and rise.value >= STILL_RISING:
        return None
    return Symptom(
        f"Only {last.mean:.1%} of pairs are ranked as labelled over steps {last.first} to "
        f"{last.last} ({first.mean:.1%} over the first third): chance is 50 %.",
        {**first.evidence("first_third"), **last.evidence("last_third")},
        "error" if last.low <= 0.5 else "warning",
    )


def _chosen_falling(record: TrainingRecord) -> Symptom | None:
    if record.metrics.get("reference_digest") is None:
        raise NotCheckedError("the method holds no reference to compare with")
    beta = record.value("beta")
    if not beta:
        raise NotCheckedError("the method has no beta, so its rewards are not log-ratios")
    chosen = Series.of(record.log, "rewards_chosen").thirds()[2]
    if chosen.high / beta >= -CHOSEN_FELL:
        return None
    return Symptom(
        f"The chosen answers lost {-chosen.mean / beta:.1f} nats of log-probability against the "
        f"start model (steps {chosen.first} to {chosen.last}): the margin grows because the "
        "rejected ones lose more, and probability goes to answers in no pair.",
        {**chosen.evidence("rewards_chosen"), "beta": beta},
    )


def _margins_exploding(record: TrainingRecord) -> Symptom | None:
    if record.method == "ipo":
        raise NotCheckedError("IPO's loss has a target margin of its own")
    margin = Series.of(record.log, "rewards_margins").thirds()[2]
    if margin.low <= MARGIN:
        return None
    return Symptom(
        f"The reward margin between chosen and rejected is {margin.mean:.1f} over steps "
        f"{margin.first} to {margin.last}: the model takes the labels for over 99 % certain, and "
        "has learnt their noise.",
        margin.evidence("rewards_margins"),
    )


PREFERENCE_RULES: tuple[Rule[TrainingRecord], ...] = (
    Rule(
        "preference_stuck",
        "`rewards_accuracies`, last third, and its change since the first",
        f"surely below {STUCK:.0%}, and no rise by {STILL_RISING:.0%} or more",
        "Check the labels (`data.annotators`, agreement); lower {beta}, raise {learning_rate}; "
        "check SFT.",
        "2.4 problem 1; cheat sheet, DPO accuracy at 50 %",
        _stuck,
    ),
    Rule(
        "chosen_falling",
        "`rewards_chosen` / beta, last third",
        f"a loss of more than {CHOSEN_FELL:g} nats per answer",
        "Raise {beta} (0.1 to 0.3), lower {learning_rate}, lower {epochs}.",
        "2.4 problem 2",
        _chosen_falling,
    ),
    Rule(
        "margins_exploding",
        "`rewards_margins`, last third",
        f"above {MARGIN:g} (labels held for 99 % certain)",
        "Lower {epochs}, lower {learning_rate}, or take `loss: robust` "
        "with a label_smoothing above 0.",
        "2.4, technique 4, and problem 2",
        _margins_exploding,
    ),
)
