"""The meter's eyes: hooks on every module and every optimizer of this process.

Hooks are global and not per model, so that nothing escapes by being loaded, copied, wrapped or
extended by adapters after the method has begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from alignbench.metering import flops
from alignbench.metering.engine import activated, is_watched
from alignbench.metering.meter import Meter


@contextmanager
def watch(
    meter: Meter,
    policy: torch.nn.Module | None = None,
    on_boundary: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Charge `meter` for all forwards, backwards and optimizer steps of this process.

    Args:
        meter: charged; `BudgetExhausted` comes out of the step that would exceed its budget.
        policy: an optimizer step counts if the optimizer holds a parameter of it (a critic's own
            does not); None: every optimizer counts.
        on_boundary: called after each such step, with the meter paused.
    """
    steps = _Steps(meter, policy, on_boundary)
    if torch.cuda.is_available() and not is_watched():  # a watch within keeps the outer one's peak
        torch.cuda.reset_peak_memory_stats()
    with ExitStack() as stack:
        stack.enter_context(activated(meter))
        for handle in (
            *flops.install(meter),
            register_optimizer_step_pre_hook(steps.before),
            register_optimizer_step_post_hook(steps.after),
        ):
            stack.callback(handle.remove)
        yield


class _Steps:
    """Which optimizer steps are steps of the policy, and what happens around them."""

    def __init__(
        self,
        meter: Meter,
        policy: torch.nn.Module | None,
        on_boundary: Callable[[], None] | None,
    ) -> None:
        self.meter, self.on_boundary = meter, on_boundary
        self.policy = policy

    def _counts(self, optimizer: Any) -> bool:
        if self.policy is None:
            return True
        # Asked at every step: adapters and unfreezing change what the policy's parameters are.
        own = {id(parameter) for parameter in self.policy.parameters()}
        return any(id(p) in own for group in optimizer.param_groups for p in group["params"])

    def before(self, optimizer: Any, *_: Any) -> None:
        if not self.meter.is_paused and self._counts(optimizer):
            self.meter.check_end()

    def after(self, optimizer: Any, *_: Any) -> None:
        if self.meter.is_paused or not self._counts(optimizer):
            return
        self.meter.boundary()
        if self.on_boundary is not None:
            with self.meter.paused():
                self.on_boundary()
