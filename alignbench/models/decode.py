"""Sampling with a KV cache: one decoder for evaluation, AI labelling and RL rollouts.

The result for a row depends on the model, its prompt, the seed and its index in the call, and not
on batch size, order or padding: each row has its own stream of uniform numbers, drawn up front,
and a token is the inverse CDF of the next-token distribution at the row's number for that step.
Logits of one row in batches of other shapes differ in the last bits of float32; that moves the
CDF by about 1e-7, so it changes a token once in some ten million.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import Cache, DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from alignbench.errors import UserError
from alignbench.metering.engine import engine_tokens, report
from alignbench.models.padding import left_pad


@dataclass(frozen=True)
class Decoding:
    """How to sample.

    Attributes:
        max_new_tokens: limit per completion, EOS included.
        temperature: divides the logits; 0 means greedy (the first of equal maxima).
        top_p: sample from the smallest set of tokens that has at least this probability.
    """

    max_new_tokens: int
    temperature: float
    top_p: float = 1.0


@dataclass(frozen=True)
class Completion:
    """Sampled token ids, EOS included if `finished`; else cut at `max_new_tokens`.

    `logprobs` are those of the sampled tokens at the sampling temperature (before `top_p`); they
    do not take part in comparisons, since they are equal up to rounding only.
    """

    ids: list[int]
    finished: bool
    logprobs: list[float] = field(default_factory=list, compare=False, repr=False)


@torch.inference_mode()
def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt_ids: Sequence[Sequence[int]],
    decoding: Decoding,
    seed: int,
    batch_size: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Completion]:
    """One completion for each prompt, in the order given; repeat a prompt for several samples.

    Args:
        prompt_ids: N prompts as token ids (`encode_prompt`), each at least one token.
        seed: with the row's index, names the row's stream of random numbers.
        batch_size: rows decoded at a time; does not change the result.
        progress: called as ``progress(done, N)`` after each batch.

    Raises:
        UserError: the longest prompt and `max_new_tokens` do not fit the model's positions.
    """
    _check_fits(model, prompt_ids, decoding)
    # Rows of similar length share a batch (less padding); equal prompts become neighbours, so
    # that `_prefill` computes them once.
    order = sorted(range(len(prompt_ids)), key=lambda i: (len(prompt_ids[i]), prompt_ids[i], i))
    result: list[Completion | None] = [None] * len(prompt_ids)
    training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            uniforms = _uniforms(seed, rows, decoding.max_new_tokens)
            prompts = [tuple(prompt_ids[i]) for i in rows]
            eos = int(tokenizer.eos_token_id)
            with engine_tokens():
                completions = _decode_batch(model, prompts, decoding, uniforms, eos)
            report(tokens_generated=sum(len(completion.ids) for completion in completions))
            for row, completion in zip(rows, completions, strict=True):
                result[row] = completion
            if progress is not None:
                progress(start + len(rows), len(order))
    finally:
        model.train(training)
    return [completion for completion in result if completion is not None]


def _decode_batch(
    model: PreTrainedModel,
    prompts: Sequence[tuple[int, ...]],
    decoding: Decoding,
    uniforms: np.ndarray,
    eos: int,
) -> list[Completion]:
    """Decode rows together; `uniforms` is (rows, max_new_tokens). Finished rows leave the batch."""
    numbers = torch.from_numpy(uniforms).to(model.device)
    ids: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    finished = [False] * len(prompts)
    active = list(range(len(prompts)))  # active[k]: the row that line k of the batch belongs to
    logits, cache, mask = _prefill(model, prompts)
    for step in range(decoding.max_new_tokens):
        tokens = next_tokens(logits, numbers[:, step], decoding)
        # Of a greedy choice, the log-probability at temperature 1.
        scaled = (logits.float() / (decoding.temperature or 1.0)).log_softmax(-1)
        chosen = scaled.gather(-1, tokens[:, None]).squeeze(-1)
        for line, (token, logprob) in enumerate(zip(tokens.tolist(), chosen.tolist(), strict=True)):
            row = active[line]
            if not finished[row]:
                ids[row].append(token)
                logprobs[row].append(logprob)
                finished[row] = token == eos
        running = [line for line, row in enumerate(active) if not finished[row]]
        if not running or step + 1 == decoding.max_new_tokens:
            break
        # Compaction copies the cache: worth it once a quarter of the lines is idle.
        if len(running) <= 0.75 * len(active):
            keep = torch.tensor(running, device=model.device)
            cache.batch_select_indices(keep)
            tokens, mask, numbers = tokens[keep], mask[keep], numbers[keep]
            active = [active[line] for line in running]
        mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
        logits = model(
            input_ids=tokens[:, None],
            attention_mask=mask,
            position_ids=mask.sum(1, keepdim=True) - 1,
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
    return [Completion(*done) for done in zip(ids, finished, logprobs, strict=True)]


def _prefill(
    model: PreTrainedModel, prompts: Sequence[tuple[int, ...]]
) -> tuple[torch.Tensor, Cache, torch.Tensor]:
    """Next-token logits (B, V), cache and mask (B, P) after the prompts.

    Equal prompts are computed once and their lines copied: with K samples for each prompt this
    is most of the work of short responses.
    """
    distinct = list(dict.fromkeys(prompts))
    ids, mask = left_pad(distinct, model.device)
    cache = DynamicCache(config=model.config)
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits = output.logits[:, -1]
    if len(distinct) < len(prompts):
        number = {prompt: k for k, prompt in enumerate(distinct)}
        lines = torch.tensor([number[prompt] for prompt in prompts], device=model.device)
        cache.batch_select_indices(lines)
        logits, mask = logits[lines], mask[lines]
    return logits, cache, mask


def next_tokens(logits: torch.Tensor, uniforms: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """Inverse-CDF samples: the token at which the cumulative probability passes the number.

    Args:
        logits: (B, V).
        uniforms: (B,) float64 in [0, 1).

    Returns:
        (B,) int64 token ids. The order of the CDF is that of token ids, whatever `top_p`.
    """
    if decoding.temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits.double() / decoding.temperature).softmax(-1)
    if decoding.top_p < 1:
        ordered, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
        # A token stays if what comes before it has not reached top_p, so the first always does.
        before = ordered.cumsum(-1) - ordered
        kept = torch.where(before < decoding.top_p, ordered, 0.0)
        probabilities = torch.zeros_like(probabilities).scatter_(-1, tokens, kept)
    cdf = probabilities.cumsum(-1)
    # Scaled to the total, since after top_p, or by rounding, it is not 1. `right` skips tokens
    # of probability 0, also at a uniform number of 0.
    found = torch.searchsorted(cdf, uniforms[:, None] * cdf[:, -1:], right=True)
    return found.squeeze(-1).clamp(max=logits.shape[-1] - 1)


def _uniforms(seed: int, rows: Sequence[int], steps: int) -> np.ndarray:
    """(rows, steps) numbers in [0, 1): line i is stream `rows[i]` of `seed` (Philox counters)."""
    streams = (np.random.Generator(np.random.Philox(key=[seed, row])) for row in rows)
    return np.stack([stream.random(steps) for stream in streams])


def _check_fits(
    model: PreTrainedModel, prompt_ids: Sequence[Sequence[int]], decoding: Decoding
) -> None:
    positions = getattr(model.config, "max_position_embeddings", None)
    longest = max(map(len, prompt_ids), default=0)
    if positions is not None and longest + decoding.max_new_tokens > positions:
        raise UserError(
            f"decoding: a prompt of {longest} tokens and {decoding.max_new_tokens} new ones do not "
            f"fit the model's {positions} positions. Lower `max_response_tokens` or "
            "`max_prompt_tokens`, or use a model with more positions."
        )
