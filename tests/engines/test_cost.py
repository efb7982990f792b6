"""FLOPs of an engine that no hook sees, against the arithmetic and against the meter."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from alignbench.engines.cost import DecodingCost, apart
from alignbench.engines.sampler import TransformersSampler
from alignbench.metering.meter import Meter
from alignbench.metering.watch import watch
from alignbench.models.decode import Completion, Decoding
from alignbench.models.load import load_policy, save_model
from tests import tiny


def llama(tmp_path: Path) -> Path:
    config = LlamaConfig(
        vocab_size=19, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    save_model(LlamaForCausalLM(config), tiny.tokenizer(), tmp_path / "llama")
    return tmp_path / "llama"


def test_by_hand(tmp_path: Path) -> None:
    # Two layers of width 32: attention 32 x 96 and 32 x 32, MLP 32 x 128 twice.
    gpt2 = DecodingCost.of(tiny.start_folder(tmp_path))
    assert gpt2 == DecodingCost(2 * 2 * 12 * 32 * 32, 2 * 2 * 2 * 32, 2 * 32 * 19)
    # Queries 32 x 32, keys and values 32 x 16 each, output 32 x 32, MLP 32 x 48 three times.
    weights = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48
    cost = DecodingCost.of(llama(tmp_path))
    assert cost == DecodingCost(3 * 2 * weights, 3 * 2 * 2 * 32, 2 * 32 * 19)


def test_one_call_by_hand() -> None:
    cost = DecodingCost(token=1000, pair=10, head=1)
    # Prefill of 3 tokens once, though it is there twice: 3000 + 90 + 1. The first row has no step;
    # the second has two, which see 4 and 5 tokens: 2002 + 90.
    done = [Completion([7], True), Completion([5, 6, 7], True)]
    assert cost.flops([[1, 2, 3]] * 2, done) == 3091 + 2092


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_rows_of_one_length_cost_what_torch_computes(tmp_path: Path, kind: str) -> None:
    """Exactly, with repeated prompts; where rows differ in length torch computes padding too."""
    folder = llama(tmp_path) if kind == "llama" else tiny.start_folder(tmp_path)
    model, tokenizer = load_policy(folder)
    tokenizer.eos_token = "<pad>"  # which is not drawn
    model.get_output_embeddings().register_forward_hook(
        lambda module, args, logits: logits.index_fill(-1, torch.tensor([0, 1]), -1e9)
    )
    prompts = [[3, 4, 5, 6]] * 2 + [[8, 9, 10, 11]]
    meter = Meter()
    with watch(meter):
        done = TransformersSampler(model, tokenizer).sample(prompts, Decoding(5, 1.0), 3)
    assert {len(completion.ids) for completion in done} == {5}
    charged = Meter()
    with watch(charged):
        DecodingCost.of(folder).charge(prompts, done)
    assert charged.bill() == meter.bill()
    ragged = [[3, 4, 5, 6], [3], [3, 4]]
    meter = Meter()
    with watch(meter):
        done = TransformersSampler(model, tokenizer).sample(ragged, Decoding(5, 1.0), 3)
    assert DecodingCost.of(folder).flops(ragged, done) < meter.bill()["flops"]


def test_what_happens_apart_is_not_billed_and_moves_no_generator(tmp_path: Path) -> None:
    model, _ = load_policy(tiny.start_folder(tmp_path))
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    meter = Meter()
    with watch(meter):
        model(torch.tensor([[3, 4]]))
        before = meter.bill()
        with apart():
            model(torch.tensor([[3, 4]]))
            torch.manual_seed(0)
            random.seed(0)
            np.random.seed(0)
        assert meter.bill() == before
    found = torch.rand(1).item(), random.random(), np.random.rand()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    assert found == (torch.rand(1).item(), random.random(), np.random.rand())
