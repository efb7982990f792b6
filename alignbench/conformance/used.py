"""The log-probabilities that a method trains with, found among the results of its own arithmetic.

Right hidden states do not make right log-probabilities: a `gather` may be off by one, logits may be
divided by another temperature than they were sampled at. So the results of all torch operations
are searched for those that a row should have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from alignbench.conformance import truth
from alignbench.conformance.sampling import Sampled
from alignbench.conformance.truth import Ids

LOGPROBS = 1e-4
"""Largest difference between log-probabilities that are the same; fp32 leaves about 1e-6."""
SHORTEST = 3
"""Responses of fewer tokens are not looked for: one or two numbers occur by accident."""
_PICKS = {"gather": -1, "take_along_dim": -1, "cross_entropy": 1, "nll_loss": 1}
"""Operations that pick one value per token, and the sign of a log-probability in their result."""

Found = Literal["right", "plain", "late", "other"]
_RANK: tuple[Found | None, ...] = (None, "other", "late", "plain", "right")


@dataclass
class Row:
    """A sequence that trains, and what its log-probabilities were seen to be.

    Attributes:
        response: its token ids after the prompt.
        heat: the temperatures at which it was sampled; empty for rows of the data.
        wanted: (what it would mean, vector of `len(response)` log-probabilities).
        found: ``right``; ``plain``, at temperature 1 though sampled at another one; ``late``, given
            the token itself too; ``other``, some other values for these tokens; None, nothing.
        weight: mean derivative of the loss by the log-probabilities, where they are ``plain``.
    """

    response: Ids
    heat: set[float]
    wanted: list[tuple[Found, Tensor]]
    found: Found | None = None
    weight: float | None = None


class Used(TorchFunctionMode):
    """While active, looks for the log-probabilities of the rows that train, up to the first step.

    Whatever computes them (a `gather` of log-probabilities, logits less their log-sum-exp, a cross
    entropy per token, a kernel of its own), a tensor is made that holds those of a row's response
    next to each other. Of a loss that is summed in the same operation nothing is seen.

    Args:
        prompt_end: the token that ends every prompt.

    Attributes:
        rows: by token ids.
        closed: the policy has moved; nothing more is compared.
    """

    def __init__(self, prompt_end: int) -> None:
        super().__init__()
        self.prompt_end = prompt_end
        self.rows: dict[Ids, Row] = {}
        self.closed = False
        self._heat: defaultdict[Ids, set[float]] = defaultdict(set)

    def sampled(self, batch: Sampled) -> None:
        """Remember at which temperature these were sampled (a greedy choice counts as 1)."""
        for prompt, response in zip(batch.prompts, batch.responses, strict=True):
            self._heat[*prompt, *response].add(batch.heat or 1.0)

    def expect(self, model: PreTrainedModel, rows: Sequence[Ids]) -> None:
        """These have just gone through the policy's backbone, with a gradient."""
        for ids in dict.fromkeys(rows):
            if self.closed or ids in self.rows or self.prompt_end not in ids:
                continue
            start = ids.index(self.prompt_end) + 1
            if len(ids) - start < SHORTEST:
                continue
            own = self._heat.get(ids, set())
            # Of rows that nobody sampled as they are, such as answers to other prompts.
            heat = own or {1.0}.union(*self._heat.values())
            wanted: list[tuple[Found, Tensor]] = []
            for temperature in heat | {1.0}:
                kind: Found = "right" if temperature in heat else "plain"
                for what, late in ((kind, 0), ("late", 1)):
                    values = truth.logprobs(model, [ids], temperature, late)[ids]
                    wanted.append((what, values[start - 1 :].cpu()))
            self.rows[ids] = Row(ids[start:], set(own), wanted)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Every torch operation of the run comes through here, its own excepted."""
        result = func(*args, **(kwargs or {}))
        if self.closed or not self.rows or not isinstance(result, Tensor):
            return result
        if result.requires_grad and result.is_floating_point() and result.ndim:
            with torch.no_grad():
                self._search(func, (*args, *(kwargs or {}).values()), result)
        return result

    def _search(self, func: Callable[..., Any], given: Sequence[Any], result: Tensor) -> None:
        flat = result.detach().flatten().float().cpu()
        sign = _PICKS.get(getattr(func, "__name__", ""))
        for row in self.rows.values():
            for what, values in row.wanted:
                if _RANK.index(what) <= _RANK.index(row.found):
                    continue
                at = _position(flat.abs(), -values)  # a loss has the other sign
                if at is not None:
                    row.found = what
                    if what == "plain":
                        _weigh(row, result, slice(at, at + len(values)))
            if row.found is None and sign is not None and _picks(row, given, flat * sign):
                row.found = "other"


def _position(values: Tensor, vector: Tensor) -> int | None:
    """Where `vector` stands in the one-dimensional `values`, None if nowhere."""
    if len(values) < len(vector):
        return None
    close = (values.unfold(0, len(vector), 1) - vector).abs().amax(dim=1) <= LOGPROBS
    return int(close.nonzero()[0, 0]) if close.any() else None


def _picks(row: Row, given: Sequence[Any], losses: Tensor) -> bool:
    """Whether the operation was given the response's tokens, and `losses` may be theirs."""
    tokens = torch.tensor(row.response, dtype=torch.float32)
    for index in given:
        if isinstance(index, Tensor) and index.dtype == torch.long and len(losses) == index.numel():
            at = _position(index.detach().flatten().float().cpu(), tokens)
            if at is not None and bool((losses[at : at + len(tokens)] >= 0).all()):
                return True
    return False


def _weigh(row: Row, result: Tensor, place: slice) -> None:
    """Note, in the backward pass, how the loss depends on these log-probabilities."""

    def keep(gradient: Tensor) -> None:
        row.weight = float(gradient.flatten()[place].mean())

    result.register_hook(keep)  # type: ignore[no-untyped-call]
