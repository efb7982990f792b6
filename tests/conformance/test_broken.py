"""Every check catches the method that breaks its clause, and no other check blames it."""

from __future__ import annotations

import re
import signal

import pytest

from alignbench.conformance import trial
from alignbench.conformance.checks import CHECKS, name_of
from alignbench.conformance.run import conformance
from alignbench.conformance.verdict import Verdict
from alignbench.methods.base import Method
from tests.conformance import broken
from tests.conformance.broken import BROKEN, RIGHT

Case = tuple[type[Method], str, str]
FIRST: dict[str, Case] = {}
for case in BROKEN:
    FIRST.setdefault(case[1], case)


def failures(verdicts: list[Verdict]) -> dict[str, str]:
    return {one.check: one.seen for one in verdicts if one.status == "fail"}


def test_every_check_has_a_method_that_it_catches() -> None:
    assert set(FIRST) == {name_of(check) for check in CHECKS}


def test_a_sound_method_passes_everything() -> None:
    verdicts = conformance(broken.Sound)
    assert [one for one in verdicts if one.status != "pass"] == []
    assert len(verdicts) == len(CHECKS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "check", "seen"), RIGHT, ids=lambda x: getattr(x, "__name__", "")
)
def test_a_right_but_unusual_method_passes(method: type[Method], check: str, seen: str) -> None:
    verdicts = conformance(method)
    assert [one for one in verdicts if one.status != "pass"] == []
    assert re.search(seen, {one.check: one.seen for one in verdicts}[check])


def test_a_method_that_waits_for_ever_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 5.0)
    before = signal.getsignal(signal.SIGALRM)
    [verdict] = conformance(broken.Waits, only=["clean failure"])
    assert verdict.status == "fail"
    assert verdict.seen.startswith("without data: Runaway: not done after 5 s")
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@pytest.mark.parametrize(
    ("method", "check", "seen"), FIRST.values(), ids=lambda x: getattr(x, "__name__", "")
)
def test_the_check_catches_it_for_the_right_reason(
    method: type[Method], check: str, seen: str
) -> None:
    found = failures(conformance(method, only=[check]))
    assert list(found) == [check]
    assert re.search(seen, found[check])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "check", "seen"), BROKEN, ids=lambda x: getattr(x, "__name__", "")
)
def test_no_other_check_blames_it(
    method: type[Method], check: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "SECONDS", 20.0)  # one of them never ends
    found = failures(conformance(method))
    assert list(found) == [check]
    assert re.search(seen, found[check])
