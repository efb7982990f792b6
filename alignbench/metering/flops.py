"""The meter's arithmetic: which computation costs how many FLOPs, and which tokens are counted.

A multiply-add is 2 FLOPs. Counted are matrix products, forward and backward, as torch dispatches
them; element-wise work, norms and softmax (a few per cent) are not. The functions that compute the
products are replaced for as long as the meter is installed, for the whole process, so LoRA
adapters, critics, copies and models loaded later count by themselves:

* `torch.nn.functional.linear` (every `nn.Linear`) and transformers' `Conv1D`: 2MKN, and 2MKN each
  for the gradients of input and weight, where there are such;
* attention, in torch's `scaled_dot_product_attention` and in transformers' attention functions:
  QK^T and AV over all keys, cached ones too. The backward pass has 4 products of that size, and
  fused kernels a fifth, since they compute QK^T again;
* the experts of mixture-of-experts models (transformers' experts functions);
* TRL's fused LM head, which multiplies by the head's weight without calling it;
* tokens, at the innermost `PreTrainedModel` (the backbone).

A backward pass is charged when a gradient reaches the output of such a function. Gradient
checkpointing calls the functions again, and they are charged again. (Not module hooks: a global one
slows down every module, norms and activations too, and sees neither keys nor kernels.)

Not counted: products by other means (`@` in a model's own code, GPT-2's
`reorder_and_upcast_attn`), convolutions, kernels that replace a whole module (Liger, torch's fast
path of `nn.MultiheadAttention` in inference), optimizers that multiply matrices, compiled models.
`metering.dispatch` counts what is dispatched, whoever asks for it; the conformance suite compares
the two.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.moe import ExpertsInterface
from transformers.modeling_utils import AttentionInterface
from transformers.pytorch_utils import Conv1D
from trl.kernels import ChunkedLogProbFunction

from alignbench.metering.meter import Meter

HELD = 64
"""Counts that are on a GPU are fetched at most once for so many forwards: fetching waits for it."""

Function = Callable[..., Any]


class Removable(Protocol):
    """What `install` returns."""

    def remove(self) -> None:
        """Put back what was there before."""


def install(meter: Meter) -> list[Removable]:
    """Charge `meter` for all work in torch from now on, until the handles are removed.

    Where several meters are installed, their handles must be removed in reverse order.
    """
    count, tokens = _Products(meter), _Tokens(meter)
    meter.settle = tokens.settle
    return [
        _Patch(nn.functional, "linear", count.linear),
        _Patch(Conv1D, "forward", count.conv1d),
        _Patch(nn.functional, "scaled_dot_product_attention", count.sdpa),
        _Patch(AttentionInterface, "get_interface", count.attention_interface),
        _Patch(ExpertsInterface, "get_interface", count.experts_interface),
        _Patch(ChunkedLogProbFunction, "forward", count.fused_head),
        _Patch(ChunkedLogProbFunction, "backward", count.fused_head_backward),
        _Patch(PreTrainedModel, "__call__", tokens.model_call),
    ]


class _Patch:
    """Replaces ``owner.name`` by ``wrap(owner.name)`` until removed."""

    def __init__(self, owner: Any, name: str, wrap: Callable[[Function], Function]) -> None:
        self.owner, self.name = owner, name
        self.original = vars(owner).get(name)  # None: inherited
        wrapped = wrap(getattr(owner, name))
        setattr(owner, name, staticmethod(wrapped) if self._is_static() else wrapped)

    def _is_static(self) -> bool:
        return isinstance(self.original, staticmethod)

    def remove(self) -> None:
        if self.original is None:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.original)


class _Products:
    """Wrappers that charge FLOPs; each takes the function that it replaces."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.counted = 0  # calls of functions below that a model's own function may be made of

    def _charge(self, flops: int, output: Any, backward: int) -> None:
        """Charge `flops` now, and `backward` whenever a gradient reaches `output`."""
        add = self.meter.add
        add("flops", flops)
        if output.requires_grad:
            output.register_hook(lambda _: add("flops", backward))

    def linear(self, function: Function) -> Function:
        """(..., K) times the transpose of (N, K)."""
        meter = self.meter

        @functools.wraps(function)
        def linear(input: Any, weight: Any, bias: Any = None) -> Any:
            output = function(input, weight, bias)
            if not meter.is_paused:
                self.counted += 1
                flops = 2 * output.numel() * input.shape[-1]
                if output.requires_grad:
                    # Frozen weights (LoRA) have no product of their own.
                    grads = input.requires_grad + weight.requires_grad
                    self._charge(flops, output, flops * grads)
                else:
                    meter.add("flops", flops)
            return output

        return linear

    def conv1d(self, function: Function) -> Function:
        """(..., K) times (K, N)."""

        @functools.wraps(function)
        def forward(module: Any, x: Any) -> Any:
            output = function(module, x)
            if not self.meter.is_paused:
                flops = 2 * output.numel() * module.nx
                self._charge(flops, output, flops * (x.requires_grad + module.weight.requires_grad))
            return output

        return forward

    def sdpa(self, function: Function) -> Function:
        """Attention as one function of torch, which chooses the kernel."""

        @functools.wraps(function)
        def scaled_dot_product_attention(
            query: Any, key: Any, value: Any, *args: Any, **kwargs: Any
        ) -> Any:
            output = function(query, key, value, *args, **kwargs)
            if not self.meter.is_paused:
                self.counted += 1
                self._charge_attention(query, key, value, output, _is_fused(output))
            return output

        return scaled_dot_product_attention

    def attention_interface(self, get_interface: Function) -> Function:
        """transformers' look-up of attention functions: eager, flash_attention_2, ..."""

        @functools.cache
        def wrapped(function: Function) -> Function:
            fused = "eager" not in function.__name__

            @functools.wraps(function)
            def attention(module: Any, q: Any, k: Any, v: Any, *args: Any, **kwargs: Any) -> Any:
                before = self.counted
                result = function(module, q, k, v, *args, **kwargs)
                # One that is made of counted functions is charged already.
                if not self.meter.is_paused and self.counted == before:
                    self._charge_attention(q, k, v, result[0], fused)
                return result

            return attention

        def counted_interface(registry: Any, name: str, default: Function) -> Function:
            function = get_interface(registry, name, default)
            return function if name == "sdpa" else wrapped(function)

        return counted_interface

    def _charge_attention(self, q: Any, k: Any, v: Any, output: Any, fused: bool) -> None:
        """Queries (..., H, T, D); keys and values of any number of heads."""
        pairs = 2 * prod(q.shape[:-1]) * k.shape[-2]
        scores, mixed = pairs * q.shape[-1], pairs * v.shape[-1]
        if fused:
            backward = 3 * scores + 2 * mixed
        else:
            backward = scores * (q.requires_grad + k.requires_grad)
            backward += mixed * (v.requires_grad + (q.requires_grad or k.requires_grad))
        self._charge(scores + mixed, output, backward)

    def experts_interface(self, get_interface: Function) -> Function:
        """transformers' look-up of experts functions: eager, grouped_mm, batched_mm, ..."""

        @functools.cache
        def wrapped(function: Function) -> Function:
            @functools.wraps(function)
            def experts(module: Any, x: Any, top_k_index: Any, *args: Any, **kwargs: Any) -> Any:
                before = self.counted
                output = function(module, x, top_k_index, *args, **kwargs)
                if not self.meter.is_paused and self.counted == before:
                    # Each (token, chosen expert) goes through all matrices of one expert.
                    stacks = [w for w in module.parameters(recurse=False) if w.ndim == 3]
                    products = [2 * top_k_index.numel() * w[0].numel() for w in stacks]
                    grads = [1 + w.requires_grad for w in stacks]
                    backward = sum(n * g for n, g in zip(products, grads, strict=True))
                    self._charge(sum(products), output, backward)
                return output

            return experts

        def counted_interface(registry: Any, name: str, default: Function) -> Function:
            return wrapped(get_interface(registry, name, default))

        return counted_interface

    def fused_head(self, function: Function) -> Function:
        """TRL's `add_fused_lm_head`: (N, K) times the transpose of (V, K), in tiles."""

        @functools.wraps(function)
        def forward(ctx: Any, hidden: Any, weight: Any, *args: Any) -> Any:
            self.meter.add("flops", 2 * hidden.numel() * weight.shape[0])
            return function(ctx, hidden, weight, *args)

        return forward

    def fused_head_backward(self, function: Function) -> Function:
        """The logits again, and the gradients of hidden states and weight."""

        @functools.wraps(function)
        def backward(ctx: Any, *grads: Any) -> Any:
            hidden, weight, *_ = ctx.saved_tensors
            needs_hidden, needs_weight, *_ = ctx.needs_input_grad
            flops = 2 * hidden.numel() * weight.shape[0]
            self.meter.add("flops", flops * (1 + needs_hidden + needs_weight))
            return function(ctx, *grads)

        return backward


