"""New weights that are the same wherever they are made."""

from __future__ import annotations

from typing import Any

import torch


@torch.no_grad()
def disturb(model: Any) -> None:
    """Add noise of 2 % of each weight's spread, enough to change what is said."""
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.add_(torch.randn(weight.shape, generator=generator) * weight.std() * 0.02)
