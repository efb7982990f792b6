"""Log-probabilities of responses, and the project's one definition of KL divergence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel

from alignbench.models.padding import right_pad

PLAIN_HEADS = frozenset({"gpt2", "llama"})
"""Model types whose logits are the LM head's output and nothing else (no soft cap, no scale)."""


@torch.no_grad()
def token_logprobs(
    model: PreTrainedModel,
    prompt_ids: Sequence[Sequence[int]],
    completion_ids: Sequence[Sequence[int]],
    batch_size: int,
) -> list[torch.Tensor]:
    """Log-probability (nats, temperature 1) of each completion token given all before it.

    Args:
        prompt_ids: N prompts, each at least one token.
        completion_ids: N completions, EOS included where they have one.

    Returns:
        N float32 tensors on the CPU; the i-th has shape (T_i,), T_i = len(completion_ids[i]).
    """
    result: list[torch.Tensor] = [torch.zeros(len(c)) for c in completion_ids]
    for rows in _batches(prompt_ids, completion_ids, batch_size):
        for row, logits in _response_logits(model, prompt_ids, completion_ids, rows):
            targets = torch.tensor(completion_ids[row], device=logits.device)
            logprobs = logits.float().log_softmax(-1)
            result[row] = logprobs.gather(-1, targets[:, None]).squeeze(-1).cpu()
    return result


@torch.no_grad()
def sequence_kl(
    model: PreTrainedModel,
    reference: PreTrainedModel,
    prompt_ids: Sequence[Sequence[int]],
    completion_ids: Sequence[Sequence[int]],
    batch_size: int,
) -> list[float]:
    """KL(model || reference) of each response, in nats: the one definition used everywhere.

    For completion y of prompt x, sum over t of sum over v of
    p(v | x, y_<t) * (log p(v | x, y_<t) - log q(v | x, y_<t)), p the model and q the reference,
    over the whole vocabulary, at temperature 1, for every token of y with EOS included. The mean
    over y sampled from the model at temperature 1 is the KL divergence between the distributions
    of whole responses; taking the exact sum over v at each step leaves only the variance of the
    states visited (trl-notes, bite 6, lists what TRL's trainers report instead).

    Returns:
        N numbers >= 0 (up to rounding), exactly 0 where both models are the same.
    """
    result = [0.0] * len(completion_ids)
    for rows in _batches(prompt_ids, completion_ids, batch_size):
        policy = _response_logits(model, prompt_ids, completion_ids, rows)
        other = _response_logits(reference, prompt_ids, completion_ids, rows)
        for (row, p_logits), (_, q_logits) in zip(policy, other, strict=True):
            log_p = p_logits.double().log_softmax(-1)
            log_q = q_logits.double().log_softmax(-1)
            result[row] = float((log_p.exp() * (log_p - log_q)).sum())
    return result


def _batches(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], batch_size: int
) -> Iterator[list[int]]:
    """Row numbers of non-empty completions, in batches of similar length (less padding)."""
    rows = [i for i in range(len(prompts)) if completions[i]]
    rows.sort(key=lambda i: len(prompts[i]) + len(completions[i]))
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]


def _response_logits(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    rows: Sequence[int],
) -> list[tuple[int, torch.Tensor]]:
    """(row, logits of shape (T_row, V) that predict its completion), for each of `rows`."""
    ids, mask = right_pad([[*prompts[i], *completions[i]] for i in rows], model.device)
    # Logits are the dearest part of a small model: none for what all rows have as prompt.
    first = min(len(prompts[i]) for i in rows) - 1
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        use_cache=False,
        logits_to_keep=ids.shape[1] - first,
    ).logits
    spans = [(len(prompts[i]) - 1 - first, len(completions[i])) for i in rows]
    return [
        (row, logits[k, start : start + length])
        for k, (row, (start, length)) in enumerate(zip(rows, spans, strict=True))
    ]


def padded_logprobs(
    model: PreTrainedModel,
    ids: torch.Tensor,
    attention: torch.Tensor,
    keep: int,
    temperature: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the last `keep` columns of a padded batch, and entropies there.

    Args:
        ids: (B, P + T), prompts padded to the left and responses to the right.
        attention: (B, P + T), 0 on padding; positions are derived from it.
        keep: T.
        temperature: logits are divided by it.

    Returns:
        Log-probabilities (B, T) and, without gradient, entropies (B, T) of the distributions they
        were drawn from, both float32; values at masked columns mean nothing.
    """
    if model.config.model_type in PLAIN_HEADS:
        hidden = model.base_model(
            input_ids=ids, attention_mask=attention, use_cache=False
        ).last_hidden_state[:, -keep - 1 : -1]
        # Under autocast the head would round its logits to bf16, whose steps are 0.25 and more at
        # GPT-2's logits; log-probabilities need better than that.
        with torch.autocast(ids.device.type, enabled=False):
            logits = model.get_output_embeddings()(hidden.float())
    else:
        logits = model(
            input_ids=ids, attention_mask=attention, use_cache=False, logits_to_keep=keep + 1
        ).logits[:, :-1]
    logprobs = (logits.float() / temperature).log_softmax(-1)
    picked: torch.Tensor = logprobs.gather(-1, ids[:, -keep:, None]).squeeze(-1)
    detached = logprobs.detach()
    return picked, -(detached.exp() * detached).sum(-1)
