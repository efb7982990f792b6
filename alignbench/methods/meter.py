"""What a method consumed. Explicit charges only; a later version attaches to models by hooks."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, field


@dataclass
class Meter:
    """Counters of one training run; all start at 0 and only grow.

    Tokens are real tokens, without padding. `scored` are forward passes without a gradient
    (reference, reward model, critic at rollout), `trained` are tokens in a backward pass.
    """

    optimizer_steps: int = 0
    prompts: int = 0
    human_labels: int = 0
    ai_labels: int = 0
    tokens_generated: int = 0
    tokens_scored: int = 0
    tokens_trained: int = 0
    started: float = field(default_factory=time.monotonic, repr=False)

    def charge(self, **amounts: int) -> None:
        """Add amounts to the counters of those names.

        Raises:
            AttributeError: no such counter.
            ValueError: a negative amount.
        """
        for name, amount in amounts.items():
            if amount < 0:
                raise ValueError(f"meter: negative charge {name}={amount}")
            setattr(self, name, getattr(self, name) + amount)

    def bill(self) -> dict[str, int]:
        """The counters that depend on the work alone (equal in equal runs)."""
        names = (
            "optimizer_steps",
            "prompts",
            "human_labels",
            "ai_labels",
            "tokens_generated",
            "tokens_scored",
            "tokens_trained",
        )
        return {name: getattr(self, name) for name in names}

    def seconds(self) -> float:
        """Wall seconds since the meter was made."""
        return time.monotonic() - self.started


def peak_rss_bytes() -> int:
    """Peak resident memory of this process so far (kernel's own figure)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
