"""Rules over the log of a method that samples from its policy (REINFORCE, PPO, GRPO, ...)."""

from __future__ import annotations

import math
from typing import Any

from alignbench.health.rule import Rule, Symptom, TrainingRecord
from alignbench.health.series import Change, NotCheckedError, Series, Window

FALL = 0.2
"""A fall of the mean reward by this share of the standard deviation among sampled answers counts,
as does a rise for `reward_flat`. The seed's goal is a rise of 1.5 of 10 points (2.3, summary), and
default runs rise by 0.7 to 1.2 deviations; below 0.2 nobody would see it in the answers."""
UNSTABLE = 1.0
"""Step-to-step deviation of the mean reward, in standard deviations of a single answer. A mean over
a batch cannot move that much by sampling alone; the seed's example swings by five points of ten."""
KL_HIGH, KL_FAR = 5.0, 10.0
"""Nats per answer. 5: "beta too small" (2.3, monitoring 2); 10: the cheat sheet's bound. The seed
gives no unit; default runs end between 1 and 3.5 nats per answer, inside its range of 0.5 to 2 or
near it, so we read it as that of the whole answer."""
KL_LOW = 0.1
"""Nats per answer: "beta too large, the model has not improved" (2.3, monitoring 2)."""
SPREAD_KEPT = 0.5
"""Share of its first value that the reward's spread must keep. Default runs keep 0.9 and more."""
SPREAD_NEVER = 0.05
"""Spread of sampled answers over that of the reward model's held-out answers: below it there is
nothing to learn from at all."""
TIED_GROUPS = 0.5
"""Share of prompts whose answers all score alike: from here on most of a GRPO batch has no
gradient (2.5, problem 4)."""
CLIPPED = 0.1
"""Share of tokens outside the clip range. The seed says "often"; default PPO runs clip 1 % of
tokens at the start and none at the end."""
ENTROPY_KEPT = 0.5
"""Share of its first value that the entropy of the sampled tokens must keep: as for Distinct-2
(`results.findings`). Default runs keep 0.7 and more."""
FINISHED = 0.8
"""Share of answers that end by themselves; default runs: 0.97 and more."""


def _reward_and_scale(record: TrainingRecord) -> tuple[Series, float]:
    """The mean reward's series, and the deviation among answers that its changes are held to.

    The largest of the thirds' mean spreads: a collapsed spread would make every change look large.
    """
    reward = Series.of(record.log, "reward_raw")
    spread = Series.of(record.log, "reward_spread")
    scale = max(window.mean for window in (*spread.thirds(), spread.start()))
    if scale <= 0:
        raise NotCheckedError("all answers have the same reward (see reward_spread_collapse)")
    return reward, scale


def _reward_falling(record: TrainingRecord) -> Symptom | None:
    reward, scale = _reward_and_scale(record)
    first, middle, last = reward.thirds()
    best = max((reward.start(), first, middle), key=lambda window: window.mean)
    fall = Change.between(best, last)
    if fall.high >= 0 or fall.value > -FALL * scale:
        return None
    return Symptom(
        f"The mean reward fell from {best.mean:.2f} (steps {best.first} to {best.last}) to "
        f"{last.mean:.2f} (steps {last.first} to {last.last}), {-fall.value / scale:.1f} standard "
        "deviations of an answer's reward.",
        {**best.evidence("before"), **last.evidence("after"), "reward_spread": scale},
        "error" if Change.between(reward.start(), last).high < 0 else "warning",
    )


def _reward_flat(record: TrainingRecord) -> Symptom | None:
    if _reward_falling(record):
        return None  # said already, and worse
    reward, scale = _reward_and_scale(record)
    start, (first, _, last) = reward.start(), reward.thirds()
    rises = [Change.between(before, last) for before in (start, first)]
    if rises[1].high < FALL * scale and rises[0].value < FALL * scale:
        return Symptom(
            f"The mean reward did not rise: {first.mean:.2f} over steps {first.first} to "
            f"{first.last}, {last.mean:.2f} over steps {last.first} to {last.last} (standard "
            f"deviation of an answer's reward: {scale:.2f}).",
            {**first.evidence("before"), **last.evidence("after"), "reward_spread": scale},
        )
    if all(rise.low <= 0 for rise in rises):
        rise = rises[1]
        raise NotCheckedError(
            f"the reward's change of {rise.value:+.2f} is within its noise ({rise.low:+.2f} to "
            f"{rise.high:+.2f}), which covers both a rise and none"
        )
    return None


