"""Going on with less at a time where memory did not suffice, without changing what is computed."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from alignbench.recipe.schema import RewardModel, Sft

T = TypeVar("T")
S = TypeVar("S", Sft, RewardModel)
Note = Callable[[str, str], None]
_SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device's memory, or the machine's, was not enough."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def free_memory() -> None:
    """Give back what a failed attempt held; call it outside the `except` that still names it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def halving(batch_size: int, note: Note, work: Callable[[int], T]) -> T:
    """``work(batch_size)``, and on out-of-memory again with half of it, down to 1.

    For work whose result does not depend on its batch size. Every halving is noted.

    Raises:
        BaseException: what `work` raises otherwise, or with a batch of 1.
    """
    while True:
        try:
            return work(batch_size)
        except (RuntimeError, MemoryError) as error:
            if batch_size == 1 or not is_out_of_memory(error):
                raise
        free_memory()
        batch_size //= 2
        note("substitution", f"out of memory: from here on {batch_size} at a time")


def with_half_batch(settings: S, note: Note, train: Callable[[S], None]) -> None:
    """``train(settings)``, and on out-of-memory from the start with half the micro-batch.

    The effective batch stays: `gradient_accumulation` doubles as `batch_size` halves.

    Raises:
        BaseException: what `train` raises otherwise, or where the micro-batch cannot be halved.
    """
    while True:
        try:
            return train(settings)
        except (RuntimeError, MemoryError) as error:
            if settings.batch_size % 2 or not is_out_of_memory(error):
                raise
        free_memory()
        smaller = {
            "batch_size": settings.batch_size // 2,
            "gradient_accumulation": 2 * settings.gradient_accumulation,
        }
        settings = settings.model_copy(update=smaller)
        note(
            "substitution",
            f"out of memory: begun again with {settings.batch_size} x "
            f"{settings.gradient_accumulation} (the effective batch is the same)",
        )
