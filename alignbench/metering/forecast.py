"""What training will cost, by arithmetic alone: before a model is loaded or a token is read.

Lengths are assumed (half of the limits), attention is counted in full as kernels do, and the model
is known by its shape. `metering.flops` counts what then happens. Imports no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignbench.metering.budget import Budget

Spend = dict[str, float]
BACKWARD = 2.0
"""Backward over forward for products with weights: gradients of the input and of the weight."""
BACKWARD_ATTENTION = 2.5
"""Fused attention computes QK^T again in the backward pass."""


def add(*parts: Mapping[str, float], times: float = 1.0) -> Spend:
    """The sum of several spends, multiplied."""
    total: Spend = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + times * value
    return total


@dataclass(frozen=True)
class ModelShape:
    """What the cost of a causal transformer depends on.

    Attributes:
        layers, width, vocabulary: of the model.
        attention: width of all query heads together; `keys`: of all key heads.
        inner: width of the MLP; `gated`: whether it has a third matrix.
    """

    layers: int
    width: int
    vocabulary: int
    attention: int
    keys: int
    inner: int
    gated: bool

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelShape | None:
        """From a transformers config.json; None for a family whose keys are not known here."""
        try:
            if "n_embd" in config:
                width = int(config["n_embd"])
                inner = int(config.get("n_inner") or 4 * width)
                layers, vocabulary = int(config["n_layer"]), int(config["vocab_size"])
                return cls(layers, width, vocabulary, width, width, inner, gated=False)
            width, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
            head = int(config.get("head_dim") or width // heads)
            return cls(
                int(config["num_hidden_layers"]),
                width,
                int(config["vocab_size"]),
                heads * head,
                int(config.get("num_key_value_heads") or heads) * head,
                int(config["intermediate_size"]),
                gated=True,
            )
        except (KeyError, TypeError, ValueError):
            return None

    def weights(self) -> int:
        """Weights of all layers that tokens are multiplied by, the LM head left out."""
        attention = self.width * (2 * self.attention + 2 * self.keys)
        return self.layers * (attention + self.width * self.inner * (3 if self.gated else 2))

    def forward(self, tokens: float, context: float, logits: float) -> tuple[float, float]:
        """FLOPs of a forward pass: products with weights, and attention's.

        Args:
            tokens: that go through the layers.
            context: keys that each of them is compared with, padding and the future included.
            logits: tokens for which the LM head is computed.
        """
        heads = 2 * logits * self.width * self.vocabulary
        return (
            2 * tokens * self.weights() + heads,
            4 * self.layers * self.attention * tokens * context,
        )


@dataclass(frozen=True)
class Workload:
    """The model and the data of a recipe, as far as costs depend on them.

    Attributes:
        shape: of the policy; reward models and critics are taken to be as large.
        prompt, response: assumed mean tokens.
        prompts, pairs: training prompts and labelled pairs there are.
        labels: AI labels that may be had.
    """

    shape: ModelShape
    prompt: float
    response: float
    prompts: int
    pairs: int
    labels: float = math.inf

    def sampled(self, prompts: float, samples: float) -> Spend:
        """Decoding `samples` responses to `prompts` distinct prompts, with a cache."""
        prefill = self.shape.forward(prompts * self.prompt, self.prompt, prompts)
        tokens = samples * self.response
        steps = self.shape.forward(tokens, self.prompt + self.response / 2, tokens)
        return {
            "tokens_scored": prompts * self.prompt,
            "tokens_generated": tokens,
            "flops": sum(prefill) + sum(steps),
        }

    def scored(self, rows: float, head: bool = True) -> Spend:
        """Forward passes without gradient over prompt and response; `head`: with logits."""
        length = self.prompt + self.response
        logits = rows * self.response if head else 0.0
        flops = sum(self.shape.forward(rows * length, length, logits))
        return {"tokens_scored": rows * length, "flops": flops}

    def trained(self, rows: float, head: bool = True) -> Spend:
        """Forward and backward passes over prompt and response."""
        length = self.prompt + self.response
        logits = rows * self.response if head else 0.0
        weights, attention = self.shape.forward(rows * length, length, logits)
        flops = (1 + BACKWARD) * weights + (1 + BACKWARD_ATTENTION) * attention
        return {"tokens_trained": rows * length, "flops": flops}


@dataclass(frozen=True)
class Forecast:
    """What a method is going to consume.

    Attributes:
        per_step: by optimizer step.
        steps: at which it ends by itself; None: when the budget ends.
        before: what it consumes before the first step.
    """

    per_step: Mapping[str, float] = field(default_factory=dict)
    steps: float | None = None
    before: Mapping[str, float] = field(default_factory=dict)

    def within(self, budget: Budget | None) -> tuple[Spend, str | None]:
        """The whole spend within a budget, and the currency that ends it (None: the method does).

        Limits in hours cannot be foreseen and are left out.
        """
        per_step = {**self.per_step, "optimizer_steps": 1.0}
        steps, ends = self.steps if self.steps is not None else math.inf, None
        for currency, limit in (budget.limits() if budget is not None else {}).items():
            if per_step.get(currency, 0) <= 0 or currency in ("prompts", "human_labels"):
                continue
            left = limit - self.before.get(currency, 0)
            possible = max(0.0, math.ceil(left / per_step[currency] - 1e-9))
            if possible < steps:
                steps, ends = possible, currency
        if math.isinf(steps):
            return {}, None
        return add(self.before, add(per_step, times=steps)), ends


def read_config(folder: Path) -> ModelShape | None:
    """The shape of the model in a local transformers folder, if it can be told."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return ModelShape.from_config(config) if isinstance(config, dict) else None
