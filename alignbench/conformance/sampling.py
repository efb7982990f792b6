"""What was sampled, through the project's own decoder or through transformers' `generate`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from transformers import GenerationMixin

from alignbench.conformance import truth
from alignbench.conformance.truth import Ids
from alignbench.models import decode


@dataclass(frozen=True)
class Sampled:
    """Responses that a model sampled in one call.

    Attributes:
        model: which.
        prompts: token ids without padding.
        responses: token ids, EOS included where it was sampled.
        logprobs: of the responses' tokens, as the model gave them while sampling.
        temperature: that `logprobs` are at.
        heat: temperature of the draw; 0 where the choice was greedy.
        own_engine: by the project's decoder, which reports its tokens to the meter itself.
    """

    model: Any
    prompts: list[Ids]
    responses: list[Ids]
    logprobs: list[Tensor]
    temperature: float
    heat: float
    own_engine: bool


class Sampling:
    """Wraps both ways to sample, and tells of each batch.

    Args:
        words: the policy's tokenizer.
        told: called with each batch, after it was sampled.

    Attributes:
        active: one of the two is at work.
        own_engine: it is the project's decoder.
    """

    def __init__(self, words: Any, told: Callable[[Sampled], None]) -> None:
        self.words, self.told = words, told
        self.active = self.own_engine = False

    @contextmanager
    def wrapped(self) -> Iterator[None]:
        """Install the wrappers."""
        with ExitStack() as stack:
            for owner, name, wrapper in (
                (decode, "_decode_batch", self._decoder),
                (GenerationMixin, "generate", self._generate),
            ):
                patched = wrapper(getattr(owner, name))
                stack.enter_context(mock.patch.object(owner, name, patched))
            yield

    @contextmanager
    def _at_work(self, own: bool) -> Iterator[None]:
        before = self.active, self.own_engine
        self.active, self.own_engine = True, own
        try:
            yield
        finally:
            self.active, self.own_engine = before

    def _decoder(self, original: Any) -> Any:
        """Of `models.decode`; its completions say what they were sampled with."""
        signature = inspect.signature(original)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs).arguments
            with self._at_work(own=True):
                completions = original(*args, **kwargs)
            batch = Sampled(
                given["model"],
                [tuple(prompt) for prompt in given["prompts"]],
                [tuple(done.ids) for done in completions],
                [torch.tensor(done.logprobs) for done in completions],
                given["decoding"].temperature or 1.0,
                given["decoding"].temperature,
                own_engine=True,
            )
            self.told(batch)
            return completions

        return wrapped

    def _generate(self, original: Any) -> Any:
        """Of transformers, whose raw logits are caught at every step."""

        def wrapped(model: Any, *args: Any, **kwargs: Any) -> Any:
            steps: list[Tensor] = []
            handle = model.register_forward_hook(
                lambda _m, _a, out: steps.append(out.logits[:, -1].detach().clone())
            )
            try:
                with self._at_work(own=False):
                    output = original(model, *args, **kwargs)
            finally:
                handle.remove()
            given = kwargs.get("input_ids", kwargs.get("inputs", args[0] if args else None))
            if given is not None:
                sequences = output if isinstance(output, Tensor) else output.sequences
                mask = kwargs.get("attention_mask")
                heat = _heat(model, kwargs)
                self.told(self._generated(model, given, mask, sequences, steps, heat))
            return output

        return wrapped

    def _generated(
        self,
        model: Any,
        given: Tensor,
        mask: Any,
        sequences: Tensor,
        steps: list[Tensor],
        heat: float,
    ) -> Sampled:
        real = truth.real_tokens(given, mask, self.words.pad_token_id)
        eos, copies = self.words.eos_token_id, len(sequences) // len(given)
        batch = Sampled(model, [], [], [], 1.0, heat, own_engine=False)
        for k, sequence in enumerate(sequences):
            row = sequence[given.shape[1] :].tolist()
            row = row[: row.index(eos) + 1] if eos in row else row
            batch.prompts.append(tuple(given[k // copies][real[k // copies]].tolist()))
            batch.responses.append(tuple(row))
            logits = torch.stack([step[k] for step in steps[: len(row)]])
            targets = torch.tensor(row, device=logits.device)
            batch.logprobs.append(truth.pick(logits, targets))
        return batch


def _heat(model: Any, kwargs: Mapping[str, Any]) -> float:
    """The temperature at which `generate` draws with these arguments; 0 if it does not draw."""
    config = kwargs.get("generation_config") or model.generation_config
    asked = {name: kwargs.get(name, getattr(config, name)) for name in ("do_sample", "temperature")}
    if not asked["do_sample"]:
        return 0.0
    return 1.0 if asked["temperature"] is None else float(asked["temperature"])
