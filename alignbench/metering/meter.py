"""What a method consumed, and how much of its budget that is.

Work in torch is charged by hooks (`metering.watch`), data by the harness when it is read, labels by
the labeller; `charge` is for engines outside torch. Imports no torch.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from alignbench.metering.budget import Budget
from alignbench.metering.currencies import COUNTED, TIME, WORK

GRACE = 0.05
"""Share of the budget that may be spent after its end before the next optimizer step is reached,
where no step so far was dearer."""


class BudgetExhausted(Exception):
    """The budget has run out and the method went on; the harness ends it here."""

    def __init__(self, currency: str, what: str) -> None:
        super().__init__(f"the budget of {currency} is spent, and the method {what}")
        self.currency = currency


class Meter:
    """Counters of one training run; all start at 0 and only grow.

    Attributes:
        is_paused: work of the harness is going on; nothing is counted and the clock stands.
        in_engine: an engine decodes and reports the tokens it sampled itself.
        boundaries: optimizer steps of the policy so far.
        early_reason: why the method ended before its budget, in its own words.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        snapshots: Sequence[float] = (),
        clock: Callable[[], float] = time.monotonic,
        devices: int = 1,
    ) -> None:
        self.limits: Mapping[str, float] = MappingProxyType(
            budget.limits() if budget is not None else {}
        )
        self._ending = {c: self.limits[c] for c in (*WORK, *TIME) if c in self.limits}
        self.snapshots = tuple(snapshots)
        self.counts = dict.fromkeys(COUNTED, 0)
        self.is_paused = self.in_engine = False
        self.early_reason: str | None = None
        self.settle: Callable[[], None] = lambda: None
        """Adds what hooks hold back (counts still on a GPU); set by `watch`."""
        self._clock, self._devices = clock, devices
        self._started, self._pauses = clock(), 0.0
        self._pause_began = self._started
        self._at_boundary, self._dearest_step = 0.0, 0.0

    def charge(self, **amounts: int) -> None:
        """Add amounts to the counters of those names: for engines and labellers outside torch.

        Raises:
            ValueError: no such counter, or a negative amount.
        """
        for name, amount in amounts.items():
            if name not in self.counts:
                raise ValueError(f"meter: no counter {name}; counters: {', '.join(COUNTED)}")
            if amount < 0:
                raise ValueError(f"meter: negative charge {name}={amount}")
            self.add(name, amount)

    def add(self, name: str, amount: int) -> None:
        """`charge` for hooks: one counter, unchecked."""
        if not self.is_paused:
            self.counts[name] += amount

    def bill(self) -> dict[str, int]:
        """The counters that depend on the work alone (equal in equal runs)."""
        self.settle()
        return dict(self.counts)

    def seconds(self) -> float:
        """Wall seconds since the meter was made, pauses left out."""
        running_pause = self._clock() - self._pause_began if self.is_paused else 0.0
        return self._clock() - self._started - self._pauses - running_pause

    def measured(self) -> dict[str, float]:
        """What the work took here: times in seconds, peaks in bytes."""
        seconds = self.seconds()
        return {
            "wall_seconds": seconds,
            "device_seconds": seconds * self._devices,
            "peak_rss_bytes": peak_rss_bytes(),
            "peak_cuda_bytes": peak_cuda_bytes(),
        }

    def spent(self, currency: str) -> float:
        """Amount spent so far in a currency, times included."""
        if currency in TIME:
            return self.seconds() * (self._devices if currency == "device_seconds" else 1)
        return self.counts[currency]

    def fraction(self) -> float:
        """Share of the budget that is spent: the largest over work and time limits; 0 without."""
        if not self._ending:
            return 0.0
        self.settle()
        return max(self.spent(currency) / limit for currency, limit in self._ending.items())

    def exhausted(self) -> str | None:
        """The work or time currency that has run out (the furthest over), if one has."""
        if self.fraction() < 1:
            return None
        return max(self._ending, key=lambda currency: self.spent(currency) / self._ending[currency])

    def remaining(self, currency: str) -> float:
        """What the budget still allows in a currency; infinite without a limit on it."""
        return max(0.0, self.limits.get(currency, math.inf) - self.spent(currency))

    def overshoot(self) -> dict[str, float]:
        """Amount by which each exceeded limit is exceeded."""
        over = {currency: self.spent(currency) - limit for currency, limit in self.limits.items()}
        return {currency: amount for currency, amount in over.items() if amount > 0}

    def finished_early(self, reason: str) -> None:
        """Say why the method ends though its budget is not spent."""
        self.early_reason = reason

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Work that is on nobody's bill, such as taking a snapshot."""
        if self.is_paused:
            yield
            return
        self.settle()
        self.is_paused, self._pause_began = True, self._clock()
        try:
            yield
        finally:
            self._pauses += self._clock() - self._pause_began
            self.is_paused = False

    def boundary(self) -> None:
        """An optimizer step of the policy is done. Called by `watch`."""
        self.add("optimizer_steps", 1)
        fraction = self.fraction()
        self._dearest_step = max(self._dearest_step, fraction - self._at_boundary)
        self._at_boundary = fraction

    def check_end(self) -> None:
        """A model or an optimizer step is about to begin. Called by hooks.

        Raises:
            BudgetExhausted: the budget had run out at the last optimizer step.
        """
        if self._at_boundary >= 1 and not self.is_paused:
            raise BudgetExhausted(str(self.exhausted()), "went on")

    def grace(self) -> float:
        """Share of the budget by which it may be exceeded: two steps, or a little.

        Before the first step nobody knows what one costs: as much again as the budget.
        """
        return max(GRACE, 2 * self._dearest_step) if self._dearest_step else 1.0

    def check_backstop(self) -> None:
        """Stop a method that spends on without ever reaching an optimizer step. Called by hooks.

        Raises:
            BudgetExhausted: more than a step's worth was spent beyond the budget.
        """
        if not self._ending or self.is_paused:
            return
        since_end = self.fraction() - max(1.0, self._at_boundary)
        if since_end > self.grace():
            raise BudgetExhausted(str(self.exhausted()), "went on without an optimizer step")


class MethodMeter:
    """What a method may do with its meter: look, charge what hooks cannot see, and say why it ends.

    It cannot pause the meter or change a limit by accident. (Python keeps nobody out who means it;
    the conformance suite counts for itself.)
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    @property
    def limits(self) -> Mapping[str, float]:
        """Limits by currency, times in seconds."""
        return self._meter.limits

    def charge(self, **amounts: int) -> None:
        """See `Meter.charge`."""
        self._meter.charge(**amounts)

    def bill(self) -> dict[str, int]:
        """See `Meter.bill`."""
        return self._meter.bill()

    def fraction(self) -> float:
        """See `Meter.fraction`."""
        return self._meter.fraction()

    def exhausted(self) -> str | None:
        """See `Meter.exhausted`."""
        return self._meter.exhausted()

    def remaining(self, currency: str) -> float:
        """See `Meter.remaining`."""
        return self._meter.remaining(currency)

    def finished_early(self, reason: str) -> None:
        """See `Meter.finished_early`."""
        self._meter.finished_early(reason)


def peak_rss_bytes() -> int:
    """Peak resident memory of this process so far (the kernel's own figure)."""
    if sys.platform == "linux":
        try:
            # Not ru_maxrss: that one cannot be reset, and a worker runs many stages.
            for line in open("/proc/self/status", encoding="ascii", errors="replace"):  # noqa: SIM115
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_cuda_bytes() -> int:
    """Peak CUDA memory of this process over all its devices; 0 without CUDA."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return 0
    return sum(torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count()))
