"""Data that is on the bill as soon as it is looked at, and a labeller that counts its labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, overload

from alignbench.metering.meter import BudgetExhausted, Meter

T = TypeVar("T")


class Metered(Sequence[T], Generic[T]):
    """A read-only list whose elements are charged when first read.

    Args:
        items: all there is; a limit on `currency` leaves the first so many.
        meter: charged.
        currency: ``prompts`` or ``human_labels``.
    """

    def __init__(self, items: Sequence[T], meter: Meter, currency: str) -> None:
        limit = meter.limits.get(currency)
        self._items = tuple(items) if limit is None else tuple(items)[: int(limit)]
        self._meter, self._currency = meter, currency
        self._read: set[int] = set()

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        numbers = range(len(self._items))[index]
        if isinstance(numbers, int):
            return self._one(numbers)
        return [self._one(number) for number in numbers]

    def _one(self, number: int) -> T:
        if number not in self._read:
            self._read.add(number)
            self._meter.add(self._currency, 1)
        return self._items[number]


class MeteredLabeller:
    """An AI labeller whose every rating is on the bill, and that stops at the budget.

    Args:
        labeller: rates.
        meter: charged, one `ai_labels` for each response.
    """

    def __init__(self, labeller: Any, meter: Meter) -> None:
        self._labeller, self._meter = labeller, meter
        self.name: str = labeller.name

    def utilities(self, prompt: str, responses: Sequence[str]) -> list[float]:
        """One utility per response (see `methods.base.Labeller`).

        Raises:
            BudgetExhausted: the budget has not so many labels left.
        """
        if len(responses) > self._meter.remaining("ai_labels"):
            raise BudgetExhausted("ai_labels", "asked for another label")
        self._meter.charge(ai_labels=len(responses))
        found: list[float] = self._labeller.utilities(prompt, responses)
        return found