def _is_fused(output: Any) -> bool:
    """Whether a fused kernel made it; torch's fallback is made of matrix products and views."""
    node = output.grad_fn
    if node is None:
        return False
    # Where the kernel wants another head size, its output is sliced.
    nodes = [node, *(parent for parent, _ in node.next_functions[:1] if parent is not None)]
    return any("Attention" in node.name() for node in nodes)


class _Tokens:
    """Tokens that went through a backbone.

    The real tokens of a forward are `tokens_trained` if a gradient could reach its last hidden
    state and else `tokens_scored`: a forward that keeps its graph for nothing counts as training.
    Tokens on top of a cache are `tokens_generated`. A mask that is not (B, T) hides what is
    padding; without one all tokens are real.
    """

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.held: list[tuple[str, Tensor]] = []
        self.unchecked = 0
        self.backbones: dict[type, list[str] | None] = {}

    def model_call(self, function: Function) -> Function:
        """`PreTrainedModel.__call__`."""

        @functools.wraps(function)
        def __call__(module: Any, *args: Any, **kwargs: Any) -> Any:
            self.meter.check_end()
            output = function(module, *args, **kwargs)
            names = self._parameters(module)
            if names is not None and not self.meter.is_paused:
                given = {**dict(zip(names, args, strict=False)), **kwargs} if args else kwargs
                self._forward(given, output)
            return output

        return __call__

    def _parameters(self, module: Any) -> list[str] | None:
        """Names of a backbone's parameters in order; None for a model around a backbone."""
        kind = type(module)
        if kind not in self.backbones:
            models = sum(isinstance(child, PreTrainedModel) for child in module.modules())
            names = list(inspect.signature(kind.forward).parameters)[1:]
            self.backbones[kind] = names if models == 1 else None
        return self.backbones[kind]

    def _forward(self, given: dict[str, Any], output: Any) -> None:
        ids = given.get("input_ids")
        if ids is None and (ids := given.get("inputs_embeds")) is None:
            return  # pixels or sound
        if torch._C._current_graph_task_id() != -1:
            return  # within a backward pass, so checkpointing runs this forward again
        rows, width = ids.shape[:2]
        mask = given.get("attention_mask")
        if not isinstance(mask, Tensor) or mask.ndim != 2:
            mask = None
        cached = _has_context(given, mask, width)
        if cached and self.meter.in_engine:
            self._check()
            return
        total = real = rows * width
        if mask is not None:
            real = mask[:, -width:].sum()
            real = int(real) if mask.device.type == "cpu" else real
        kind = "tokens_trained" if output[0].requires_grad else "tokens_scored"
        self._add("tokens_generated" if cached else kind, real)
        self._add("tokens_padding", total - real)
        self._check()

    def _add(self, name: str, amount: int | Tensor) -> None:
        if isinstance(amount, Tensor):
            self.held.append((name, amount))
        else:
            self.meter.add(name, amount)

    def _check(self) -> None:
        self.unchecked += 1
        if not self.held or self.unchecked >= HELD:
            self.unchecked = 0
            self.settle()
            self.meter.check_backstop()

    def settle(self) -> None:
        """Charge the counts that are still on a GPU."""
        held, self.held = self.held, []
        for name, amount in held:
            self.meter.counts[name] += int(amount)


def _has_context(given: dict[str, Any], mask: Tensor | None, width: int) -> bool:
    """Whether keys and values of earlier tokens were there before this forward."""
    if mask is not None:
        return bool(mask.shape[1] > width)
    cache = given.get("past_key_values")
    return cache is not None and int(cache.get_seq_length()) > width
