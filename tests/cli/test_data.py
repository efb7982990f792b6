"""``alignbench data``: check and collect, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from alignbench.cli import dispatch, root
from alignbench.errors import UserError
from tests.data.files import pair, write
from tests.tiny import reward_folder, start_folder


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["data", *map(str, arguments)])


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rows = [pair(f"Question {i}?", "Yes indeed.") for i in range(80)]
    return write(tmp_path / "p.jsonl", [*rows, pair(chosen="")])


def test_help_imports_no_torch() -> None:
    script = (
        "import sys; from alignbench.cli import dispatch\n"
        "for args in (['data'], ['data', 'check'], ['data', 'collect']):\n"
        "    assert dispatch([*args, '--help']) == 0\n"
        "assert not {'torch', 'pandas', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_unknown_commands_name_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["data", "chek"]) == 2
    assert 'did you mean "check"' in capsys.readouterr().err


def test_check_prints_what_there_is(pairs: Path) -> None:
    done = _run("check", pairs, "--source", "preference")
    assert done.exit_code == 0
    for text in (
        "preference: 80 pairs, 0 examples, 80 different prompts; 1 skipped",
        "skipped: 1 empty answer",
        "100.0 % [95.5, 100.0] of 80 prompts",
        "– (one vote a pair)",
        "scaled to",
        "A run would take this data.",
    ):
        assert text in done.output


def test_check_as_json(pairs: Path, tmp_path: Path) -> None:
    folder = start_folder(tmp_path)
    done = _run("check", pairs, "--source", "preference", "--json", "--tokenizer", folder)
    figures = json.loads(done.output)
    assert figures["counts"]["pairs"] == 80
    assert figures["problems"] == []
    assert figures["lengths"]["prompt"].keys() == {"words", "characters", "tokens"}


def test_check_of_data_that_a_run_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "p.jsonl", [pair()] * 3)
    assert dispatch(["data", "check", str(path), "--source", "preference"]) == 2
    shown = capsys.readouterr().out
    assert "problem: data.path:" in shown
    assert "too few to fill" in shown


def test_check_of_a_table_with_names_of_its_own(tmp_path: Path) -> None:
    rows = "".join(f"Q {i}?,Yes.,No.\n" for i in range(80))
    (tmp_path / "t.csv").write_text(f"question,good,bad\n{rows}")
    names = ("--column", "prompt=question", "--column", "chosen=good", "--column", "rejected=bad")
    assert "80 pairs" in _run("check", tmp_path / "t.csv", "--source", "table", *names).output
    with pytest.raises(UserError) as caught:
        _raise("check", "x.csv", "--source", "table", "--column", "promt=q", "--column", "chosen")
    assert len(caught.value.problems) == 2
    assert 'did you mean "prompt"' in str(caught.value)


def test_check_with_settings(tmp_path: Path, pairs: Path) -> None:
    small = ("--set", "reward_pairs=10", "--set", "gold_pairs=10", "--json")
    done = _run("check", pairs, "--source", "preference", *small)
    assert json.loads(done.output)["splits"]["pairs_proxy"] < 10
    rows = [{"q": f"Q {i}?", "chosen": "Yes.", "rejected": "No.", "anna": 1, "ben": "chosen",
             "cleo": "tie" if i % 2 else 2} for i in range(80)]  # fmt: skip
    table = write(tmp_path / "t.jsonl", rows)
    labels = ("--column", "prompt=q", "--set", "columns.labels=[anna, ben, cleo]")
    figures = json.loads(_run("check", table, "--source", "table", *labels, "--json").output)
    assert figures["agreement"]["pairs"] == 80
    assert figures["agreement"]["unanimous"] == 50
    with pytest.raises(UserError) as caught:
        _raise("check", table, "--source", "table", "--column", "x", "--set", "sede=1", "--set",
               "seed", "--set", "seed=one")  # fmt: skip
    assert len(caught.value.problems) == 4
    assert '--column "x": write OURS=THEIRS' in str(caught.value)
    assert '--set "seed": write KEY=VALUE' in str(caught.value)
    assert 'did you mean "seed"' in str(caught.value)
    assert "--set seed: must be a whole number" in str(caught.value)


def test_settings_change_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairs: Path
) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "own_model.yaml"
    monkeypatch.chdir(tmp_path)
    assert "80 pairs" in _run("check", recipe, "--set", f"data.path={pairs.name}").output


def _raise(*arguments: object) -> Any:
    done = _run(*arguments)
    assert done.exception is not None
    raise done.exception


def test_check_of_examples_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"instruction": "x", "output": "y"}])
    done = _run("check", path, "--source", "alpaca")
    assert done.exit_code == 0
    assert "A run would take this data as data.sft." in done.output


def test_check_of_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairs: Path) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "own_model.yaml"
    monkeypatch.chdir(tmp_path)
    pairs.rename(tmp_path / "my_pairs.jsonl")
    done = _run("check", recipe)
    assert done.exit_code == 0, done.output
    assert "80 pairs" in done.output


def test_a_recipe_with_examples_alone_is_told_the_remedy(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "recipes" / "own_model.yaml"
    recipe = tmp_path / "r.yaml"
    recipe.write_text(shipped.read_text().replace("source: preference", "source: sharegpt"))
    with pytest.raises(UserError, match=r"data\.source: sharegpt holds.*data\.sft.*data collect"):
        _raise("check", recipe)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("x.jsonl",), "--source is needed"),
        (("x.jsonl", "--source", "sharegtp"), 'did you mean "sharegpt"'),
        (("./x.jsonl", "--source", "preference"), "no file or folder"),
        (("x.csv", "--source", "preference", "--column", "prompt=q"), "for --source table only"),
    ],
)
def test_bad_input_of_check(arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(UserError, match=told):
        _raise("check", *arguments)


def _collect(tmp_path: Path, labeller: str, out: Path, *more: object) -> Result:
    (tmp_path / "p.txt").write_text("w1\nw2 w3\nw4\n")
    return _run("collect", "--model", start_folder(tmp_path), "--prompts", tmp_path / "p.txt",
                "--labeller", labeller, "--out", out, "--samples", 6, "--temperature", 2,
                "--max-response-tokens", 24, "--max-prompt-tokens", 8, *more)  # fmt: skip


def test_collect_with_a_reward_model(tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    done = _collect(tmp_path, f"reward:{reward_folder(tmp_path)}", out)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert f"{len(rows)} pairs" in done.output
    assert rows[0].keys() == {
        "id", "prompt", "chosen", "rejected", "votes_chosen", "votes_total", "model", "labeller",
    }  # fmt: skip
    meta = json.loads((tmp_path / "pairs.jsonl.meta.json").read_text())
    assert meta["labeller"]["kind"] == "reward"
    assert {row["model"] for row in rows} == {meta["model"]["weights"]}
    assert {row["labeller"] for row in rows} == {f"reward model {meta['labeller']['name']}"}
    assert meta["model"]["path"].endswith("model")
    assert meta["sampling"]["samples"] == 6
    before = out.read_bytes()
    assert _collect(tmp_path, "none", out).exception is not None
    assert out.read_bytes() == before
    again = _collect(tmp_path, f"reward:{reward_folder(tmp_path)}", out, "--overwrite")
    assert again.exit_code == 0
    assert out.read_bytes() == before


def test_collect_from_people(tmp_path: Path) -> None:
    ranking, out = tmp_path / "r.jsonl", tmp_path / "pairs.jsonl"
    assert _collect(tmp_path, "none", ranking).exit_code == 0
    rows = [json.loads(line) for line in ranking.read_text().splitlines()]
    for row in rows:
        row["ranks"] = list(range(1, len(row["answers"]) + 1))
    write(ranking, rows)
    done = _run("collect", "--ranked", ranking, "--out", out)
    assert done.exit_code == 0, done.output
    made = [json.loads(line) for line in out.read_text().splitlines()]
    assert {(row["model"], row["labeller"]) for row in made} == {(rows[0]["model"], "people")}
    expected = sum(len(row["ranks"]) * (len(row["ranks"]) - 1) // 2 for row in rows)
    assert len(made) == expected
    assert json.loads((tmp_path / "pairs.jsonl.meta.json").read_text())["labeller"] == {
        "kind": "people", "annotators_at_most": 1,
    }  # fmt: skip


def test_all_bad_options_of_collect_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        _raise("collect", "--model", tmp_path / "none", "--out", tmp_path / "no" / "x.csv")
    assert len(caught.value.problems) == 5
    with pytest.raises(UserError, match="remove --labeller"):
        _raise("collect", "--ranked", tmp_path / "r", "--labeller", "none", "--out", "x.jsonl")
