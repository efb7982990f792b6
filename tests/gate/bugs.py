"""Bugs that the gate must catch, put into `alignbench` from outside: the package has no hook.

A folder with a ``sitecustomize.py`` that calls `install` goes on PYTHONPATH, and ``BUG`` of the
environment names one of `BUGS`. Each patch waits until its module is imported, in the worker, so
that nothing heavy is imported before. Stage keys know nothing of it: every bug needs a stage store
of its own.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

VARIABLE = "ALIGNBENCH_TEST_BUG"
Patch = Callable[[ModuleType], None]


def _flip_advantages(module: ModuleType) -> None:
    """The policy gradient goes down where it should go up."""
    trainer = module.OnPolicyTrainer
    right = trainer._training_batch

    def wrong(self: Any, batch: dict[str, Any], rollout: Any) -> dict[str, Any]:
        made = right(self, batch, rollout)
        return {**made, "advantages": -made["advantages"]}

    trainer._training_batch = wrong


def _thaw_reference(module: ModuleType) -> None:
    """The reference is the policy itself, and is trained with it."""
    right = module._inputs

    def wrong(ctx: Any, method: Any, policy: Any, *others: Any) -> Any:
        return replace(right(ctx, method, policy, *others), reference=lambda: policy.model)

    module._inputs = wrong


def _train_on_prompts(module: ModuleType) -> None:
    """Pairs: the tokens of the prompt count as tokens of the response."""
    _change_pairs(module, lambda batch: batch["attention_mask"])


def _train_on_padding(module: ModuleType) -> None:
    """Pairs: all that comes after the response counts as response."""

    def mask(batch: dict[str, Any]) -> Any:
        return (batch["completion_mask"].cumsum(1) > 0).long()

    _change_pairs(module, mask)


def _change_pairs(module: ModuleType, mask: Callable[[dict[str, Any]], Any]) -> None:
    collator = module.DataCollatorForPreference
    right = collator.torch_call

    def wrong(self: Any, examples: list[Any]) -> dict[str, Any]:
        batch = right(self, examples)
        return {**batch, "completion_mask": mask(batch).clone()}

    collator.torch_call = wrong


def _train_on_rollout_padding(module: ModuleType) -> None:
    """Rollouts: the loss is over every column, padding included."""
    trainer = module.OnPolicyTrainer
    right = trainer._training_batch

    def wrong(self: Any, batch: dict[str, Any], rollout: Any) -> dict[str, Any]:
        made = right(self, batch, rollout)
        return {**made, "completion_mask": made["completion_mask"].new_ones(rollout.mask.shape)}

    trainer._training_batch = wrong


def _reward_padding(module: ModuleType) -> None:
    """The reward model is read at the last column, which is padding in all rows but the longest."""
    right = module.right_pad

    def wrong(rows: Any, device: Any, pad_id: int) -> Any:
        # Of any other id, transformers takes the padding for text.
        return right(rows, device, pad_id + 1 if pad_id == 0 else pad_id - 1)

    module.right_pad = wrong


def _sft_on_prompts(module: ModuleType) -> None:
    """SFT learns to write the prompt too."""
    right = module.example

    def wrong(*given: Any) -> dict[str, list[int]]:
        made = right(*given)
        return {**made, "labels": list(made["input_ids"])}

    module.example = wrong


ONPOLICY = "alignbench.training.onpolicy"
PAIRS = "trl.trainer.dpo_trainer"
BUGS: dict[str, Sequence[tuple[str, Patch]]] = {
    "advantage_sign": [(ONPOLICY, _flip_advantages)],
    "reference_trained": [("alignbench.stages.method", _thaw_reference)],
    "prompt_in_loss": [(PAIRS, _train_on_prompts)],
    "prompt_in_sft_loss": [("alignbench.stages.sft", _sft_on_prompts)],
    "padding_in_loss": [(ONPOLICY, _train_on_rollout_padding), (PAIRS, _train_on_padding)],
    "padding_rewarded": [("alignbench.models.reward", _reward_padding)],
}


def install(name: str | None = None) -> None:
    """Put in the bug that is named, by default in the environment; none for an empty name."""
    name = os.environ.get(VARIABLE, "") if name is None else name
    patches: dict[str, list[Patch]] = {}
    for module, patch in BUGS[name] if name else ():
        patches.setdefault(module, []).append(patch)
    sys.meta_path.insert(0, _Finder(patches))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules as Python does, and changes those that have patches once they are loaded."""

    def __init__(self, patches: dict[str, list[Patch]]) -> None:
        self.patches = patches

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.patches:
            return None
        patches = self.patches.pop(fullname)  # else it would find itself
        spec = importlib.util.find_spec(fullname)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def load_and_patch(module: ModuleType) -> None:
            load(module)
            for patch in patches:
                patch(module)

        spec.loader.exec_module = load_and_patch  # type: ignore[method-assign]
        return spec
