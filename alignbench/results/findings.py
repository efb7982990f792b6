"""Flags at the top of a report, and its verdict in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignbench.results.conclusions import TRAINED, Question, Record
from alignbench.results.estimates import Estimates
from alignbench.results.sentinels import sentinel_flags

#: Judges' order effects above this share of pairs make win rates doubtful.
MAX_INCONSISTENCY = 0.05
#: A method's Distinct-2 below this share of SFT's is mode collapse.
MIN_DISTINCT_RATIO = 0.5


def flags(
    estimates: Estimates,
    tests: Sequence[Record],
    methods: Sequence[str],
    reward_models: Mapping[str, Mapping[str, Any]],
    minimum_accuracy: float,
    trainings: Mapping[str, Any],
    audit: Mapping[str, Any],
    judge: Mapping[str, Any],
) -> list[Record]:
    """What a reader must know before believing the table, worst first.

    `trainings` holds ``budget_curves``, ``health`` and ``tuning`` of results.json, `audit` is its
    ``judge_audit`` and `judge` its ``judge``.
    """
    found = [
        *_sentinel(estimates),
        *sentinel_flags(estimates, methods, "sft", "sft", judge),
        *_order_of_rows(estimates),
        *_reward_models(reward_models, minimum_accuracy),
        *judge_flags(audit, judge["bill"]),
        *_collapse(estimates, methods),
        *_overoptimised(estimates, tests, methods),
        *_trainings(trainings),
    ]
    return worst_first(found)


def worst_first(found: Sequence[Record]) -> list[Record]:
    """Errors before warnings."""
    return sorted(found, key=lambda flag: flag["level"] != "error")


def _flag(level: str, message: str) -> Record:
    return {"level": level, "message": message}


def _sentinel(estimates: Estimates) -> list[Record]:
    if "sft_copy" not in estimates.rows:
        return []
    interval = estimates["sft_copy", "win_rate_vs_sft"].interval
    if not interval.excludes(50.0):
        return []
    return [
        _flag(
            "error",
            f"Sentinel: an untouched copy of SFT wins {_with_bounds(vars(interval), 1)} % against "
            "SFT; its interval should cover 50 %. The judge or the sampling is biased, or this is "
            "the one time in twenty: run again with another evaluation seed.",
        )
    ]


def _order_of_rows(estimates: Estimates) -> list[Record]:
    base = estimates["base", "reward_gold"].interval.value
    sft = estimates["sft", "reward_gold"].interval.value
    found = []
    if base is not None and sft is not None and base >= sft:
        found.append(
            _flag(
                "error",
                f"Base is not below SFT on gold reward ({base:.2f} and {sft:.2f}): SFT taught "
                "nothing, or the scorer does not reward what SFT teaches.",
            )
        )
    kl = estimates["sft", "kl_from_sft"].interval.value
    if kl is not None and abs(kl) > 1e-6:
        found.append(_flag("error", f"SFT's KL from itself is {kl:.3g} nats, not 0."))
    return found


def _reward_models(models: Mapping[str, Mapping[str, Any]], minimum: float) -> list[Record]:
    return [
        _flag(
            "warning",
            f"The {split} reward model ranks only {100 * model['accuracy']:.1f} % of held-out "
            f"pairs right (at least {100 * minimum:.0f} % wanted).",
        )
        for split, model in models.items()
        if isinstance(model.get("accuracy"), float) and model["accuracy"] < minimum
    ]


def judge_flags(audit: Mapping[str, Any], bill: Mapping[str, Any]) -> list[Record]:
    """What the audit says against the judge."""
    found = []
    swapped = audit["inconsistent"]["value"]
    if swapped is not None and swapped > 100 * MAX_INCONSISTENCY:
        message = (
            f"The judge contradicts itself in {swapped:.1f} % of pairs when their order is swapped "
            "(counted as ties)."
        )
        found.append(_flag("warning", message))
    agrees, longest = audit["agrees"], audit["longest_agrees"]
    if agrees["value"] is not None and longest["value"] is not None:
        trivial = max(50.0, longest["value"])
        # Verdicts that are all ties have no bounds, and say as little.
        if (agrees["value"] if agrees["low"] is None else agrees["low"]) <= trivial:
            better = "taking the longer answer" if longest["value"] > 50 else "tossing a coin"
            message = (
                f"The judge agrees with {' and '.join(audit['truth'])} in "
                f"{_with_bounds(agrees, 1)} % of pairs; {better} gets {trivial:.1f} %. Its win "
                "rates are not evidence."
            )
            found.append(_flag("error", message))
    open_questions = bill["unanswered"] / bill["questions"] if bill["questions"] else 0.0
    if open_questions > MAX_INCONSISTENCY:
        message = f"The judge left {100 * open_questions:.1f} % of questions without an answer."
        found.append(_flag("warning", message))
    return found


def _collapse(estimates: Estimates, methods: Sequence[str]) -> list[Record]:
    sft = estimates["sft", "distinct_2"].interval.value
    found = []
    for method in methods:
        value = estimates[method, "distinct_2"].interval.value
        if sft and value is not None and value < MIN_DISTINCT_RATIO * sft:
            message = f"{method}: Distinct-2 fell to {value:.3f} from SFT's {sft:.3f} (collapse)."
            found.append(_flag("warning", message))
    return found


def _overoptimised(
    estimates: Estimates, tests: Sequence[Record], methods: Sequence[str]
) -> list[Record]:
    gold = {test["model"]: test for test in tests if test["metric"] == "reward_gold"}
    found = []
    for method in methods:
        proxy, _ = estimates.difference("reward_proxy", method, "sft")
        rose = bool(proxy.value and proxy.value > 0 and proxy.excludes(0.0))
        if rose and gold[method]["verdict"] == "worse":
            found.append(
                _flag(
                    "warning",
                    f"{method}: proxy reward rose by {proxy.value:.2f} while gold reward fell by "
                    f"{-gold[method]['difference']:.2f}: over-optimised.",
                )
            )
    return found


def _trainings(trainings: Mapping[str, Any]) -> list[Record]:
    """Falls after a peak, sick trainings, and a selection that looked at the gold scorer."""
    found = [
        _flag("warning", f"{finding['row']}: {finding['message']}")
        for finding in trainings["budget_curves"]["findings"]
        if finding["kind"] == "observed peak"
    ]
    errors = [
        finding
        for finding in trainings["health"]
        # Reward models have a flag of their own.
        if finding["level"] == "error" and not finding["row"].startswith("reward/")
    ]
    found += [_flag("error", f"{each['row']}: {each['finding']}") for each in errors]
    seen = [row for row, tuned in trainings["tuning"].items() if tuned["saw_gold"]]
    if seen:
        message = "tuning selected on the gold scorer (on other prompts); it is no blind judge here"
        found.append(_flag("warning", f"{_list(seen)}: {message}."))
    return found


def verdict(
    tests: Sequence[Record],
    pairs: Sequence[Record],
    methods: Sequence[str],
    estimates: Estimates,
    judges: Sequence[str],
    question: Question = TRAINED,
) -> list[str]:
    """Sentences that the tests license, and none that they do not.

    Args:
        tests, pairs: of `conclusions`.
        methods: rows that compete.
        estimates: of the table.
        judges: sentences on whose opinion the numbers are.
        question: what was tested.
    """
    if not methods:
        return [*judges, "No method was compared."]
    sentences = list(judges)
    against = "SFT" if question.reference == "sft" else question.reference
    for label, metric in (("gold reward", question.reward), ("win rate", question.wins)):
        family = {test["model"]: test for test in tests if test["metric"] == metric}
        if not family:
            continue
        groups: dict[str, list[str]] = {"better": [], "worse": [], "not separable": []}
        for method in methods:
            groups[family[method]["verdict"]].append(method)
        parts = [
            f"{_list(groups[group])} {'is' if len(groups[group]) == 1 else 'are'} {words}"
            for group, words in (
                ("better", f"better than {against}"),
                ("worse", f"worse than {against}"),
                ("not separable", f"not separable from {against}"),
            )
            if groups[group]
        ]
        sentences.append(f"By {label}, {'; '.join(parts)}.")
    sentences.extend(_leader(pairs, methods, estimates, question.between))
    return sentences


def _leader(
    pairs: Sequence[Record], methods: Sequence[str], estimates: Estimates, metric: str
) -> list[str]:
    """Who leads, and from whom the leader cannot be told apart."""
    if not estimates.has(metric):
        return []
    what = "gold reward" if metric == "reward_gold" else "win rate"
    values = {m: estimates[m, metric].interval.value for m in methods}
    known = {m: value for m, value in values.items() if value is not None}
    if len(known) < 2:
        return []
    leader = max(known, key=lambda m: known[m])
    equal = [m for m, value in known.items() if value == known[leader]]
    if len(equal) > 1:
        return [f"No method has the highest {what}: {_list(equal)} are equal."]
    close = [
        pair["other"] if pair["model"] == leader else pair["model"]
        for pair in pairs
        if leader in (pair["model"], pair["other"]) and pair["verdict"] == "not separable"
    ]
    if not close:
        return [f"{leader} has the highest {what} and is separable from every other method."]
    return [f"{leader} has the highest {what} but is not separable from {_list(close)}."]


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _with_bounds(interval: Mapping[str, Any], decimals: int) -> str:
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    bounds = "" if low is None else f" [{low:.{decimals}f}, {high:.{decimals}f}]"
    return f"{value:.{decimals}f}{bounds}"
