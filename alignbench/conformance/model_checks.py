"""Checks of what a method does with its models, as `observe.Observer` saw it in one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from alignbench.conformance.observe import REFERENCE, SAMPLING, TRAINING
from alignbench.conformance.trial import Bench
from alignbench.conformance.truth import Ids
from alignbench.conformance.used import LOGPROBS, Row
from alignbench.conformance.verdict import Finding, failed, not_applicable, passed
from alignbench.conformance.world import MAX_RESPONSE
from alignbench.files import read_jsonl
from alignbench.models.load import load_policy
from alignbench.models.text import encode_prompt, encode_response

REWARDS = 1e-4
"""Largest difference between rewards that are the same; their spread here is about 1."""


def start_weights(bench: Bench) -> Finding:
    """Training begins at the certified weights, in the policy that was given."""
    seen, certified = bench.observer, bench.main.metrics["start_digest"]
    if seen.replaced:
        return failed("policy.model was replaced by another object; train the one that is given")
    for when, digest in (
        ("its first forward pass", seen.at_first_forward),
        ("its first optimizer step", seen.at_first_step),
    ):
        if digest is not None and digest != certified:
            return failed(f"before {when} the policy's weights are not the certified ones")
    if seen.at_first_step is None:
        return passed("the certified weights (no optimizer step follows)")
    return passed("the certified weights, at the first forward pass and at the first step")


def reference_weights(bench: Bench) -> Finding:
    """Every language model that is run and not trained is the certified one."""
    found = bench.observer.references
    wrong = [digest for digest, what in found.items() if what == "other"]
    if wrong:
        return failed(
            f"a reference model has other weights (digest {wrong[0][:12]}) than the certified "
            f"ones; use inputs.reference()"
        )
    if not found:
        return not_applicable("no reference model was consulted")
    return passed("; ".join(sorted({f"weights: {what}" for what in found.values()})))


def dropout_off(bench: Bench) -> Finding:
    """No dropout while the policy samples or scores, nor in the reference."""
    seen = bench.observer
    if not seen.sampled and not seen.training.tokens and not seen.dropout:
        return not_applicable("no model was run")
    passes = [REFERENCE, SAMPLING, *([TRAINING] if seen.sampled else [])]
    on = [f"{name} ({seen.dropout[name]})" for name in passes if name in seen.dropout]
    if on:
        return failed(f"dropout is on in {'; '.join(on)}")
    return passed("off in every pass" if not seen.dropout else "on in supervised training only")


def logprobs_agree(bench: Bench) -> Finding:
    """What a method trains with is what the policy gives the sequence, however it is batched."""
    seen = bench.observer
    if not seen.rollout.tokens and not seen.training.tokens:
        return not_applicable("the policy was not run")
    for found in (seen.rollout, seen.training):
        if not found.worst <= LOGPROBS:
            return failed(
                f"log-probabilities differ by {found.worst:.2g} from those of the same sequences "
                f"without padding ({found.where}; limit {LOGPROBS:g}): mind position_ids and the "
                f"attention mask"
            )
    problem = _wrongly_used(seen.used.rows)
    if problem is not None:
        return failed(problem)
    sides = ", ".join(f"{n} rows with {side} padding" for side, n in sorted(seen.sides.items()))
    parts = []
    if seen.rollout.tokens:
        parts.append(f"sampling within {seen.rollout.worst:.1g} ({seen.rollout.tokens} tokens)")
    if seen.training.tokens:
        parts.append(f"other passes within {seen.training.worst:.1g} ({sides})")
    if not seen.rollout.tokens:
        parts.append("the policy does not sample")
    if seen.gradient_passes:
        parts.append(_rightly_used(seen.used.rows))
    return passed("; ".join(parts))


def _wrongly_used(rows: Mapping[Ids, Row]) -> str | None:
    """What is wrong with the log-probabilities that the method computed, None if nothing is."""
    found = Counter(row.found for row in rows.values())
    before = f"of {len(rows)} rows before the first optimizer step"
    if found["late"]:
        return (
            f"{found['late']} {before} train on log-probabilities one position late, given the "
            "token itself: a token's logits are those of the position before it"
        )
    if found["other"]:
        return (
            f"{found['other']} {before} train on values for the response's tokens that are not "
            f"their log-probabilities (within {LOGPROBS:g})"
        )
    plain = [row for row in rows.values() if row.found == "plain"]
    weights = [row.weight for row in plain if row.weight]
    if weights and min(weights) < 0 < max(weights):
        sizes = sorted(abs(weight) for weight in weights)
        # Losses on pairs (DPO) are as right at another temperature, and weigh all rows equally.
        if sizes[-1] > 1.01 * sizes[0]:
            return (
                f"{len(plain)} {before} were sampled at temperature {_heat(plain)} and are weighed "
                "by their rewards at temperature 1: divide the logits by the temperature"
            )
    return None


def _rightly_used(rows: Mapping[Ids, Row]) -> str:
    """How far the claim goes: the method's own log-probabilities, or the states only."""
    found = Counter(row.found for row in rows.values())
    if not found["right"] and not found["plain"]:
        return "forward states only, not what the loss makes of them"
    seen = found["right"] + found["plain"]
    said = f"the method computes the same ({seen} of {len(rows)} rows looked for)"
    if found["plain"]:
        plain = [row for row in rows.values() if row.found == "plain"]
        said += f", at temperature 1 though {len(plain)} were sampled at {_heat(plain)}"
    return said


