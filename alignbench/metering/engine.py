"""How code that decodes tells the meter what it sampled, whoever's meter that is.

`models.decode` is used with and without a meter, so it does not hold one: it reports to the meter
that watches this process, if any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from alignbench.metering.meter import Meter

_active: list[Meter] = []


def is_watched() -> bool:
    """Whether a meter watches this process."""
    return bool(_active)


def report(**amounts: int) -> None:
    """Charge the meter that watches this process; without one, nothing happens."""
    if _active:
        _active[-1].charge(**amounts)


@contextmanager
def engine_tokens() -> Iterator[None]:
    """Forwards in here are charged FLOPs and prompt tokens; sampled tokens are reported instead.

    A decoder knows which rows of its batch were finished already; a hook cannot.
    """
    meter = _active[-1] if _active else None
    if meter is None or meter.in_engine:
        yield
        return
    meter.in_engine = True
    try:
        yield
    finally:
        meter.in_engine = False


@contextmanager
def uncounted() -> Iterator[None]:
    """What hooks see in here is taken off the bill again: the work is reported by who knows it.

    The clock goes on.
    """
    meter = _active[-1] if _active else None
    if meter is None:
        yield
        return
    before = meter.bill()
    try:
        yield
    finally:
        meter.settle()
        meter.counts.update(before)


@contextmanager
def uncounted_if(vain: Callable[[BaseException], bool]) -> Iterator[None]:
    """Work that ends in an error of which `vain` is true is not on the bill; it is done again.

    So a budget buys the same where memory is short.
    """
    meter = _active[-1] if _active else None
    if meter is None:
        yield
        return
    before = meter.bill()
    try:
        yield
    except BaseException as error:
        if vain(error):
            meter.settle()
            meter.counts.update(before)
        raise


@contextmanager
def activated(meter: Meter) -> Iterator[None]:
    """Make `meter` the one that this process reports to."""
    _active.append(meter)
    try:
        yield
    finally:
        _active.remove(meter)
