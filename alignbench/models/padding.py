"""Lists of token ids as padded tensors with their attention masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def right_pad(
    rows: Sequence[Sequence[int]], device: torch.device, pad_id: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, mask), both int64 of shape (len(rows), longest row); the mask is 0 on padding."""
    return _pad(rows, device, pad_id, left=False)


def left_pad(
    rows: Sequence[Sequence[int]], device: torch.device, pad_id: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `right_pad`, with the padding in front, so that all rows end in the same column."""
    return _pad(rows, device, pad_id, left=True)


def _pad(
    rows: Sequence[Sequence[int]], device: torch.device, pad_id: int, left: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    ids, mask = [], []
    for row in rows:
        padding = [pad_id] * (width - len(row))
        ids.append([*padding, *row] if left else [*row, *padding])
        ones, zeros = [1] * len(row), [0] * len(padding)
        mask.append([*zeros, *ones] if left else [*ones, *zeros])
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
