"""What every engine offers, and the engine that is torch itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from alignbench.metering.engine import uncounted_if
from alignbench.models.decode import Completion, Decoding, sample
from alignbench.training.memory import Note, halving, is_out_of_memory

Progress = Callable[[int, int], None]


class Sampler(Protocol):
    """A model that answers prompts.

    The result for a row depends on the weights, its prompt, the seed and its index in the call,
    and not on what else is in the call, up to rounding. What the sampling costs is on the bill of
    the meter that watches the process, if any, and is the same count whoever samples.
    """

    def sample(
        self,
        prompt_ids: Sequence[Sequence[int]],
        decoding: Decoding,
        seed: int,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """One completion for each prompt, in the order given; see `models.decode.sample`.

        Args:
            prompt_ids: N prompts as token ids, each at least one token.
            seed: with the row's index, names the row's stream of random numbers.
            progress: called as ``progress(done, N)``.
        """
        ...


class Samplers(Protocol):
    """Makes samplers of models in this process."""

    def __call__(self, model: Any, tokenizer: Any, batch_size: int | None = None) -> Sampler:
        """A sampler of the weights that `model` has now.

        Args:
            batch_size: rows decoded at a time, where the engine does not choose itself; None: all
                of a call.
        """
        ...


class TransformersSampler:
    """A model in this process, as its weights are at each call.

    Where memory does not suffice, it goes on with half as many rows at a time, from then on: the
    answers are the same, and what was decoded in vain is not on the bill.

    Args:
        batch_size: rows decoded at a time; None: all of a call.
        note: as in `StageContext`, told of each halving. None: too little memory is an error.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        batch_size: int | None = None,
        note: Note | None = None,
    ) -> None:
        self._model, self._tokenizer, self._note = model, tokenizer, note
        self._batch_size = batch_size

    def sample(
        self,
        prompt_ids: Sequence[Sequence[int]],
        decoding: Decoding,
        seed: int,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """As `Sampler` says."""
        wanted = self._batch_size or max(len(prompt_ids), 1)
        model, tokenizer = self._model, self._tokenizer

        def attempt(rows: int) -> list[Completion]:
            if rows < wanted:
                self._batch_size = rows
            with uncounted_if(is_out_of_memory):
                return sample(model, tokenizer, prompt_ids, decoding, seed, rows, progress)

        return attempt(wanted) if self._note is None else halving(wanted, self._note, attempt)
