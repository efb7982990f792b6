"""The reference itself, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from alignbench.metering.dispatch import MatmulCounter


def test_products_by_hand() -> None:
    a, b, v = torch.randn(2, 3), torch.randn(3, 5), torch.randn(3)
    with MatmulCounter() as counter:
        a @ b
        assert counter.flops == 2 * 2 * 3 * 5
        torch.zeros(2, 5).addmm_(a, b)
        assert counter.flops == 2 * (2 * 2 * 3 * 5)
        a @ v
    assert counter.by_op == {"aten::mm": 60, "aten::addmm_": 60, "aten::mv": 12}


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_the_same_in_every_mode(mode: type) -> None:
    layer, x = nn.Linear(3, 5), torch.randn(2, 4, 3)
    q = torch.randn(1, 2, 4, 8)
    with mode(), MatmulCounter() as counter:
        layer(x)
        nn.functional.scaled_dot_product_attention(q, q, q)
    assert counter.flops == 2 * 8 * 3 * 5 + 4 * 2 * 4 * 4 * 8


def test_backward() -> None:
    layer, x = nn.Linear(3, 5), torch.randn(2, 3, requires_grad=True)
    with MatmulCounter() as counter:
        layer(x).sum().backward()
    assert counter.flops == 3 * (2 * 2 * 3 * 5)


def test_convolution() -> None:
    layer, x = nn.Conv1d(4, 6, kernel_size=3), torch.randn(2, 4, 10)
    with MatmulCounter() as counter:
        layer(x).sum().backward()
    forward = 2 * (2 * 6 * 8) * (4 * 3)
    assert counter.flops == 2 * forward  # the input wants no gradient


def test_unknown_products_are_refused() -> None:
    layer, x = nn.MultiheadAttention(4, 2, batch_first=True).eval(), torch.randn(1, 2, 4)
    with torch.no_grad(), MatmulCounter(), pytest.raises(NotImplementedError, match="no rule"):
        layer(x, x, x)
