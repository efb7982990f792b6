"""Causal language models of many kinds: tokens, probabilities, rewards and adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from alignbench.models.decode import Decoding, sample
from alignbench.models.load import init_reward, load_policy, save_model, weights_digest
from alignbench.models.logprobs import padded_logprobs
from alignbench.models.lora import add_lora, has_lora
from alignbench.models.padding import left_pad, right_pad
from alignbench.models.reward import RewardScorer
from alignbench.recipe.schema import Lora
from tests import tiny

SMALL = {"vocab_size": 19, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
IDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
LLAMA = {**SMALL, "intermediate_size": 48, "num_key_value_heads": 1, "max_position_embeddings": 64}
KINDS: dict[str, dict[str, Any]] = {
    "gpt2": {"vocab_size": 19, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "llama": LLAMA,
    "mistral": {**LLAMA, "sliding_window": 4},
    "qwen3": {**LLAMA, "head_dim": 16},
    "gemma": {**LLAMA, "head_dim": 16},
    "gemma2": {**LLAMA, "head_dim": 16, "sliding_window": 4},
    "phi": {**SMALL, "intermediate_size": 48, "max_position_embeddings": 64},
    "gpt_neox": {**SMALL, "intermediate_size": 48, "max_position_embeddings": 64},
    "opt": {
        "vocab_size": 19,
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 48,
        "max_position_embeddings": 64,
    },
    "bloom": {"vocab_size": 19, "hidden_size": 32, "n_layer": 2, "n_head": 2},
    "gptj": {"vocab_size": 19, "n_embd": 32, "n_layer": 2, "n_head": 2, "rotary_dim": 8},
}
PROMPTS = [[3, 4], [5, 6, 7, 8, 9, 10, 11], [12]]


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = AutoConfig.for_model(request.param, **KINDS[request.param], **IDS)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # far from uniform, so that mistakes show
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(6)
    save_model(model, tiny.tokenizer(), tmp_path / "model")
    return tmp_path / "model"


def alone(model: Any, prompt: list[int], completion: list[int]) -> list[float]:
    """Log-probabilities of a completion, one sequence without any padding."""
    ids = torch.tensor([[*prompt, *completion]])
    with torch.no_grad():
        logprobs = model(input_ids=ids).logits[0].float().log_softmax(-1)
    at = range(len(prompt) - 1, len(prompt) + len(completion) - 1)
    return [float(logprobs[i, token]) for i, token in zip(at, completion, strict=True)]


def test_sampling_together_is_decoding_alone(folder: Path) -> None:
    model, tokenizer = load_policy(folder)
    found = sample(model, tokenizer, PROMPTS, Decoding(6, 0.0), 0, 3)
    for prompt, completion in zip(PROMPTS, found, strict=True):
        ids = list(prompt)
        for token in completion.ids:  # greedy, the whole sequence each time
            with torch.no_grad():
                assert int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()) == token
            ids.append(token)
        assert completion.logprobs == pytest.approx(alone(model, prompt, completion.ids), abs=1e-4)


def test_padded_log_probabilities_are_those_alone(folder: Path) -> None:
    model, _ = load_policy(folder)
    completions = [[13, 14, 15], [16, 0], [17, 18, 3]]
    left, left_mask = left_pad(PROMPTS, model.device)
    right, right_mask = right_pad(completions, model.device)
    ids, mask = torch.cat([left, right], 1), torch.cat([left_mask, right_mask], 1)
    with torch.no_grad():
        logprobs, _ = padded_logprobs(model, ids, mask, right.shape[1])
    for row, (prompt, completion) in enumerate(zip(PROMPTS, completions, strict=True)):
        expected = alone(model, prompt, completion)
        assert logprobs[row, : len(completion)].tolist() == pytest.approx(expected, abs=1e-4)


def test_reward_model_scores_together_as_alone(folder: Path) -> None:
    model, tokenizer, _ = init_reward(folder, 0)
    together = RewardScorer(model, tokenizer, batch_size=3).score_ids(PROMPTS, [[5, 0]] * 3)
    single = RewardScorer(model, tokenizer, batch_size=1).score_ids(PROMPTS, [[5, 0]] * 3)
    assert together == pytest.approx(single, abs=1e-4)
    assert len(set(together)) == 3


def test_an_adapter_and_its_merge(folder: Path, tmp_path: Path) -> None:
    model, tokenizer = load_policy(folder)
    add_lora(model, Lora(rank=2), 0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    save_model(model, tokenizer, tmp_path / "merged")
    plain, _ = load_policy(tmp_path / "merged")
    assert not has_lora(plain)
    assert weights_digest(plain) == weights_digest(model)
    ids = torch.tensor([PROMPTS[1]])
    with torch.no_grad():
        assert torch.allclose(plain(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-3)