def _reward_unstable(record: TrainingRecord) -> Symptom | None:
    reward, scale = _reward_and_scale(record)
    # Without the first third: learning fast is not instability.
    start = len(reward.values) // 3
    noise = reward.noise(start)
    # Relative standard error of a deviation from n successive differences: about sqrt(0.75 / n).
    count = len(reward.values) - start
    if noise * (1 - 2 * math.sqrt(0.75 / count)) <= UNSTABLE * scale:
        return None
    low, high = (float(f(reward.values[start:])) for f in (min, max))
    return Symptom(
        f"From step {reward.steps[start]} on the mean reward jumps between {low:.2f} and "
        f"{high:.2f}, by {noise / scale:.1f} standard deviations of a single answer's reward from "
        "one rollout to the next.",
        {"jump": noise, "reward_spread": scale, "lowest": low, "highest": high},
    )


def _kl_at_end(record: TrainingRecord) -> Window:
    """Mean KL of the last third of the log; else that of the last point of the budget curve."""
    try:
        return Series.of(record.log, "sequence_kl").thirds()[2]
    except NotCheckedError as absent:
        found = record.curve[-1].get("kl") if record.curve else None
        value = found.get("value") if isinstance(found, dict) else found
        if value is None:
            raise NotCheckedError(f"{absent}, and there is no KL on a budget curve") from None
        return Window(float(value), 0.0, *_last_step(record))


def _last_step(record: TrainingRecord) -> tuple[int, int]:
    steps = [int(line["step"]) for line in record.log if "step" in line] or [0]
    return steps[-1], steps[-1]


def _kl_high(record: TrainingRecord) -> Symptom | None:
    kl = _kl_at_end(record)
    if kl.low <= KL_HIGH:
        return None
    return Symptom(
        f"KL from the start model is {kl.mean:.1f} nats per answer over steps {kl.first} to "
        f"{kl.last} (above {KL_HIGH:g}): the policy has left the region where the reward model was "
        "trained. A high reward there may be reward hacking: read some answers.",
        kl.evidence("kl"),
        "error" if kl.low > KL_FAR else "warning",
    )


def _kl_low(record: TrainingRecord) -> Symptom | None:
    kl = _kl_at_end(record)
    if kl.high >= KL_LOW:
        return None
    return Symptom(
        f"KL from the start model is {kl.mean:.3f} nats per answer over steps {kl.first} to "
        f"{kl.last} (below {KL_LOW:g}): the policy has hardly moved.",
        kl.evidence("kl"),
    )


def _spread_collapse(record: TrainingRecord) -> Symptom | None:
    spread = Series.of(record.log, "reward_spread")
    start, last = spread.start(), spread.thirds()[2]
    usual = (record.reward_model or {}).get("score_std") or 0.0
    evidence: dict[str, Any] = {**start.evidence("start"), **last.evidence("end")}
    if start.mean <= SPREAD_NEVER * usual or start.mean == 0:
        return Symptom(
            f"Sampled answers score alike from the first step on (standard deviation "
            f"{start.mean:.2g}): there is nothing to learn from.",
            {**evidence, "held_out_spread": usual or None},
            "error",
        )
    if last.high < SPREAD_KEPT * start.mean:
        return Symptom(
            f"The reward's spread among sampled answers fell from {start.mean:.2f} to "
            f"{last.mean:.2f} (steps {last.first} to {last.last}). If the reward is at its highest "
            "this is convergence; if not, the answers have become alike.",
            evidence,
        )
    return _tied_groups(record)


def _tied_groups(record: TrainingRecord) -> Symptom | None:
    try:
        tied = Series.of(record.log, "frac_reward_zero_std").thirds()[2]
    except NotCheckedError:
        return None  # the spread itself was looked at
    if tied.low <= TIED_GROUPS:
        return None
    return Symptom(
        f"For {tied.mean:.0%} of prompts all sampled answers score alike (steps {tied.first} to "
        f"{tied.last}): these prompts teach nothing.",
        tied.evidence("tied_prompts"),
    )


def _ratio_clipped(record: TrainingRecord) -> Symptom | None:
    if record.value("mix"):
        raise NotCheckedError("answers that others sampled are outside the clip range by nature")
    thirds = Series.of(record.log, "clip_ratio_region_mean").thirds()
    worst = max(thirds, key=lambda window: window.mean)
    if worst.low <= CLIPPED:
        return None
    return Symptom(
        f"{worst.mean:.0%} of tokens are outside the clip range over steps {worst.first} to "
        f"{worst.last}: one batch moves the policy too far.",
        worst.evidence("clipped"),
    )


def _entropy_collapse(record: TrainingRecord) -> Symptom | None:
    sampled = any("sampled_entropy" in line for line in record.log)
    # TRL's `entropy` is that of the answers trained on, all there is for pairs.
    entropy = Series.of(record.log, "sampled_entropy" if sampled else "entropy")
    start, last = entropy.start(), entropy.thirds()[2]
    if last.high >= ENTROPY_KEPT * start.mean:
        return None
    return Symptom(
        f"The entropy of a token fell from {start.mean:.2f} to {last.mean:.2f} nats (steps "
        f"{last.first} to {last.last}): answers become alike (mode collapse).",
        {**start.evidence("start"), **last.evidence("end"), "quantity": entropy.name},
    )


