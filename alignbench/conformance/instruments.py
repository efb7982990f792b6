"""Probes for one purpose each: counting products, taking the data away, moving the clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

from torch.optim.optimizer import register_optimizer_step_post_hook

from alignbench.conformance.probe import Probe
from alignbench.metering.dispatch import MatmulCounter
from alignbench.metering.meter import Meter
from alignbench.methods.base import Inputs, Policy
from alignbench.stages import method as stage


class Counting(Probe):
    """A probe that counts every matrix product, apart from the heavy observer, whose own forward
    passes would be counted too."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = MatmulCounter()

    @contextmanager
    def around_train(self, policy: Policy, inputs: Inputs, meter: Meter) -> Iterator[Inputs]:
        """As `Probe.around_train`, under the counter."""
        with super().around_train(policy, inputs, meter) as seen, self.counter:
            yield seen


class Starved(Probe):
    """A probe that leaves the method no data at all."""

    @contextmanager
    def around_train(self, policy: Policy, inputs: Inputs, meter: Meter) -> Iterator[Inputs]:
        """As `Probe.around_train`, with empty pairs and prompts."""
        with super().around_train(policy, inputs, meter) as seen:
            yield replace(seen, pairs=(), prompts=())


class Ticking(Probe):
    """A probe that keeps the meter's clock: each optimizer step of the policy takes a second."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    @contextmanager
    def around_stage(self) -> Iterator[None]:
        """As `Probe.around_stage`; the clock moves before the meter looks at it."""
        timed = partial(Meter, clock=lambda: self.now)
        with super().around_stage(), mock.patch.object(stage, "Meter", timed):
            handle = register_optimizer_step_post_hook(self._tick)
            try:
                yield
            finally:
                handle.remove()

    def _tick(self, optimizer: Any, *_: Any) -> None:
        if self.of_policy(optimizer):
            self.now += 1.0
