"""Adapters: they start as nothing, the start model stays inside, what is saved is plain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from alignbench.errors import UserError
from alignbench.models.decode import Decoding, sample
from alignbench.models.load import init_reward, load_policy, save_model, weights_digest
from alignbench.models.logprobs import padded_logprobs
from alignbench.models.lora import WithoutAdapter, add_lora, has_lora, merged_state_dict
from alignbench.recipe.schema import Lora
from tests import tiny

IDS = torch.tensor([[3, 4, 5, 6, 7]])


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


def trained(tmp_path: Path, **settings: Any) -> tuple[Any, Any, str]:
    """A model with an adapter after some steps, its tokenizer, and the digest of its start."""
    model, tokenizer = load_policy(tiny.start_folder(tmp_path))
    start = weights_digest(model)
    add_lora(model, Lora(rank=4, **settings), seed=0)
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=0.05)
    for _ in range(3):
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, tokenizer, start


def test_a_new_adapter_changes_nothing_and_all_else_is_frozen(tmp_path: Path) -> None:
    model, _ = load_policy(tiny.start_folder(tmp_path))
    before, start = logits(model), weights_digest(model)
    assert not has_lora(model)
    add_lora(model, Lora(rank=4), seed=0)
    assert has_lora(model)
    assert torch.equal(logits(model), before)
    assert weights_digest(model) == start  # merged, it is the start model
    free = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert free
    assert all(".lora_" in name for name in free)


def test_the_start_model_is_the_policy_without_its_adapter(tmp_path: Path) -> None:
    model, tokenizer, start = trained(tmp_path)
    original, _ = load_policy(tiny.start_folder(tmp_path))
    reference = WithoutAdapter(model)
    assert torch.allclose(logits(reference), logits(original), atol=1e-6)
    assert not torch.allclose(logits(model), logits(original), atol=1e-2)  # it is on again
    hidden = reference.base_model(input_ids=IDS).last_hidden_state
    assert torch.allclose(hidden, original.base_model(input_ids=IDS).last_hidden_state, atol=1e-6)
    assert weights_digest(reference) == start
    assert all(w.requires_grad for n, w in model.named_parameters() if ".lora_" in n)
    how = Decoding(4, 0.0)
    assert sample(reference, tokenizer, [[3, 4]], how, 0, 1) == sample(
        original, tokenizer, [[3, 4]], how, 0, 1
    )


@pytest.mark.parametrize(
    "targets", ["all-linear", ["lm_head"], ["c_attn", "lm_head"], ["wte"], ["c_fc"]]
)
def test_the_reference_has_no_adapter_anywhere(targets: Any, tmp_path: Path) -> None:
    model, _, _ = trained(tmp_path, targets=targets)
    original, _ = load_policy(tiny.start_folder(tmp_path))
    mask = torch.ones_like(IDS)
    with torch.no_grad():
        ours, _ = padded_logprobs(WithoutAdapter(model), IDS, mask, 3)
        theirs, _ = padded_logprobs(original, IDS, mask, 3)
        policy, _ = padded_logprobs(model, IDS, mask, 3)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(policy, theirs, atol=1e-3)


def test_what_is_saved_is_a_plain_model_that_computes_the_same(tmp_path: Path) -> None:
    model, tokenizer, start = trained(tmp_path)
    save_model(model, tokenizer, tmp_path / "merged")
    plain, _ = load_policy(tmp_path / "merged")
    assert not has_lora(plain)
    assert torch.allclose(logits(plain), logits(model), atol=1e-5)
    assert weights_digest(plain) == weights_digest(model) != start
    # It can be trained on: saving changed nothing in memory.
    assert has_lora(model)
    assert weights_digest(WithoutAdapter(model)) == start


def test_the_merged_weights_are_w_plus_scaled_ba(tmp_path: Path) -> None:
    model, _, _ = trained(tmp_path, alpha=12)
    layer = dict(model.named_modules())["transformer.h.0.mlp.c_fc"]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    by_hand = layer.base_layer.weight + (12 / 4) * (b @ a).T  # GPT-2 stores weights transposed
    merged = merged_state_dict(model)["transformer.h.0.mlp.c_fc.weight"]
    assert torch.allclose(merged, by_hand, atol=1e-6)


def test_the_seed_decides_the_adapter_and_nothing_else_draws(tmp_path: Path) -> None:
    models = [load_policy(tiny.start_folder(tmp_path))[0] for _ in range(3)]

    def matrices(model: Any, seed: int) -> list[torch.Tensor]:
        add_lora(model, Lora(rank=4), seed)
        return [w for n, w in model.named_parameters() if "lora_A" in n]

    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, same, other = (matrices(m, seed) for m, seed in zip(models, (0, 0, 1), strict=True))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_reward_models_head_is_trained_in_full(tmp_path: Path) -> None:
    model, _, _ = init_reward(tiny.start_folder(tmp_path), 0)
    add_lora(model, Lora(rank=4), 0, trained_too=["score.weight"])
    assert model.score.weight.requires_grad
    assert not model.transformer.wte.weight.requires_grad
    assert not hasattr(model.score, "lora_A")  # in full, and not twice


def test_targets_that_name_no_layer_are_a_user_error(tmp_path: Path) -> None:
    model, _ = load_policy(tiny.start_folder(tmp_path))
    with pytest.raises(UserError, match=r"training\.lora\.targets: .*q_proj"):
        add_lora(model, Lora(targets=["q_proj"]), 0)


def test_without_peft_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load_policy(tiny.start_folder(tmp_path))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"pip install 'alignbench\[peft\]'"):
        add_lora(model, Lora(), 0)
