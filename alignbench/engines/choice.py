"""Which engine samples, and why. Imports neither torch nor vLLM."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

from alignbench import machine

EngineName = Literal["transformers", "vllm", "vllm_server"]


@dataclass(frozen=True)
class Chosen:
    """The engine of a run's sampling, with the reason as a clause."""

    name: EngineName
    reason: str

    def sentence(self) -> str:
        """``Sampling by transformers: no CUDA device on this machine.``"""
        return f"Sampling by {self.name}: {self.reason}."


def choose(wanted: EngineName | Literal["auto"]) -> Chosen:
    """What the recipe's ``engine`` means on this machine.

    "auto" is vLLM in the process where there is CUDA and vLLM is installed, else transformers.
    """
    if wanted != "auto":
        return Chosen(wanted, "the recipe says so (engine)")
    why_not = vllm_missing()
    if why_not is None:
        return Chosen("vllm", "there is CUDA, and vLLM is installed")
    return Chosen("transformers", why_not)


def vllm_missing() -> str | None:
    """Why vLLM is not the engine that suits this machine, as a clause; None if it is."""
    usable, why = machine.cuda()
    if not usable:
        return why
    if importlib.util.find_spec("vllm") is None:
        return "vLLM is not installed (pip install 'alignbench[vllm]')"
    return None
