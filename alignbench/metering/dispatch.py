"""An exact count of the matrix products that torch dispatches: the reference for `metering.flops`.

It sees operations below autograd, forward and backward, whoever calls them, and is slow (Python
for every operation). `torch.utils.flop_counter` is not such a reference: it knows neither the CPU's
fused attention nor `addmm_`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class MatmulCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context manager; counts what the calling thread and its backward passes dispatch.

    Attributes:
        flops: 2 for each multiply-add.
        by_op: the same by operation, such as ``aten::mm``.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_op: Counter[str] = Counter()

    @property
    def flops(self) -> int:
        """The sum over all operations."""
        return sum(self.by_op.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run `func` and count it.

        Raises:
            NotImplementedError: a matrix product whose cost is not known here.
        """
        name = func._schema.name
        rule = RULES.get(name)
        if rule is None:
            # In inference mode composite operations arrive whole: take them apart.
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
            if any(part in name for part in UNKNOWN):
                raise NotImplementedError(f"MatmulCounter: no rule for {name}")
        output = func(*args, **(kwargs or {}))
        if rule is not None:
            self.by_op[name] += rule(args, output)
        return output


def _product(first: Tensor, second: Tensor) -> int:
    """(..., M, K) @ (..., K, N), or a vector in second place."""
    return 2 * first.numel() * (second.shape[-1] if second.ndim > 1 else 1)


def _plain(args: tuple[Any, ...], _: Any) -> int:
    return _product(args[0], args[1])


def _added(args: tuple[Any, ...], _: Any) -> int:
    return _product(args[1], args[2])


def _attention(args: tuple[Any, ...], _: Any) -> int:
    query, key, value = args[:3]
    pairs = 2 * prod(query.shape[:-1]) * key.shape[-2]
    return int(pairs * (query.shape[-1] + value.shape[-1]))


def _attention_backward(args: tuple[Any, ...], _: Any) -> int:
    """Five products: QK^T again, and the gradients of V, of the weights, of Q and of K."""
    _, query, key, value = args[:4]
    pairs = 2 * prod(query.shape[:-1]) * key.shape[-2]
    return int(pairs * (3 * query.shape[-1] + 2 * value.shape[-1]))


def _convolution(args: tuple[Any, ...], output: Tensor) -> int:
    """Every output value sums over the kernel and the channels of its group."""
    return int(2 * output.numel() * args[1][0].numel())


def _convolution_backward(args: tuple[Any, ...], _: Any) -> int:
    gradient, _, weight = args[:3]
    needs_input, needs_weight, _ = args[-1]
    return int(2 * gradient.numel() * weight[0].numel() * (needs_input + needs_weight))


_KERNELS = (
    "flash_attention_for_cpu",
    "flash_attention",
    "efficient_attention",
    "cudnn_attention",
    "fused_attention_overrideable",
)
UNKNOWN = ("attention", "_mm", "linear", "lstm", "gru", "rnn", "transformer_encoder")
"""Parts of names of operations that hold matrix products; without a rule they are refused."""
RULES: dict[str, Callable[[tuple[Any, ...], Any], int]] = {
    **dict.fromkeys(("aten::mm", "aten::bmm", "aten::mv", "aten::dot"), _plain),
    "aten::_grouped_mm": _plain,  # every row meets one group's matrix
    **dict.fromkeys(("aten::addmm", "aten::addmm_", "aten::_addmm_activation"), _added),
    **dict.fromkeys(("aten::baddbmm", "aten::baddbmm_", "aten::addbmm", "aten::addbmm_"), _added),
    **dict.fromkeys(("aten::addmv", "aten::addmv_"), _added),
    **{f"aten::_scaled_dot_product_{kernel}": _attention for kernel in _KERNELS},
    **{f"aten::_scaled_dot_product_{kernel}_backward": _attention_backward for kernel in _KERNELS},
    "aten::convolution": _convolution,
    "aten::convolution_backward": _convolution_backward,
}
"""Cost of an operation, from its arguments and its output."""
