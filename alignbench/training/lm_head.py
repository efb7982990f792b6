"""Per-token log-probabilities for TRL's trainers without its fused LM head, on CPU.

TRL's head saves GPU memory by computing logits in tiles and again in the backward pass, for every
position. On CPU, for a small model, that nearly doubles the time of a step; here logits are
computed once, for the tokens that are scored. Values are the same (tests/training/test_lm_head.py).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from alignbench.models.logprobs import PLAIN_HEADS


def use_plain_head(model: Any, temperature: float = 1.0) -> bool:
    """Answer TRL's ``fused_lm_head=True`` calls of `model` from plain logits, where that is faster.

    Args:
        model: a causal LM that TRL has patched (`add_fused_lm_head`).
        temperature: that TRL was given.

    Returns:
        Whether the model was changed: it must be on CPU and of a type in `PLAIN_HEADS`.
    """
    if model.device.type != "cpu" or model.config.model_type not in PLAIN_HEADS:
        return False
    fused_forward = model.forward

    def forward(
        *args: Any, fused_lm_head: bool = False, labels: Tensor | None = None, **kwargs: Any
    ) -> Any:
        if fused_lm_head and labels is not None:
            return _plain(model, temperature, labels, *args, **kwargs)
        if labels is not None:
            kwargs["labels"] = labels
        return fused_forward(*args, **kwargs)

    model.forward = forward
    return True


def _plain(
    model: Any, temperature: float, labels: Tensor, *args: Any, **kwargs: Any
) -> SimpleNamespace:
    """The fields of TRL's FusedCausalLMOutput, each (B, T - 1) and 0 where the label is -100."""
    kwargs["use_cache"] = False
    hidden = model.base_model(*args, **kwargs).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    mask = targets != -100
    # Under autocast the head would round its logits to bf16 (see `models.logprobs`).
    with torch.autocast(hidden.device.type, enabled=False):
        logits = model.get_output_embeddings()(hidden[mask].float()) / temperature
    logprobs = logits.log_softmax(-1)
    picked = logprobs.gather(-1, targets[mask][:, None]).squeeze(-1)
    with torch.no_grad():
        entropy = -(logprobs.exp() * logprobs).sum(-1)
        top = logprobs.argmax(-1) == targets[mask]

    def spread(values: Tensor) -> Tensor:
        return values.new_zeros(mask.shape).masked_scatter(mask, values)

    return SimpleNamespace(
        log_probs=spread(picked),
        entropy=spread(entropy),
        mean_logits=spread(logits.detach().mean(-1)),
        is_top1=spread(top),
        aux_loss=None,
    )
