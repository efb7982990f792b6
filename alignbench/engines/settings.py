"""How a vLLM engine is set up, in the process and as a server alike."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from alignbench.engines.vllm_package import DTYPES
from alignbench.errors import UserError
from alignbench.models.lora import has_lora, merged_state_dict

GPU_MEMORY = "ALIGNBENCH_VLLM_GPU_MEMORY"


@dataclass(frozen=True)
class Settings:
    """One engine.

    Attributes:
        folder: of transformers, with safetensors and a tokenizer.
        precision: ``fp32``, ``bf16`` or ``fp16``, of weights and KV cache; logits are fp32.
        longest: tokens of the longest prompt and its completion.
        rows: completions that are under way at once.
        gpu_memory: share of a GPU's memory that the engine takes, unless the environment variable
            ALIGNBENCH_VLLM_GPU_MEMORY names another.
    """

    folder: Path
    precision: str
    longest: int
    rows: int
    gpu_memory: float

    def arguments(self) -> dict[str, Any]:
        """Engine arguments of vLLM, by the names of `vllm.EngineArgs`.

        Raises:
            UserError: the model has too few positions, or the environment's share is none.
        """
        config = AutoConfig.from_pretrained(str(self.folder), local_files_only=True)
        positions = getattr(config.get_text_config(), "max_position_embeddings", None)
        if positions is not None and self.longest > positions:
            raise UserError(
                f"decoding: prompt and response of {self.longest} tokens together do not fit the "
                f"model's {positions} positions. Lower `max_response_tokens` or "
                "`max_prompt_tokens`, or use a model with more positions."
            )
        return {
            "model": str(self.folder),
            "dtype": DTYPES[self.precision],
            "max_model_len": self.longest,
            "max_num_seqs": self.rows,
            "gpu_memory_utilization": _share(self.gpu_memory),
            "enable_prefix_caching": True,
            "enforce_eager": not torch.cuda.is_available(),
            "generation_config": "vllm",  # what the model's folder says of sampling is not asked
            "logprobs_mode": "processed_logprobs",  # at the sampling temperature
            "hf_overrides": {"head_dtype": "float32"},
            "seed": 0,
        }


def _share(default: float) -> float:
    written = os.environ.get(GPU_MEMORY, str(default))
    try:
        share = float(written)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UserError(f'{GPU_MEMORY}="{written}": must be a number in (0, 1], such as 0.3')
    return share


def row_seed(seed: int, row: int) -> int:
    """The seed of one row's request: 63 bits that neighbouring rows and seeds do not share."""
    digest = hashlib.sha256(f"{seed} {row}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """A model's weights by their names in a checkpoint; an adapter is merged in.

    Tied weights come under all their names: vLLM on a CPU packs the head apart from the embedding,
    and keeps the old one where it is given the embedding alone.
    """
    return merged_state_dict(model) if has_lora(model) else dict(model.state_dict())