def _heat(rows: Sequence[Row]) -> str:
    return ", ".join(f"{heat:g}" for heat in sorted({heat for row in rows for heat in row.heat}))


def rewards_agree(bench: Bench) -> Finding:
    """The reward model scores what evaluation would score, and gives it the same score."""
    scored = bench.observer.scored
    if not scored:
        return not_applicable("the reward model was not asked")
    known = _Known(bench) if bench.observer.sampled else None
    strangers = 0
    eos = load_policy(bench.world.sft / "model")[1].eos_token_id
    for ids, used, true in scored:
        if not abs(used - true) <= REWARDS:
            return failed(
                f"a response was scored {used:.4g}, and {true:.4g} on its own: use "
                f"inputs.reward.score_ids, which pads as the reward model was trained"
            )
        if known is None:
            continue
        if ids in known:
            strangers += ids not in known.pairs
            continue
        if (*ids, eos) in known:
            return failed(
                "a finished response was scored without its EOS; evaluation scores it with EOS: "
                "use inputs.reward.score_ids on the sampled ids"
            )
        if ids[-1] == eos and ids[:-1] in known:
            return failed("a response cut at the limit was scored with an EOS it does not have")
        return failed(
            f"token ids were scored that were neither sampled nor in the data (of {len(ids)} "
            "tokens): decode and encode again changes them; score the sampled ids"
        )
    if 2 * strangers > len(scored):
        return failed(
            f"{strangers} of {len(scored)} responses were scored under another prompt than the one "
            "they were sampled for: keep prompts and responses in one order"
        )
    what = "as sampled" if known is not None else "(how they were sampled was not seen)"
    apart = f" ({strangers} of them under another prompt)" if strangers else ""
    return passed(f"{len(scored)} responses {what}{apart}, scores as in evaluation")


class _Known:
    """Sequences that may be scored: a prompt with a response that was sampled or is in the data.

    `pairs` are those that belong together. Some of any prompt with any response may be scored too,
    since a method may try answers to other prompts.
    """

    def __init__(self, bench: Bench) -> None:
        seen, words = bench.observer, load_policy(bench.world.sft / "model")[1]
        self.prompts = {prompt for batch in seen.sampled for prompt in batch.prompts}
        self.responses = {response for batch in seen.sampled for response in batch.responses}
        self.pairs = {
            (*prompt, *response)
            for batch in seen.sampled
            for prompt, response in zip(batch.prompts, batch.responses, strict=True)
        }
        for name in ("pairs_proxy", "sft"):
            for row in read_jsonl(bench.world.data / f"{name}.jsonl"):
                prompt = tuple(encode_prompt(words, row["prompt"]))
                self.prompts.add(prompt)
                for key in ("chosen", "rejected", "response"):
                    if key in row:
                        ids = encode_response(words, row[key])[:MAX_RESPONSE]
                        self.responses.add(tuple(ids))
                        self.pairs.add((*prompt, *ids))

    def __contains__(self, ids: tuple[int, ...]) -> bool:
        return any(
            ids[:length] in self.prompts and ids[length:] in self.responses
            for length in range(1, len(ids))
        )


def frozen_models(bench: Bench) -> Finding:
    """Reference and reward model have the weights they came with, an old policy the policy's."""
    changed = Counter(bench.observer.changed)
    if changed:
        return failed(f"weights changed during training: {', '.join(changed)}")
    held = bench.observer.kept
    return passed(f"{held} unchanged") if held else not_applicable("none was given")
