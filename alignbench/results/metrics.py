"""The lines of the table: every metric, what it is called, and which direction is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Metric:
    """One line of the table.

    Attributes:
        name: in results.csv.
        label: on screen.
        better: which direction is better, None where neither is by itself.
        decimals: shown on screen.
        meaning: what it measures and how to read it, for somebody who does not know it.
        source: "judge" or "gold" where the number is somebody's opinion, so that it can be marked
            where that is a rule and no person or model.
    """

    name: str
    label: str
    better: Literal["higher", "lower"] | None
    decimals: int
    meaning: str
    source: Literal["judge", "gold"] | None = None


_DISTINCT = (
    "Distinct {what} over all of them, in a fixed number of responses (Li et al. 2016). "
    "Low: the model repeats itself. It falls with the number of responses, so only equal numbers "
    "compare."
)
METRICS = (
    Metric(
        "reward_proxy",
        "Reward, proxy (0-10)",
        "higher",
        2,
        "Score by the reward model that methods train against, calibrated to 0-10. It can rise "
        "while quality falls: that is over-optimisation, not evidence of quality.",
    ),
    Metric(
        "reward_gold",
        "Reward, gold (1-10)",
        "higher",
        2,
        "Score by a scorer that no method ever trains against: in the sandbox its exact rule, "
        "elsewhere a reward model trained on other data. The main measure of quality here.",
        "gold",
    ),
    Metric(
        "reward_gold_rm",
        "Reward, gold RM (0-10)",
        "higher",
        2,
        "Score by the gold reward model: trained like the proxy, on pairs that share nothing with "
        "the proxy's, with another seed.",
    ),
    Metric(
        "reward_model",
        "Reward model (raw)",
        "higher",
        2,
        "Score by the given reward model, as it comes out: only differences have a meaning.",
    ),
    Metric(
        "perplexity",
        "Perplexity, held-out",
        "lower",
        2,
        "How surprised the model is by held-out documents: exp of the mean negative log-likelihood "
        "of a token. A small rise after alignment is usual, a large one means forgotten language.",
    ),
    Metric(
        "perplexity_reference",
        "Perplexity, references",
        "lower",
        2,
        "How surprised the model is by reference responses, given their prompts.",
    ),
    Metric("distinct_1", "Distinct-1", "higher", 3, _DISTINCT.format(what="words")),
    Metric("distinct_2", "Distinct-2", "higher", 3, _DISTINCT.format(what="pairs of words")),
    Metric("distinct_3", "Distinct-3", "higher", 3, _DISTINCT.format(what="triples of words")),
    Metric(
        "self_bleu",
        "Self-BLEU",
        "lower",
        3,
        "BLEU of each response against the others of the same model (Zhu et al. 2018): 1 = all "
        "the same, 0 = nothing in common. High: mode collapse.",
    ),
    Metric(
        "helpful",
        "Helpful (1-10)",
        "higher",
        2,
        "The judge's rating of helpfulness: does the response do what was asked?",
        "judge",
    ),
    Metric(
        "harmless",
        "Harmless (1-10)",
        "higher",
        2,
        "The judge's rating of harmlessness: could the response do damage?",
        "judge",
    ),
    Metric(
        "honest",
        "Honest (1-10)",
        "higher",
        2,
        "The judge's rating of honesty: is it true, and does it admit what it does not know?",
        "judge",
    ),
    Metric(
        "win_rate_vs_base",
        "Win vs Base %",
        "higher",
        1,
        "Share of responses where the judge prefers the response to that of the base model, asked "
        "in both orders; ties count half. 50 % = no difference.",
        "judge",
    ),
    Metric(
        "win_rate_vs_sft",
        "Win vs SFT %",
        "higher",
        1,
        "Share of responses where the judge prefers the response to that of the SFT model, from "
        "which every method starts, asked in both orders; ties count half. 50 % = no difference.",
        "judge",
    ),
    Metric(
        "win_rate_vs_baseline",
        "Win vs baseline %",
        "higher",
        1,
        "Share of responses where the judge prefers the response to the baseline's, asked in both "
        "orders; ties count half. 50 % = no difference.",
        "judge",
    ),
    Metric(
        "length",
        "Length (tokens)",
        None,
        1,
        "Mean length of a response in tokens. Judges and reward models often favour long answers: "
        "a gain that comes with length is to be doubted.",
    ),
    Metric(
        "characters",
        "Length (characters)",
        None,
        0,
        "Mean length of a response in characters.",
    ),
    Metric(
        "kl_from_sft",
        "KL from SFT (nats)",
        None,
        2,
        "How far the model moved from SFT: the Kullback-Leibler divergence of its next-token "
        "distributions from SFT's, summed over its own responses. Reward that costs much of it is "
        "more likely to be gamed.",
    ),
    Metric(
        "refusal_rate",
        "Refusal %",
        None,
        1,
        "Share of all responses that refuse to answer.",
        "judge",
    ),
    Metric(
        "over_refusal_rate",
        "Over-refusal %",
        "lower",
        1,
        "Of requests that deserve an answer, the share that is refused.",
        "judge",
    ),
    Metric(
        "harmful_rate",
        "Harmful %",
        "lower",
        1,
        "Of requests that deserve a refusal, the share that is complied with.",
        "judge",
    ),
)
METRIC = {metric.name: metric for metric in METRICS}
#: Metrics of a set of texts: they depend on its size.
OF_A_SET = ("distinct_1", "distinct_2", "distinct_3", "self_bleu")


def label(metric: Metric, results: Mapping[str, Any]) -> str:
    """What the metric is called in these results: with the size of the set, or another scale."""
    if metric.name in OF_A_SET:
        return f"{metric.label} of {results['statistics']['diversity_samples']}"
    if metric.name == "reward_gold" and not results["judge"].get("gold_simulated", True):
        return "Reward, gold (0-10)"
    return metric.label


def simulated(metric: Metric, results: Mapping[str, Any]) -> bool:
    """Whether the number is the opinion of a rule, and of no person or model."""
    judge = results["judge"]
    if metric.source == "gold":
        return bool(judge.get("gold_simulated", judge["simulated"]))
    return metric.source == "judge" and bool(judge["simulated"])
