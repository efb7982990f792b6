"""Negative log-likelihood of held-out documents, and the perplexity it gives.

Perplexity is token-weighted: exp(sum of nll / number of tokens), not the mean of per-document
perplexities, so a short document weighs what its tokens weigh.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from alignbench.models.padding import right_pad


def corpus_nll(
    model: Any, tokenizer: Any, texts: Sequence[str], batch_size: int
) -> list[tuple[float, int]]:
    """Negative log-likelihood of each text under a causal language model.

    The first token is predicted from the tokenizer's BOS token, or from its EOS token where it has
    no BOS (GPT-2 style models see EOS between documents). With neither, the first token has no
    context and is not counted. No EOS is scored at the end: held-out texts may be cut anywhere.
    A text longer than the model's window is scored in consecutive windows that do not overlap,
    each with a context of its own.

    Windows are batched by length and padded on the right whatever `tokenizer.padding_side` says,
    so the result does not depend on batch size or padding side.

    Args:
        model: a causal language model in evaluation mode.
        tokenizer: its tokenizer.
        texts: the documents.
        batch_size: windows per forward pass.

    Returns:
        Per text (nll in nats, number of tokens scored); (0.0, 0) for a text without any.
    """
    start = _context_token(tokenizer)
    windows = [
        (index, window)
        for index, text in enumerate(texts)
        for window in _windows(_encode(tokenizer, text), start, _window_size(model))
    ]
    windows.sort(key=lambda item: (len(item[1]), item[0]))
    totals = [(0.0, 0)] * len(texts)
    for begin in range(0, len(windows), batch_size):
        batch = windows[begin : begin + batch_size]
        for (index, window), nll in zip(
            batch, _batch_nll(model, [window for _, window in batch]), strict=True
        ):
            total, tokens = totals[index]
            totals[index] = (total + nll, tokens + len(window) - 1)
    return totals


def perplexity(pairs: Sequence[tuple[float, int]]) -> float:
    """exp(sum of nll / sum of tokens) of `corpus_nll`'s pairs; nan without any token."""
    tokens = sum(count for _, count in pairs)
    return math.exp(math.fsum(nll for nll, _ in pairs) / tokens) if tokens else float("nan")


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _context_token(tokenizer: Any) -> int | None:
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return None


def _window_size(model: Any) -> int:
    return int(getattr(model.config, "max_position_embeddings", None) or 1024)


def _windows(ids: list[int], start: int | None, size: int) -> list[list[int]]:
    """Token windows of at most `size`, each beginning with a token that is only context."""
    if start is None:
        return [ids[i : i + size] for i in range(0, len(ids) - 1, size - 1)]
    return [[start, *ids[i : i + size - 1]] for i in range(0, len(ids), size - 1)]


@torch.no_grad()
def _batch_nll(model: Any, windows: list[list[int]]) -> list[float]:
    ids, mask = right_pad(windows, model.device)
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    nll = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), ids[:, 1:], reduction="none"
    ).double()
    return [float(value) for value in (nll * mask[:, 1:]).sum(dim=1)]