def _unfinished(record: TrainingRecord) -> Symptom | None:
    finished = Series.of(record.log, "finished")
    start, last = finished.start(), finished.thirds()[2]
    if last.high >= FINISHED:
        return None
    return Symptom(
        f"{1 - last.mean:.0%} of sampled answers are cut at the length limit (steps {last.first} "
        f"to {last.last}; {1 - start.mean:.0%} at the start): their reward is that of half an "
        "answer.",
        {**start.evidence("finished_at_start"), **last.evidence("finished")},
    )


POLICY_RULES: tuple[Rule[TrainingRecord], ...] = (
    Rule(
        "reward_falling",
        "`reward_raw`: best of start, first and middle third, against the last third",
        f"a sure fall, by more than {FALL:g} standard deviations of an answer's reward",
        "Lower {learning_rate} (halve it), raise {kl_coef}; go back to the snapshot before the "
        "fall.",
        "2.3 training monitoring, item 1; cheat sheet, PPO collapse",
        _reward_falling,
    ),
    Rule(
        "reward_flat",
        "`reward_raw`: first against last third, and start against last third",
        f"a rise surely below {FALL:g} standard deviations of an answer's reward",
        "Check the reward model's held-out accuracy (70 % and more). Then, if KL is low too, raise "
        "{learning_rate} or lower {kl_coef}; if KL is not low, lower {learning_rate}. More "
        "{samples_per_prompt} or a higher {temperature} give more to compare.",
        "2.3 training monitoring, item 1; 2.5 problem 1; cheat sheet, GRPO reward",
        _reward_flat,
    ),
    Rule(
        "reward_unstable",
        "`reward_raw`: deviation from one rollout to the next, after the first third",
        f"above {UNSTABLE:g} standard deviation of a single answer's reward",
        "Lower {learning_rate}, raise {kl_coef} (double it), raise {prompts_per_rollout}.",
        "2.3 problem 1",
        _reward_unstable,
    ),
    Rule(
        "reward_spread_collapse",
        "`reward_spread` of the last third against the start; `frac_reward_zero_std`",
        f"below {SPREAD_KEPT:g} of its start; or below {SPREAD_NEVER:g} of the reward model's "
        f"held-out spread from the start on; or over {TIED_GROUPS:.0%} of prompts tied",
        "Raise {temperature}, raise {samples_per_prompt}, raise {kl_coef}; check that the reward "
        "model tells answers apart (rm_scores_alike).",
        "2.3 training monitoring, item 3; 2.5 problem 4",
        _spread_collapse,
    ),
    Rule(
        "ratio_clipped",
        "`clip_ratio_region_mean`, worst third",
        f"over {CLIPPED:.0%} of tokens",
        "Lower {learning_rate}, lower {epochs} or {minibatches}.",
        "2.3 training monitoring, item 4",
        _ratio_clipped,
    ),
    Rule(
        "unfinished_answers",
        "`finished`, last third",
        f"below {FINISHED:.0%} of sampled answers",
        "Raise `max_response_tokens` or {missing_eos_penalty}; more `sft.epochs`, so that the "
        "start model ends its answers.",
        "2.1 problem 1 (the model does not stop)",
        _unfinished,
    ),
)

DRIFT_RULES: tuple[Rule[TrainingRecord], ...] = (
    Rule(
        "kl_high",
        "`sequence_kl`, last third (without it: KL of the budget curve's last point)",
        f"above {KL_HIGH:g} nats per answer; an error above {KL_FAR:g}",
        "Raise {kl_coef|beta} (two to five times), lower {learning_rate}, or stop earlier (a "
        "smaller budget).",
        "2.3 training monitoring, item 2, and problem 2; 2.4 problem 2; 2.5 problem 2; cheat sheet",
        _kl_high,
    ),
    Rule(
        "kl_low",
        "as `kl_high`",
        f"below {KL_LOW:g} nats per answer",
        "Lower {kl_coef|beta} (halve it) or raise {learning_rate}.",
        "2.3 training monitoring, item 2; 2.4, technique 1",
        _kl_low,
    ),
    Rule(
        "entropy_collapse",
        "`sampled_entropy` (for pairs: `entropy`) of the last third against the start",
        f"below {ENTROPY_KEPT:g} of its start",
        "Raise {kl_coef|beta}, lower {learning_rate}, train for less ({epochs|rollouts} or the "
        "budget); compare Distinct-2 with SFT's in the results.",
        "2.3 training monitoring, item 3; 2.5 problem 2; 2.6 diversity",
        _entropy_collapse,
    ),
)
"""How far the policy went and what is left of its variety: of every method that trains."""
