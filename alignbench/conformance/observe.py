"""Everything a training run does with its models, seen by hooks, whoever's loop it is.

`Observer` is the heavy instrument: one run of a conformance has it. It recognises models by what
they are (the policy's own parameters, the reward model's weights) and not by how a method holds
them, so that copies and models loaded behind the harness's back are seen too.
"""

from __future__ import annotations

import gc
import inspect
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import PreTrainedModel

from alignbench.conformance import truth
from alignbench.conformance.probe import Probe
from alignbench.conformance.sampling import Sampled, Sampling
from alignbench.conformance.truth import Ids
from alignbench.conformance.used import Used
from alignbench.metering.meter import Meter
from alignbench.methods.base import Inputs, Policy
from alignbench.models.load import weights_digest
from alignbench.models.text import encode_prompt

SAMPLING, TRAINING, REFERENCE = "the policy without gradient", "training", "the reference"
"""Passes in which dropout may be found to be on."""
REWARD, HANDED_OUT, FOUND = (
    "the reward model",
    "a reference that the harness handed out",
    "a reference model",
)
"""Models that must stay as they are; the last are seen at work only."""


@dataclass
class Consulted:
    """A language model beside the policy, when it was first run."""

    backbone: Any  # kept, lest another one come to have its id
    model: PreTrainedModel
    digest: str
    dropout: str | None = None


@dataclass
class Disagreement:
    """Largest difference between log-probabilities as used and as they are, and where."""

    tokens: int = 0
    worst: float = 0.0
    where: str = ""

    def add(self, used: Tensor, true: Tensor, where: str) -> None:
        """Compare two equally long vectors."""
        self.tokens += used.numel()
        error = float((used.cpu() - true.cpu()).abs().max()) if used.numel() else 0.0
        if not error <= self.worst:  # NaN too
            self.worst, self.where = error, where


