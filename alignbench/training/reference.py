"""The reference's log-probabilities of pairs, computed once for all methods that want them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import add_fused_lm_head

from alignbench.methods.base import Pair
from alignbench.models.load import install_position_ids
from alignbench.training.lm_head import use_plain_head
from alignbench.training.preference import response_logprobs, tokenize_pairs

AUTOCAST = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@torch.no_grad()
def reference_logprobs(
    model: Any,
    tokenizer: Any,
    pairs: Sequence[Pair],
    max_response: int,
    precision: str,
    batch_size: int,
    progress: Callable[[int, int], None],
) -> list[tuple[float, float]]:
    """Log-probabilities (chosen, rejected) of N pairs, in nats, summed over a response's tokens.

    They are computed as the training computes the policy's, in its precision too: else rounding
    would pass for a change of the policy.

    Args:
        model: the start model; TRL's head is put on it.
        max_response: responses are cut there, as in training.
        batch_size: pairs in a forward pass; it changes results by rounding only.
        progress: called as ``progress(done, N)``.
    """
    add_fused_lm_head(model, outputs=("log_probs",))
    install_position_ids(model)
    use_plain_head(model)
    rows = tokenize_pairs(tokenizer, pairs, max_response)
    collate = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)
    order = sorted(range(len(rows)), key=lambda n: rows[n]["length"])
    found: list[tuple[float, float]] = [(0.0, 0.0)] * len(rows)
    dtype = AUTOCAST[precision]
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        batch = {k: v.to(model.device) for k, v in collate([rows[n] for n in numbers]).items()}
        with torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32):
            chosen, rejected = response_logprobs(model, batch).chunk(2)
        found_here = zip(chosen.tolist(), rejected.tolist(), strict=True)
        for n, both in zip(numbers, found_here, strict=True):
            found[n] = both
        progress(start + len(numbers), len(order))
    return found
