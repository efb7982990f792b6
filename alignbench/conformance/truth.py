"""What a model says of a sequence on its own: no padding, no cache, no dropout, nobody's bill.

Whatever batch a method puts a sequence into must give the same; that is how agreement of rollout
and training is checked, wherever each of them happens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

Ids = tuple[int, ...]


@torch.no_grad()
def logprobs(
    model: PreTrainedModel, rows: Sequence[Ids], temperature: float = 1.0, late: int = 0
) -> dict[Ids, Tensor]:
    """Log-probability of every token but the first of each row, given what is before it.

    Args:
        rows: sequences of at least one token.
        temperature: divides the logits.
        late: 1 for a common mistake: given what is before the token and the token itself.

    Returns:
        row -> (len(row) - 1,) float32.
    """
    found: dict[Ids, Tensor] = {}
    with without_dropout(model):
        for ids in _by_length(rows, model.device):
            states = _alone(model.base_model, ids)[0][:, late : ids.shape[1] - 1 + late]
            logits = head_of(model)(states)
            picked = pick(logits, ids[:, 1:], temperature)
            found.update(zip(map(tuple, ids.tolist()), picked, strict=True))
    return found


@torch.no_grad()
def rewards(model: PreTrainedModel, rows: Sequence[Ids]) -> dict[Ids, float]:
    """The scalar that a `*ForSequenceClassification` gives each row by itself."""
    found: dict[Ids, float] = {}
    with without_dropout(model):
        for ids in _by_length(rows, model.device):
            scores = _alone(model, ids)[0][:, 0].float().tolist()
            found.update(zip(map(tuple, ids.tolist()), scores, strict=True))
    return found


def head_of(model: PreTrainedModel) -> nn.Module:
    """The layer that turns hidden states into logits."""
    head: nn.Module = model.get_output_embeddings()
    return head


def pick(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-softmax of the logits (..., V) at the targets (...)."""
    scaled = (logits.float() / temperature).log_softmax(-1)
    return scaled.gather(-1, targets[..., None]).squeeze(-1)


def real_tokens(ids: Tensor, mask: Any, pad_id: int) -> Tensor:
    """(B, T) bool: what is not padding. Without a mask, the pads at either end are it."""
    if isinstance(mask, Tensor) and mask.ndim == 2:
        return mask.bool()
    content = ids != pad_id
    after_first = content.cumsum(-1) > 0
    before_last = content.flip(-1).cumsum(-1).flip(-1) > 0
    return torch.logical_and(after_first, before_last)


def active_dropout(model: nn.Module) -> str | None:
    """Name of a dropout layer of `model` that is switched on, None without one."""
    for name, module in model.named_modules():
        dropout = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
        if dropout and module.training:
            return str(name)
    return None


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """`model.eval()`, and every module's mode as it was afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _alone(model: nn.Module, ids: Tensor) -> tuple[Tensor, ...]:
    output: tuple[Tensor, ...] = model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        position_ids=torch.arange(ids.shape[1], device=ids.device).expand_as(ids),
        use_cache=False,
        return_dict=False,
    )
    return output


def _by_length(rows: Sequence[Ids], device: torch.device) -> Iterator[Tensor]:
    """The distinct rows as tensors (n, T), those of one length together: nothing is padded."""
    lengths: dict[int, list[Ids]] = defaultdict(list)
    for row in dict.fromkeys(rows):
        lengths[len(row)].append(row)
    for same in lengths.values():
        yield torch.tensor(same, device=device)
