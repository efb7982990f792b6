from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from alignbench.terminal.snapshot import Said, Snapshot, Spent, StageView
from alignbench.terminal.tree import print_tree, tree_lines
from tests.terminal.views import BUSY, METHODS, names, run, running


def text(snapshot: Snapshot, width: int = 80, height: int | None = None) -> list[str]:
    return [line.text for line in tree_lines(snapshot, width, height)]


def line_of(lines: list[str], label: str) -> str:
    return next(line for line in lines if line.lstrip("✓▶·✗ ").startswith(label))


def test_everything_is_there_at_full_height() -> None:
    lines = text(BUSY)
    assert lines[0] == "9 of 129 stages finished  14 min 03 s  ETA 1 h 20 min"
    assert line_of(lines, "sft").split() == ["✓", "sft", "done", "10.0", "s"]
    assert line_of(lines, "reward models").split()[3:] == ["2/2", "done", "20.0", "s"]
    reinforce = line_of(lines, "reinforce")
    assert reinforce.endswith("3/3 done  30.0 s  budget 102 % of FLOPs")
    assert line_of(lines, "ppo").endswith("0/3 done, 2 running")
    seed = line_of(lines, "seed 0")
    assert seed.endswith("━━━━━━╌╌╌╌╌╌╌╌  46 %  1 min 40 s, ETA 2 min 05 s")
    below = lines[lines.index(seed) + 1]
    assert below.split("  ")[-4:] == [
        "budget 46 % of FLOPs",
        "loss 0.0312",
        "reward 1.24",
        "KL 0.38",
    ]
    for method in METHODS:
        assert line_of(lines, method)
    assert line_of(lines, "evaluation").endswith("0/90 waiting")
    assert not any("note" in line for line in lines)


def test_at_80_by_24_everything_that_runs_and_fails_is_seen() -> None:
    lines = text(BUSY, 79, 23)
    assert len(lines) <= 23
    assert "seed 0" in "".join(lines)
    assert "seed 1" in "".join(lines)
    assert any(line.startswith("! health error: train/dpo/0: The mean reward") for line in lines)
    assert any("more notes" in line for line in lines)
    failing = run(
        ("train/ppo/0",),
        done=9,
        **{"train/grpo/1": StageView(name="train/grpo/1", state="failed")},
    )
    lines = text(failing, 79, 23)
    assert line_of(lines, "methods").startswith("✗")
    assert line_of(lines, "seed 1").endswith("failed")


def test_metrics_of_running_stages_stand_in_columns() -> None:
    first = running("train/ppo/0", metrics={"loss": 0.5, "reward": -0.123456, "KL": 12.0})
    second = running("train/ppo/1", metrics={"reward": 1.0, "waiting": "vLLM's server"}, spent=None)
    lines = text(run(("train/ppo/0",), done=9, **{"train/ppo/0": first, "train/ppo/1": second}))
    one, two = (line for line in lines if "reward " in line and "models" not in line)
    assert one.index("reward -0.123") == two.index("reward 1")
    assert two.endswith("waiting vLLM's server")


def test_states_are_told_by_words() -> None:
    lines = "\n".join(text(BUSY))
    for sign in "✓▶·✗━╌":
        lines = lines.replace(sign, "")
    assert all(word in lines for word in ("done", "running", "waiting"))


@given(
    width=st.integers(2, 200),
    height=st.integers(1, 60),
    done=st.integers(0, 129),
    going=st.lists(st.sampled_from(names()), max_size=12),
    noted=st.integers(0, 8),
)
@settings(max_examples=60, deadline=None)
def test_nothing_is_wider_or_higher_than_the_terminal(
    width: int, height: int, done: int, going: list[str], noted: int
) -> None:
    notes = tuple(Said(kind="warning", message="模型 " * i, stages=("sft",)) for i in range(noted))
    snapshot = run(tuple(going), done, notes)
    lines = text(snapshot, width, height)
    assert len(lines) <= height
    assert max(cell_len(line) for line in [*lines, *text(snapshot, width)]) <= width


def test_hostile_text_is_shown_as_escapes() -> None:
    bad = "a\x1b[31m\n\u202e\ud800</script>"
    stage = StageView.model_construct(
        name=f"train/{bad}/0",
        state="running",
        seconds=1.0,
        share=None,
        left=None,
        spent=Spent(share=1e12, currency="\x1b]0;x\x07"),
        metrics={bad: bad, "loss": 1e300},
    )
    said = Said.model_construct(kind=bad, message=bad, stages=(bad,))
    snapshot = Snapshot.model_construct(
        updated=0.0, elapsed=1e12, left=1e12, stages=[stage], notes=[said]
    )
    for line in text(snapshot, 80, 24):
        assert line.isprintable()
        assert len(line) <= 80


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_gets_ascii(encoding: str) -> None:
    stage = StageView(name="train/größe/0", state="running", share=0.5, metrics={"模": 1.0})
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_tree(Console(file=file, width=80), Snapshot(updated=0, stages=(stage,)))
    file.seek(0)
    shown = file.read()
    assert "#######-------" in shown
    assert "\\u6a21 1" in shown


def test_a_phase_in_which_nothing_goes_on_is_one_line_where_height_is_short() -> None:
    lines = text(run(done=8), 80, 6)
    assert not any("others" in line for line in lines)
    assert line_of(lines, "methods").endswith("2/30 done  20.0 s")


@pytest.mark.parametrize("name", ["train", "trial", "train/"])
def test_a_training_of_no_row_is_drawn(name: str) -> None:
    stages = (StageView(name=name), StageView(name="train/ppo/0"))
    lines = text(Snapshot(updated=0.0, stages=stages))
    assert line_of(lines, name).endswith("waiting")
