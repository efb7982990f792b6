"""As much of the package vLLM as the engine in this process uses, made of torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from alignbench.models.load import load_policy


@dataclass
class SamplingParams:
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    logprobs: int | None
    stop_token_ids: list[int]
    ignore_eos: bool
    detokenize: bool


class LLM:
    """Draws with a generator for each request, as vLLM does."""

    made: list[LLM]
    stale = False  # forgets to take new weights over

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.model, _ = load_policy(Path(settings["model"]))
        self.calls: list[list[SamplingParams]] = []
        self.updates = self.resets = 0
        torch.manual_seed(settings["seed"])  # as the real one does
        torch.set_num_threads = lambda n: None  # type: ignore[assignment]
        type(self).made.append(self)

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Mapping[str, list[int]]],
        parameters: Sequence[SamplingParams],
        use_tqdm: bool,
    ) -> list[Any]:
        assert not use_tqdm
        torch.rand(1)  # from the global generator
        self.calls.append(list(parameters))
        return [
            self._one(prompt["prompt_token_ids"], wanted)
            for prompt, wanted in zip(prompts, parameters, strict=True)
        ]

    def _one(self, prompt: list[int], wanted: SamplingParams) -> Any:
        generator = torch.Generator().manual_seed(wanted.seed)
        ids: list[int] = []
        steps = []
        while len(ids) < wanted.max_tokens and not set(ids) & set(wanted.stop_token_ids):
            logits = self.model(torch.tensor([prompt + ids])).logits[0, -1]
            logprobs = (logits / (wanted.temperature or 1.0)).log_softmax(-1)
            token = int(logprobs.argmax())
            if wanted.temperature:
                token = int(torch.multinomial(logprobs.exp(), 1, generator=generator))
            ids.append(token)
            steps.append({token: SimpleNamespace(logprob=float(logprobs[token]))})
        told = None if wanted.logprobs is None else steps
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(ids), logprobs=told)])

    def collective_rpc(self, method: str, kwargs: Mapping[str, Any]) -> None:
        assert method == "reload_weights"
        self.updates += 1
        if not self.stale:
            self.model.load_state_dict(dict(kwargs["weights_iterator"]))

    def reset_prefix_cache(self) -> bool:
        self.resets += 1
        return True


def install(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> type[LLM]:
    """Make it `vllm`; returns the class, whose `made` has the engines that were loaded."""
    kind: type[LLM] = type("LLM", (LLM,), {"made": [], **changes})
    module = ModuleType("vllm")
    parameters = type("SamplingParams", (SamplingParams,), {"stop_token_ids": None})
    tidy = SimpleNamespace(cleanup_dist_env_and_memory=lambda: None)
    for name, value in (("LLM", kind), ("SamplingParams", parameters), ("distributed", tidy)):
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # what is set goes again
    return kind
