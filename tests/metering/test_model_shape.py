"""The forecast's arithmetic against what torch dispatches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from alignbench.metering.dispatch import MatmulCounter
from alignbench.metering.forecast import BACKWARD, BACKWARD_ATTENTION, ModelShape
from tests.metering.test_flops import gpt2, llama

IDS = torch.randint(2, 19, (3, 10), generator=torch.Generator().manual_seed(0))


def shape(model: Any) -> ModelShape:
    found = ModelShape.from_config(model.config.to_dict())
    assert found is not None
    return found


@pytest.mark.parametrize("make", [gpt2, llama])
def test_forward(make: Any) -> None:
    model = make()
    with torch.no_grad(), MatmulCounter() as counter:
        model(input_ids=IDS, logits_to_keep=4)
    assert sum(shape(model).forward(tokens=30, context=10, logits=12)) == counter.flops


@pytest.mark.parametrize("make", [gpt2, llama])
def test_training(make: Any) -> None:
    model = make().train()
    with MatmulCounter() as counter:
        model(input_ids=IDS, labels=IDS).loss.backward()
    weights, attention = shape(model).forward(tokens=30, context=10, logits=30)
    forecast = (1 + BACKWARD) * weights + (1 + BACKWARD_ATTENTION) * attention
    assert forecast == pytest.approx(counter.flops, rel=1e-9)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_one_token_on_a_cache(make: Any) -> None:
    model = make()
    with torch.no_grad():
        cache = model(input_ids=IDS[:, :9], use_cache=True).past_key_values
        with MatmulCounter() as counter:
            model(input_ids=IDS[:, 9:], past_key_values=cache, use_cache=True)
    assert sum(shape(model).forward(tokens=3, context=10, logits=3)) == counter.flops
