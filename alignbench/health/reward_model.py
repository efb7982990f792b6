"""Rules over a reward model's held-out figures and its log."""

from __future__ import annotations

import math

from alignbench.health.rule import RewardModelRecord, Rule, Symptom
from alignbench.health.series import MIN_VALUES, NotCheckedError, Series, Window, Z

ACCURACY = 0.7
"""Held-out accuracy from which the seed goes on to PPO (2.2, summary; cheat sheet). The recipe's
`reward_model.minimum_accuracy` takes its place where it is known."""
ACCURACY_POOR = 0.6
"""Below: problem 1 of 2.2, "nearly the same as guessing"."""
SPREAD = 0.25
"""Raw score deviation. Two answers then differ by 0.35 typically, a preference of 59 to 41 %: less
than the accuracy asked for. Default reward models: 1.0 to 1.1."""
LONGER_WINS = 0.8
"""Share of held-out pairs in which the longer answer scores higher: "long answers always win"
(2.2, problem 3). Default reward models: 0.54 to 0.57; the mirrored share counts for short ones."""
LENGTH_CORRELATION = 0.7
"""Spearman's, between score and length: half of the variance in rank. Default: 0.16 to 0.27."""
LENGTH_BIAS = 0.1
"""Longer answers win this much more often by score than by label."""
OVERFIT = 0.15
"""Accuracy in training (last third of the log) less held-out accuracy. The seed's example is 0.35
(2.2, problem 4); default reward models: 0.01 to 0.04."""


def _figure(record: RewardModelRecord, name: str) -> float:
    value = record.metrics.get(name)
    if value is None:
        raise NotCheckedError(f"the reward model's metrics have no {name}")
    return float(value)


def _share_error(share: float, count: float) -> float:
    """Standard error of a share, with one win and one loss added (0 of 40 is not certain)."""
    kept = (share * count + 1) / (count + 2)
    return math.sqrt(kept * (1 - kept) / (count + 2))


def _accuracy_low(record: RewardModelRecord) -> Symptom | None:
    accuracy, pairs = _figure(record, "accuracy"), _figure(record, "valid_pairs")
    wanted = record.options.get("minimum_accuracy", ACCURACY)
    if accuracy >= wanted:
        return None
    error = _share_error(accuracy, pairs)
    if accuracy + Z * error >= wanted:
        raise NotCheckedError(
            f"{accuracy:.1%} of {pairs:.0f} held-out pairs cannot be told from {wanted:.0%}"
        )
    words = "nearly guessing" if accuracy < ACCURACY_POOR else f"{wanted:.0%} wanted"
    return Symptom(
        f"It ranks only {accuracy:.1%} of {pairs:.0f} held-out pairs as labelled ({words}).",
        {"accuracy": accuracy, "accuracy_error": error, "valid_pairs": int(pairs)},
        "error" if accuracy < ACCURACY_POOR else "warning",
    )


def _scores_alike(record: RewardModelRecord) -> Symptom | None:
    spread, pairs = _figure(record, "score_std"), _figure(record, "valid_pairs")
    if pairs < MIN_VALUES:
        raise NotCheckedError(f"{pairs:.0f} held-out pairs, at least {MIN_VALUES} needed")
    if spread >= SPREAD:
        return None
    return Symptom(
        f"Its scores of held-out answers lie within a standard deviation of {spread:.2g} around "
        f"{_figure(record, 'score_mean'):.2f}: it hardly tells answers apart.",
        {"score_std": spread, "score_mean": _figure(record, "score_mean")},
    )


def _length_bias(record: RewardModelRecord) -> Symptom | None:
    predicted = _figure(record, "longer_wins_predicted")
    labels = _figure(record, "longer_wins_labels")
    correlation = _figure(record, "length_correlation")
    pairs = _figure(record, "valid_pairs")
    error = Z * _share_error(predicted, pairs)
    extreme = max(predicted, 1 - predicted) - error > LONGER_WINS
    # Fisher's z has variance 1 / (n - 3); the two answers of a pair count as one here.
    least = math.tanh(
        math.atanh(min(abs(correlation), 0.999999)) - Z / math.sqrt(max(pairs - 3, 1))
    )
    beyond = abs(predicted - labels) - error * math.sqrt(2) > LENGTH_BIAS
    if not (extreme or beyond or least > LENGTH_CORRELATION):
        return None
    kind = "longer" if predicted >= 0.5 else "shorter"
    shares = (predicted, labels) if kind == "longer" else (1 - predicted, 1 - labels)
    return Symptom(
        f"It prefers the {kind} of two answers in {shares[0]:.0%} of held-out pairs (the labels do "
        f"in {shares[1]:.0%}); score and length correlate by {correlation:.2f}.",
        {
            "longer_wins_predicted": predicted,
            "longer_wins_labels": labels,
            "length_correlation": correlation,
            "valid_pairs": int(pairs),
        },
    )


def _overfit(record: RewardModelRecord) -> Symptom | None:
    held_out, pairs = _figure(record, "accuracy"), _figure(record, "valid_pairs")
    training: Window = Series.of(record.log, "accuracy").thirds()[2]
    error = math.hypot(training.error, _share_error(held_out, pairs))
    gap = training.mean - held_out
    if gap - Z * error <= OVERFIT:
        return None
    return Symptom(
        f"It ranks {training.mean:.1%} of its training pairs as labelled (steps {training.first} "
        f"to {training.last}) but {held_out:.1%} of held-out ones: it has learnt them by heart.",
        {**training.evidence("training_accuracy"), "accuracy": held_out, "gap_error": error},
    )


REWARD_MODEL_RULES: tuple[Rule[RewardModelRecord], ...] = (
    Rule(
        "rm_accuracy_low",
        "`accuracy` on held-out pairs, with its standard error",
        f"surely below `minimum_accuracy` ({ACCURACY:.0%}); an error below {ACCURACY_POOR:.0%}",
        "Check the labels' agreement (`data.annotators`), use more pairs (`data.reward_pairs`, "
        "`data.gold_pairs`), raise {epochs}, or take a larger base model.",
        "2.2 problem 1; cheat sheet, RM accuracy low",
        _accuracy_low,
    ),
    Rule(
        "rm_scores_alike",
        "`score_std` of held-out answers, raw units",
        f"below {SPREAD:g}",
        "If the training loss jumped, lower {learning_rate} and raise {batch_size}; if it never "
        "fell, raise {learning_rate} or {epochs}, and check the labels.",
        "2.2 problem 2",
        _scores_alike,
    ),
    Rule(
        "rm_length_bias",
        "`longer_wins_predicted`, `longer_wins_labels`, `length_correlation` on held-out pairs",
        f"longer (or shorter) wins over {LONGER_WINS:.0%}, or {LENGTH_BIAS:g} more often than by "
        f"label, or a correlation beyond +- {LENGTH_CORRELATION:g}",
        "Balance the pairs: add good short answers and bad long ones. Until then compare "
        "methods' answer lengths before believing their rewards.",
        "2.2 problem 3",
        _length_bias,
    ),
    Rule(
        "rm_overfit",
        "`accuracy` of the log's last third less held-out `accuracy`",
        f"above {OVERFIT:g}",
        "Lower {epochs} or {learning_rate}, or use more pairs (`data.reward_pairs`, "
        "`data.gold_pairs`).",
        "2.2 problem 4",
        _overfit,
    ),
)
