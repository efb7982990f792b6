"""What others read: no name in an entry is markup there."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from alignbench.gate import compare_entries, render
from tests.gate.entries import made, with_signal

HOSTILE = '</td><script>x</script> [a](http://x) `|` & "'


@pytest.fixture(scope="module")
def outcome():  # type: ignore[no-untyped-def]
    base = with_signal(made(list(range(8)), 1), "ppo", HOSTILE, [1.0] * 4 + [1.01] * 4)
    run = with_signal(made([8, 9], 2, push=-0.8), "ppo", HOSTILE, [9.0, 9.1])
    names = (f"base{HOSTILE}", "run")
    return compare_entries(base, run, names=names)


def test_junit_has_a_case_for_each_comparison(outcome) -> None:  # type: ignore[no-untyped-def]
    [suite] = ElementTree.fromstring(render.junit(outcome))
    cases = suite.findall("testcase")
    assert len(cases) == len(outcome.findings) + len(outcome.undecided) == int(suite.get("tests"))
    assert (
        len(suite.findall("testcase/failure")) == len(outcome.worse) == int(suite.get("failures"))
    )
    assert len(suite.findall("testcase/skipped")) == int(suite.get("skipped"))
    assert any(HOSTILE in case.get("name", "") for case in cases)
    assert "<script>" not in render.junit(outcome)


def test_markdown_shows_what_is_worse_and_escapes_names(outcome) -> None:  # type: ignore[no-untyped-def]
    text = render.markdown(outcome)
    assert text.startswith("### alignbench check: Regression: of ")
    for line in text.splitlines():
        if line.startswith("| "):
            assert line.replace("\\|", "").count("|") == 9
    inside = [part for part in text.split("`")[1::2] if "script" in part]
    assert inside
    assert "<script>" not in "".join(text.split("`")[0::2])
    assert "| changed | `ppo` | `training.push.mean` |" in text
    assert "`training.entropy.mean`" in text.split("<details>")[1]


def test_json_is_json_and_says_the_exit_code(outcome) -> None:  # type: ignore[no-untyped-def]
    plain = json.loads(json.dumps(render.plain(outcome), allow_nan=False))
    assert (plain["exit_code"], plain["outcome"]) == (1, "regression")
    assert {f["verdict"] for f in plain["findings"]} <= {"better", "same", "worse", "inconclusive"}


def test_a_check_that_failed_is_one_error_with_no_markup() -> None:
    problem = f"base: {HOSTILE}\n  line\x00 two \ud800"
    [suite] = ElementTree.fromstring(render.error_junit(problem))
    [error] = suite.findall("testcase/error")
    assert error.get("message") == f"base: {HOSTILE}\nline\\x00 two \\ud800"
    text = render.error_markdown(problem)
    assert text.startswith("### alignbench check: no check: base: ")
    assert text.count("\n") == 1
    assert "<script>" not in text
    assert "[a](" not in text


def test_unknown_is_a_dash() -> None:
    assert render.number(None) == "–"
    lost = made([8, 9], 2)
    none = [cell.model_copy(update={"value": None}) for cell in lost.rows]
    outcome = compare_entries(made([0, 1], 1), lost.model_copy(update={"rows": none}))
    finding = next(f for f in outcome.findings if f.run is None)
    assert render.row(finding)[4:7] == ("–", "–", "–")