class Observer(Probe):
    """Watches one run.

    Attributes:
        at_first_step: digest of the policy's weights before its first optimizer step.
        at_first_forward: the same before its first forward pass, as near as can be seen.
        replaced: the method put another object in place of `policy.model`.
        sampled: every batch sampled through `models.decode.sample` or `generate`.
        rollout: log-probabilities while sampling, against `truth`.
        training: those that follow from the states of its other forward passes.
        used: those that the method itself computed from these states, with a gradient.
        sides: padding sides seen in those passes.
        gradient_passes: forward passes of the policy with a gradient.
        dropout: (which pass, layer) where dropout was on; `training` passes apart.
        references: digests, when first used, of the language models beside the policy that no
            optimizer holds; names what each was.
        kept: how many models were to stay as they are; changed: those that did not.
        scored: (ids, score as used, score as it is) of all rows the reward model scored.
        tokens: real tokens that went through any backbone, sampling with a cache left out.
        continued: tokens sampled by `models.decode`, or computed on top of a cache by others.
    """

    def __init__(self) -> None:
        super().__init__()
        self.at_first_step: str | None = None
        self.at_first_forward: str | None = None
        self.replaced = False
        self.sampled: list[Sampled] = []
        self.rollout, self.training = Disagreement(), Disagreement()
        self.sides: Counter[str] = Counter()
        self.gradient_passes = 0
        self.dropout: dict[str, str] = {}
        self.references: dict[str, str] = {}
        self.kept = 0
        self.changed: list[str] = []
        self.scored: list[tuple[Ids, float, float]] = []
        self.tokens = self.continued = 0
        self._own_digests: set[str] = set()
        self._frozen: list[tuple[str, Any, str]] = []
        self._roles: dict[int, tuple[Any, str]] = {}
        self._consulted: dict[int, Consulted] = {}
        self._optimized: dict[int, Tensor] = {}
        self._labelling = False

    @contextmanager
    def around_train(self, policy: Policy, inputs: Inputs, meter: Meter) -> Iterator[Inputs]:
        """As `Probe.around_train`, with the models hooked."""
        self._own_digests.add(policy.digest)
        self._pad = policy.tokenizer.pad_token_id
        self.sampling = Sampling(policy.tokenizer, self._told)
        self.used = Used(encode_prompt(policy.tokenizer, "")[-1])
        if inputs.reward is not None:
            self._keep(REWARD, inputs.reward.model)
        with ExitStack() as stack:
            seen = stack.enter_context(super().around_train(policy, inputs, meter))
            for handle in (
                register_module_forward_hook(self._after_forward, with_kwargs=True),
                register_optimizer_step_pre_hook(self._before_policy_step),
            ):
                stack.callback(handle.remove)
            stack.enter_context(self.sampling.wrapped())
            stack.enter_context(self._optimizers_seen())
            stack.callback(self._look_back, policy)  # also where the budget's end comes through
            stack.enter_context(self.used)
            yield replace(
                seen, reference=self._handed_out(seen), labeller=_Flagged.of(seen.labeller, self)
            )

    def _look_back(self, policy: Policy) -> None:
        """What can only be said of a model when the method has ended."""
        self.replaced = policy.model is not self.trained
        for one in self._consulted.values():
            if self._is_optimized(one.model):
                continue
            # A copy of the policy at some step is an "old policy", not a reference.
            known_as = "the policy at one of its steps"
            if one.digest == policy.digest:
                known_as = "certified"
            elif one.digest not in self._own_digests:
                known_as = "other"
            self.references[one.digest] = known_as
            if one.dropout is not None:
                self.dropout.setdefault(REFERENCE, one.dropout)
        for name, model, digest in self._frozen:
            if name == FOUND and self._is_optimized(model):
                continue
            self.kept += 1
            now = weights_digest(model)
            follows = name == FOUND and now in self._own_digests  # an old policy, refreshed
            if now != digest and not follows:
                self.changed.append(name)

    @contextmanager
    def _optimizers_seen(self) -> Iterator[None]:
        """Note the parameters of every optimizer that is made."""
        original = torch.optim.Optimizer.add_param_group

        def add_param_group(optimizer: Any, group: dict[str, Any]) -> None:
            original(optimizer, group)
            held = optimizer.param_groups[-1]["params"]
            self._optimized.update((id(parameter), parameter) for parameter in held)

        with mock.patch.object(torch.optim.Optimizer, "add_param_group", add_param_group):
            yield

    def _is_optimized(self, model: Any) -> bool:
        return any(id(parameter) in self._optimized for parameter in model.parameters())

    def _handed_out(self, inputs: Inputs) -> Any:
        def reference() -> Any:
            model = inputs.reference()
            with self.aside():
                self._keep(HANDED_OUT, model)
            return model

        return reference

    def _keep(self, name: str, model: Any) -> None:
        if all(model is not kept for _, kept, _ in self._frozen):
            self._frozen.append((name, model, weights_digest(model)))

    def _before_policy_step(self, optimizer: Any, *_: Any) -> None:
        if self.at_first_step is None and self.of_policy(optimizer):
            self.used.closed = True
            self.at_first_step = weights_digest(self.trained)

    def _after_step(self, optimizer: Any, *_: Any) -> None:
        super()._after_step(optimizer)
        if self.of_policy(optimizer):
            self._own_digests.add(weights_digest(self.trained))

    def _after_forward(self, module: Any, args: Any, kwargs: Any, output: Any) -> None:
        if self._aside or not isinstance(module, PreTrainedModel):
            return
        if torch._C._current_graph_task_id() != -1:
            return  # gradient checkpointing runs it again
        given = {**dict(zip(inspect.signature(module.forward).parameters, args, strict=False))}
        given.update(kwargs)
        if given.get("input_ids") is None:
            return
        with self.aside():
            if type(module).__name__.endswith("ForSequenceClassification"):
                self._scoring(module, given, output)
            elif module.base_model is module:
                self._backbone(module, given, output[0])

    def _backbone(self, module: Any, given: dict[str, Any], hidden: Tensor) -> None:
        ids, mask = given["input_ids"], given.get("attention_mask")
        continued = isinstance(mask, Tensor) and mask.ndim == 2 and mask.shape[1] > ids.shape[1]
        if not continued:
            self.tokens += int(_mask(ids, mask).sum())
        elif not self.sampling.own_engine:
            self.continued += int(_mask(ids, mask).sum())
        role = self._role(module)
        layer = truth.active_dropout(module)
        if role == "policy":
            if self.at_first_forward is None:
                self.at_first_forward = weights_digest(self.trained)
            self.gradient_passes += hidden.requires_grad
            kind = TRAINING if hidden.requires_grad else SAMPLING
            if layer is not None:
                self.dropout.setdefault(kind, layer)
            elif not continued and not self.sampling.active:
                self._compare(ids, mask, hidden)
        elif role == "consulted" and layer is not None:
            self._consulted[id(module)].dropout = layer

    def _role(self, module: Any) -> str:
        known = self._roles.get(id(module))
        if known is not None:
            return known[1]
        role = "other"
        first = next(iter(module.parameters()), None)
        own = next(iter(self.trained.base_model.parameters()))
        if first is own or (first is not None and first.data_ptr() == own.data_ptr()):
            role = "policy"
        elif (owner := _owner(module)) is not None:
            role = "consulted"
            self._consulted[id(module)] = Consulted(module, owner, weights_digest(owner))
            self._keep(FOUND, owner)
        # The module is kept, lest another one come to have its id.
        self._roles[id(module)] = (module, role)
        return role

    def _compare(self, ids: Tensor, mask: Any, hidden: Tensor) -> None:
        """The log-probabilities that follow from these hidden states, against each row alone."""
        real = truth.real_tokens(ids, mask, self._pad)
        rows = [tuple(row[keep].tolist()) for row, keep in zip(ids, real, strict=True)]
        true = truth.logprobs(self.trained, [row for row in rows if row])
        if hidden.requires_grad:
            self.used.expect(self.trained, rows)
        for row, states, keep in zip(rows, hidden, real, strict=True):
            if len(row) < 2:
                continue
            side = "no" if keep.all() else "right" if keep[0] else "left"
            self.sides[side] += 1
            targets = torch.tensor(row[1:], device=states.device)
            used = truth.pick(truth.head_of(self.trained)(states[keep][:-1]), targets)
            what = "training" if hidden.requires_grad else "scoring"
            self.training.add(used, true[row], f"{what}, rows with {side} padding")

    def _scoring(self, module: Any, given: dict[str, Any], output: Any) -> None:
        scores = output[0] if not hasattr(output, "logits") else output.logits
        if self._labelling or scores.requires_grad or self._reward_role(module) != "reward":
            return
        ids = given["input_ids"]
        real = truth.real_tokens(ids, given.get("attention_mask"), self._pad)
        rows = [tuple(row[keep].tolist()) for row, keep in zip(ids, real, strict=True)]
        true = truth.rewards(module, rows)
        used = scores[:, 0].float().tolist()
        self.scored += [(row, score, true[row]) for row, score in zip(rows, used, strict=True)]

    def _reward_role(self, module: Any) -> str:
        known = self._roles.get(id(module))
        if known is None:
            first = [digest for name, _, digest in self._frozen if name == REWARD]
            role = "reward" if weights_digest(module) in first else "other"
            known = self._roles[id(module)] = (module, role)
        return known[1]

    def _told(self, batch: Sampled) -> None:
        """A model has sampled: its log-probabilities against each row alone."""
        self.sampled.append(batch)
        self.used.sampled(batch)
        if batch.own_engine:
            self.continued += sum(map(len, batch.responses))
        if batch.model.base_model is not self.trained.base_model or SAMPLING in self.dropout:
            return  # of another model, or the check of dropout speaks of it
        rows = [(*p, *r) for p, r in zip(batch.prompts, batch.responses, strict=True)]
        with self.aside():
            true = truth.logprobs(self.trained, rows, batch.temperature)
        for prompt, row, used in zip(batch.prompts, rows, batch.logprobs, strict=True):
            self.rollout.add(used, true[row][len(prompt) - 1 :], "sampling")


class _Flagged:
    """A labeller that tells the observer while it works: what it scores is not training's."""

    def __init__(self, labeller: Any, observer: Observer) -> None:
        self._labeller, self._observer, self.name = labeller, observer, labeller.name

    @classmethod
    def of(cls, labeller: Any, observer: Observer) -> Any:
        return None if labeller is None else cls(labeller, observer)

    def utilities(self, prompt: str, responses: Any) -> list[float]:
        self._observer._labelling = True
        try:
            found: list[float] = self._labeller.utilities(prompt, responses)
            return found
        finally:
            self._observer._labelling = False


def _mask(ids: Tensor, mask: Any) -> Tensor:
    """(B, T): 1 where the attention mask is, everywhere without one."""
    given = isinstance(mask, Tensor) and mask.ndim == 2
    return mask[:, -ids.shape[1] :] if given else torch.ones_like(ids)


def _owner(backbone: Any) -> PreTrainedModel | None:
    """The language model that `backbone` is part of, if it still exists."""
    for found in gc.get_objects():
        if not issubclass(type(found), PreTrainedModel) or found is backbone:
            continue
        if found.base_model is backbone and found.get_output_embeddings() is not None:
            return found
    return None
