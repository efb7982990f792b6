"""Light instruments around a training run: what each step cost, an injected failure, a brake.

`trial` installs them around the harness's own run. They change nothing in it but what they are
asked to break.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from transformers import PreTrainedModel

from alignbench.metering import engine
from alignbench.metering.meter import Meter
from alignbench.methods.base import Inputs, Method, Policy

PATIENCE = 400
"""Forward passes of a whole model after the end of the budget before the run is broken off; a
method that hears the harness makes a few."""


class Injected(RuntimeError):
    """The failure that a probe was asked to cause, as running out of memory would."""

    def __init__(self) -> None:
        super().__init__("a failure injected by the conformance run")


class Runaway(BaseException):
    """The method goes on without end though its budget is spent and it was told so.

    Not an `Exception`: what brought it here is that it swallows those.
    """


class Probe:
    """What one training run did, step by step.

    Args:
        fail_at: number of the policy's optimizer step (from 1) that raises `Injected`, once.

    Attributes:
        policy, inputs: what the harness gave to the method; meter: the one it is counted by.
        bills: the meter's bill after each of the policy's optimizer steps.
        failed: whether the failure was caused.
    """

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at, self.failed = fail_at, False
        self.policy: Policy | None = None
        self.inputs: Inputs | None = None
        self.meter: Meter | None = None
        self.bills: list[dict[str, int]] = []
        self._started = self._beyond = 0
        self._aside = False

    @contextmanager
    def around_stage(self) -> Iterator[None]:
        """Hooks that must come before the meter's own, which may raise."""
        with ExitStack() as stack:
            for handle in (
                register_optimizer_step_pre_hook(self._before_step),
                torch.nn.modules.module.register_module_forward_pre_hook(self._before_forward),
            ):
                stack.callback(handle.remove)
            yield

    @contextmanager
    def around_train(self, policy: Policy, inputs: Inputs, meter: Meter) -> Iterator[Inputs]:
        """Hooks that must come after the meter's own; gives the inputs the method is to see."""
        # The method's own `meter` is a view of it.
        self.policy, self.inputs, self.meter = policy, inputs, engine._active[-1]
        self.trained = policy.model  # a method may put another object into `policy`
        handle = register_optimizer_step_post_hook(self._after_step)
        try:
            yield inputs
        finally:
            handle.remove()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Work of the instruments: not the method's, and on nobody's bill.

        (Whether the meter is paused says nothing here: a method might have paused it.)
        """
        assert self.meter is not None
        before, self._aside = self._aside, True
        try:
            with self.meter.paused(), torch.no_grad():
                yield
        finally:
            self._aside = before

    def of_policy(self, optimizer: Any) -> bool:
        """Whether the optimizer holds a parameter of the policy."""
        if self.meter is None:
            return False
        own = {id(parameter) for parameter in self.trained.parameters()}
        return any(id(p) in own for group in optimizer.param_groups for p in group["params"])

    def _before_step(self, optimizer: Any, *_: Any) -> None:
        if not self.of_policy(optimizer):
            return
        self._started += 1
        if self._started == self.fail_at and not self.failed:
            self.failed = True
            raise Injected

    def _after_step(self, optimizer: Any, *_: Any) -> None:
        if self.of_policy(optimizer):
            assert self.meter is not None
            self.bills.append(self.meter.bill())

    def _before_forward(self, module: Any, *_: Any) -> None:
        if self.meter is None or self._aside or not isinstance(module, PreTrainedModel):
            return
        if self.meter.exhausted() is not None:
            self._beyond += 1
            if self._beyond > PATIENCE:
                raise Runaway(f"{PATIENCE} forward passes after the end of its budget")


@contextmanager
def patched_train(cls: type[Method], probe: Probe) -> Iterator[None]:
    """Let the harness's call of `cls.train` pass through `probe`."""
    original, own = cls.train, "train" in vars(cls)

    def train(self: Method, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        with probe.around_train(policy, inputs, meter) as seen:
            original(self, policy, seen, meter)

    cls.train = train  # type: ignore[method-assign]
    try:
        yield
    finally:
        if own:
            cls.train = original  # type: ignore[method-assign]
        else:
            del cls.train
