from __future__ import annotations

import io

import pytest
from rich.console import Console

from alignbench.terminal.snapshot import Said, Spent, StageView
from alignbench.terminal.text import budget, fitted, percent, progress_line, said_line, tell


@pytest.mark.parametrize(
    ("text", "width", "found"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("ab cd", 4, "ab…"),
        ("模型模型", 5, "模型…"),
        ("模型模型", 4, "模…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
    ],
)
def test_text_is_cut_by_columns(text: str, width: int, found: str) -> None:
    assert fitted(text, width) == found


def test_only_what_is_done_is_a_hundred_percent() -> None:
    assert [percent(share) for share in (0, 0.999, 1, 1.05)] == ["0 %", "99 %", "100 %", "105 %"]


def test_the_currency_is_named_as_elsewhere() -> None:
    assert budget(Spent(share=0.5, currency="flops")) == "budget 50 % of FLOPs"
    assert budget(Spent(share=0.5, currency="optimizer_steps")) == "budget 50 % of steps"
    assert budget(Spent(share=0.5)) == "budget 50 %"


def test_a_line_says_what_is_known() -> None:
    assert progress_line(StageView(name="sft", state="running")) == "sft: running"
    view = StageView(name="sft", share=0.5, seconds=60, metrics={"loss": 0.12345, "waiting": "x"})
    assert progress_line(view) == "sft: 50 % done, running for 1 min 00 s, loss 0.123, waiting x"


def test_who_told_it() -> None:
    assert said_line(Said(kind="warning", message="m", stages=("a",))) == "warning: a: m"
    assert said_line(Said(kind="warning", message="m", stages=("a", "b"))) == (
        "warning: 2 stages (a, …): m"
    )


@pytest.mark.parametrize(("terminal", "lines"), [(True, 3), (False, 1)])
def test_sentences_are_wrapped_at_words_on_a_terminal_alone(terminal: bool, lines: int) -> None:
    file = io.StringIO()
    tell(Console(file=file, force_terminal=terminal, width=40), "word " * 20 + "[bold]\x1b[2J")
    shown = file.getvalue()
    assert shown.count("\n") == lines
    assert shown.split() == ["word"] * 20 + ["[bold]\\x1b[2J"]


def test_any_text_can_be_told_to_an_ascii_file() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    tell(Console(file=file), "3 stages (é, …)")
    file.seek(0)
    assert file.read() == "3 stages (\\xe9, .)\n"
