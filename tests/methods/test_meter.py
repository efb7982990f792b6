from __future__ import annotations

import pytest

from alignbench.methods.meter import Meter


def test_charges_add_up() -> None:
    meter = Meter()
    meter.charge(prompts=2, tokens_generated=30)
    meter.charge(tokens_generated=12)
    assert meter.bill()["prompts"] == 2
    assert meter.bill()["tokens_generated"] == 42
    assert meter.bill()["human_labels"] == 0


def test_unknown_currency_and_negative_amount_are_refused() -> None:
    with pytest.raises(AttributeError):
        Meter().charge(tokens_genreated=1)
    with pytest.raises(ValueError, match="negative"):
        Meter().charge(prompts=-1)


def test_bill_holds_no_time() -> None:
    assert not any("second" in name for name in Meter().bill())
