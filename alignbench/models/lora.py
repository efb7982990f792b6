"""Low-rank adapters inside a model (Hu et al. 2021, arXiv:2106.09685), put there by peft.

The model keeps its class and its modules, so that everything that works on it still does. Only the
adapter is trained; with the adapter switched off the model is the one it started as, which makes it
its own reference model, without a second copy in memory. What is saved has the adapter merged in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from alignbench.errors import UserError
from alignbench.recipe.schema import Lora

ADAPTER = "default"
_BASE, _LORA = ".base_layer.", ".lora_"


def add_lora(model: Any, settings: Lora, seed: int, trained_too: Sequence[str] = ()) -> None:
    """Put an adapter that changes nothing yet into `model`, and freeze everything else.

    Args:
        model: a transformers model, changed in place.
        settings: of the recipe.
        seed: of the adapter's first matrices (the second ones are 0).
        trained_too: names of parameters that are trained in full, such as a new head's.

    Raises:
        UserError: peft is not installed, or the model has no layer of a name in `targets`.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError(
            "training.lora needs the package peft: pip install 'alignbench[peft]'"
        ) from error
    targets = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    # No dropout: sampling, training and the reference must see one and the same model.
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=targets,
        exclude_modules=[name.rpartition(".")[0] for name in trained_too] or None,
        lora_dropout=0.0,
    )
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, model, adapter_name=ADAPTER)
        except ValueError as error:
            raise UserError(f"training.lora.targets: {str(error).splitlines()[0]}") from error
    for name in trained_too:
        model.get_parameter(name).requires_grad_(True)


def has_lora(model: Any) -> bool:
    """Whether `add_lora` was applied to the model."""
    return isinstance(model, nn.Module) and any(True for _ in _layers(model))


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """The model without its adapter."""
    for layer in _layers(model):
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in _layers(model):
            layer.enable_adapters(True)


class WithoutAdapter:
    """The start model, as the policy with its adapter switched off: a reference for free.

    It is called as the policy is; its `state_dict` is that of the start model.
    """

    def __init__(self, model: Any, whole: Any = None) -> None:
        self._model = model
        self._whole = model if whole is None else whole

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model's forward without the adapter."""
        with switched_off(self._whole):
            return self._model(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    @property
    def base_model(self) -> WithoutAdapter:
        """The backbone, likewise without the adapter."""
        return WithoutAdapter(self._model.base_model, self._whole)

    def get_output_embeddings(self) -> WithoutAdapter:
        """The LM head, likewise without an adapter."""
        return WithoutAdapter(self._model.get_output_embeddings(), self._whole)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The frozen weights under the names that they have without an adapter."""
        weights = self._model.state_dict()
        return {_plain(name): value for name, value in weights.items() if _LORA not in name}


@torch.no_grad()
def merged_state_dict(model: Any) -> dict[str, torch.Tensor]:
    """The weights of a model without an adapter that computes the same: W + scale * B A."""
    weights = WithoutAdapter(model).state_dict()
    for name, module in model.named_modules():
        if _is_lora(module):
            key = f"{name}.weight"
            weights[key] = weights[key] + module.get_delta_weight(ADAPTER).to(weights[key].dtype)
    return weights


def _layers(model: nn.Module) -> Iterator[Any]:
    return (module for module in model.modules() if _is_lora(module))


def _is_lora(module: nn.Module) -> bool:
    return hasattr(module, "lora_A") and hasattr(module, "base_layer")


def _plain(name: str) -> str:
    return name.replace(_BASE, ".")
