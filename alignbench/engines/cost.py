"""What decoding costs where no hook sees it: in vLLM, in this process or another.

`metering.flops` counts what torch computes. vLLM has kernels of its own, some of which the meter's
hooks see and some not, so what they see of it is taken back, and this count is put in its place:
each distinct prompt of a call goes through the model once, each sampled token but the last of its
row once, and attention is over the tokens before. That is what `models.decode` computes too, where
rows are of one length; otherwise it computes padding and rows that are done as well, and vLLM does
not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from alignbench.metering.engine import report, uncounted
from alignbench.metering.meter import Meter
from alignbench.metering.watch import watch
from alignbench.models.decode import Completion


@dataclass(frozen=True)
class DecodingCost:
    """FLOPs of a model's forward pass, as `metering.flops` counts them.

    Attributes:
        token: of one token, head and attention left out.
        pair: of one token's attention to one token.
        head: of the logits after one token.
    """

    token: int
    pair: int
    head: int

    @classmethod
    def of(cls, folder: Path) -> DecodingCost:
        """The cost of the model whose config.json is in `folder`, whatever its architecture.

        A model without weights (on torch's meta device) goes through the meter's own arithmetic
        three times. Layers that see a window only are taken to see everything.
        """
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
        config.get_text_config().pad_token_id = None  # else ids are searched for it: they have none
        with uncounted(), torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config).eval()
            one, two = _flops(model, 0, 1), _flops(model, 0, 2)
            after_one = _flops(model, 1, 1)
        pair = after_one - one
        token = two - one - 3 * pair  # two tokens have four pairs, one has one
        return cls(token, pair, one - token - pair)

    def flops(self, prompt_ids: Sequence[Sequence[int]], completions: Sequence[Completion]) -> int:
        """FLOPs of one call: prefill of its distinct prompts, and all steps."""
        total = 0
        for length in _distinct_lengths(prompt_ids):
            total += length * self.token + length**2 * self.pair + self.head
        for prompt, completion in zip(prompt_ids, completions, strict=True):
            steps = len(completion.ids) - 1  # the first token comes of the prefill
            seen = steps * len(prompt) + steps * (steps + 1) // 2
            total += steps * (self.token + self.head) + seen * self.pair
        return total

    def charge(
        self, prompt_ids: Sequence[Sequence[int]], completions: Sequence[Completion]
    ) -> None:
        """Put one call on the bill of the meter that watches this process, if any."""
        report(
            flops=self.flops(prompt_ids, completions),
            tokens_scored=sum(_distinct_lengths(prompt_ids)),
            tokens_generated=sum(len(completion.ids) for completion in completions),
        )


def _distinct_lengths(prompt_ids: Sequence[Sequence[int]]) -> list[int]:
    return [len(prompt) for prompt in {tuple(ids) for ids in prompt_ids}]


@torch.inference_mode()
def _flops(model: Any, context: int, tokens: int) -> int:
    cache = DynamicCache(config=model.config)
    if context:
        model(input_ids=torch.zeros(1, context, dtype=torch.long), past_key_values=cache)
    meter = Meter()
    with watch(meter):
        ids = torch.zeros(1, tokens, dtype=torch.long)
        model(input_ids=ids, past_key_values=cache, logits_to_keep=1)
    return meter.counts["flops"]


@contextmanager
def apart() -> Iterator[None]:
    """An engine's own work: hooks do not bill it, and it leaves the random generators alone."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with uncounted(), torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
