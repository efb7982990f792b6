"""Tables for papers: they compile, and say what they show."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from alignbench.results.latex import escaped, latex
from alignbench.results.schema import load
from alignbench.stages import results as stage
from tests.fake_run import FakeRun

Record = dict[str, Any]
EFFECTS = {"base": -1.0, "sft": 0.0, "ppo": 2.0, "dpo": 0.3}
HOSTILE = (
    r"\input{/etc/passwd} \end{table} a_b 5% #1 $x$ ~ ^ & -- ,, ?` é ß 漢 🎉 \write18{id} ' "
    + '"<>|'
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Record:
    root = tmp_path_factory.mktemp("latex")
    stage.run(FakeRun(root / "stages", EFFECTS, seeds=3).context(root / "out"))
    return load(root / "out" / "results.json")


def compiled(table: str, folder: Path) -> str:
    """What pdflatex says."""
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("no pdflatex")
    (folder / "t.tex").write_text(
        "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{booktabs}\n"
        f"\\usepackage{{graphicx}}\n\\begin{{document}}\n{table}\\end{{document}}\n"
    )
    done = subprocess.run(
        [program, "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=folder, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    said = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, said[-2000:]
    return said


def line(table: str, name: str) -> str:
    return next(each for each in table.splitlines() if each.startswith(name))


def test_it_compiles_and_fits(results: Record, tmp_path: Path) -> None:
    said = compiled(latex(results), tmp_path)
    assert "Overfull" not in said
    assert (tmp_path / "t.pdf").stat().st_size > 1000


def test_hostile_texts_are_typeset_and_not_obeyed(results: Record, tmp_path: Path) -> None:
    record = {
        **results,
        "recipe": {**results["recipe"], "name": HOSTILE},
        "profile": HOSTILE,
        "judge": {**results["judge"], "name": HOSTILE},
        "flags": [{"level": "error", "message": HOSTILE}],
    }
    table = latex(record)
    assert not re.search(r"\\(input|write|end\{table\})(?!ize)", table.rsplit(r"\end{table}", 1)[0])
    assert table.isascii()
    compiled(table, tmp_path)


def test_every_special_character_is_escaped() -> None:
    assert escaped("a_b % & # $ { }") == r"a\_b \% \& \# \$ \{ \}"
    assert escaped("\\~^") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}"
    assert escaped("a--b ,, c") == "a-{}-b ,{}, c"
    assert escaped("≥ ± é 漢") == r"$\geq$ $\pm$ e \texttt{U+6F22}"
    assert escaped("a\nb\u202e") == r"a b\texttt{U+202E}"


def test_numbers_have_half_intervals_and_only_a_separable_best_is_bold(results: Record) -> None:
    table = latex(results)
    cell = next(
        row for row in results["rows"] if (row["model"], row["metric"]) == ("ppo", "reward_gold")
    )
    half = (cell["high"] - cell["low"]) / 2
    gold = line(table, "Reward, gold (1-10)")
    assert results["statistics"]["best"]["reward_gold"] == "ppo"
    assert rf"\textbf{{{cell['value']:.2f}}} {{\scriptsize $\pm$ {half:.2f}}}" in gold
    assert gold.count("textbf") == 1
    assert "$^{s}$" in gold  # by the sandbox's rule
    assert "textbf" not in line(table, "Length (tokens)")
    assert r"$\pm$ --" in line(table, "Length (tokens)")  # unknown, and not 0
    assert line(table, "Win vs SFT").split("&")[2].strip() == "--"


def test_the_caption_says_whose_numbers_these_are(results: Record) -> None:
    flagged = {
        **results,
        "flags": [{"level": "warning", "message": "w"}, {"level": "error", "message": "e"}],
    }
    caption = line(latex(flagged), r"\caption")
    assert r"$\pm$: half the width of the 95\,\% interval" in caption
    assert f"Judge: {escaped(results['judge']['name'])}." in caption
    assert caption.index(r"\textbf{Error:} e") < caption.index(r"\textbf{Warning:} w")


def test_wide_tables_are_scaled_to_the_text(tmp_path: Path) -> None:
    many = {**EFFECTS, **{f"method_{i}": 0.1 * i for i in range(7)}}
    stage.run(FakeRun(tmp_path / "stages", many, seeds=1, prompts=8).context(tmp_path / "out"))
    table = latex(load(tmp_path / "out" / "results.json"))
    assert r"\resizebox{\textwidth}" in table
    assert "Overfull" not in compiled(table, tmp_path)
