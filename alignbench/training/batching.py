"""Forward passes over a rollout without paying for its padding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CPU_ROWS = 16
"""Rows per forward pass on CPU: about 700 tokens keep a core busy at this project's sizes."""

Forward = Callable[[Tensor, Tensor, int], tuple[Tensor, ...]]


def by_length(forward: Forward, ids: Tensor, attention: Tensor, keep: int) -> tuple[Tensor, ...]:
    """Apply `forward` to rows of similar length, each group without the columns it does not use.

    One long answer would otherwise pad all others of its rollout to its length.
    The result is that of one pass over the whole batch, gradients
    included, up to rounding.

    Args:
        forward: (ids, attention, keep) -> tensors of shape (rows, keep).
        ids: (B, P + T), prompts padded to the left, responses to the right.
        attention: (B, P + T).
        keep: T.

    Returns:
        What `forward` gives, (B, T) each, 0 in columns that a row's group did not use.
    """
    prompt = ids.size(1) - keep
    order = attention.sum(dim=1).argsort(stable=True)
    size = CPU_ROWS if ids.device.type == "cpu" else len(order)
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    parts: list[tuple[Tensor, ...]] = []
    for rows in groups:
        used = attention[rows].any(dim=0)
        first = int(used[:prompt].int().argmax())
        width = int(used[prompt:].sum())
        columns = slice(first, prompt + width)
        found = forward(ids[rows, columns], attention[rows, columns], width)
        parts.append(tuple(torch.nn.functional.pad(x, (0, keep - width)) for x in found))
    back = order.argsort()
    return tuple(torch.cat(column)[back] for column in zip(*parts, strict=True))
