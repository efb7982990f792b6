"""From a finished run to its entry, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alignbench import cli
from alignbench.compare import compare
from alignbench.leaderboard.entry import load
from tests.finished_run import Finished, finished_run, read


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished_run(tmp_path_factory.mktemp("published"))


def publish(run: Path, to: Path) -> int:
    return cli.dispatch(["publish", str(run), "--to", str(to)])


def test_the_entry_says_what_the_results_say(run: Finished, tmp_path: Path) -> None:
    assert publish(run.folder, tmp_path) == 0
    [path] = tmp_path.iterdir()
    entry, results = load(path), read(run.folder / "results.json")
    assert path.name.startswith("fake-cpu-")
    assert entry.models == ["base", "sft", "sft_copy", "ppo", "dpo"]
    assert [cell.model_dump() for cell in entry.rows] == [
        {name: row[name] for name in cell_names} for row in results["rows"]
    ]
    assert not compare(entry.certificate, results["certificate"]).refusals
    assert entry.certificate == results["certificate"]
    assert entry.verdict == results["verdict"]
    assert entry.recipe.digest == "ab" * 32
    assert entry.environment.python is not None
    assert "torch" in entry.environment.libraries
    commands = " && ".join(entry.commands)
    assert "alignbench run recipes/fake.yaml --profile cpu" in commands
    assert [note.message for note in entry.notes if note.kind == "warning"] == ["sft: looked at"]
    assert entry.counted["ppo"].marginal["optimizer_steps"].value == 40


cell_names = ("model", "metric", "value", "low", "high", "n_seeds", "n_prompts")


def test_observations_give_the_tables_values_back(run: Finished, tmp_path: Path) -> None:
    assert publish(run.folder, tmp_path) == 0
    entry = load(next(tmp_path.iterdir()))
    assert entry.observations is not None
    assert entry.observations.prompts == [f"p{i}" for i in range(12)]
    for cell in entry.rows:
        seen = entry.observations.rows[cell.model]
        assert len(seen.seeds) == cell.n_seeds
        if cell.metric in ("reward_gold", "win_rate_vs_sft") and cell.metric in seen.prompts:
            every = [value for seed in seen.prompts[cell.metric] for value in seed]
            assert sum(every) / len(every) == pytest.approx(cell.value, rel=1e-5)
            means = seen.means[cell.metric]
            assert sum(means) / len(means) == pytest.approx(cell.value, rel=1e-5)
    assert "win_rate_vs_sft" in entry.observations.rows["ppo"].prompts


def test_equal_runs_have_equal_bytes_and_no_text_of_a_model(run: Finished, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        assert publish(run.folder, tmp_path / folder) == 0
    [a], [b] = ((tmp_path / folder).iterdir() for folder in ("a", "b"))
    assert a.name == b.name
    assert a.read_bytes() == b.read_bytes()
    text = a.read_text()
    assert "Question 3?" not in text
    assert str(run.folder) not in text
    assert "/tmp" not in text
    assert len(text) < 150_000
    # Publishing changes nothing of the run.
    assert cli.dispatch(["show", str(run.folder)]) == 0


def test_no_place_of_this_machine_and_no_private_server(tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "data": {"source": "hh_rlhf", "path": "/home/jane doe/hh-rlhf", "hub": "Anthropic/hh-rlhf"},
        "judge": {"kind": "sandbox", "base_url": "http://10.0.0.7:8000/v1"},
        "human_labels": "../labels/mine.json",
    }
    run = finished_run(tmp_path, recipe=recipe)
    assert publish(run.folder, tmp_path / "to") == 0
    path = next((tmp_path / "to").iterdir())
    for private in ("jane", "/home", "10.0.0.7", "../labels"):
        assert private not in path.read_text()
    entry = load(path)
    assert entry.recipe.settings["data"]["path"] == "…/hh-rlhf"
    assert entry.recipe.settings["data"]["hub"] == "Anthropic/hh-rlhf"
    assert entry.recipe.settings["human_labels"] == "…/mine.json"
    assert any(command.endswith("--set data.path=PATH") for command in entry.commands)


def test_a_secret_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(tmp_path, recipe={"labeller": {"kind": "hf_" + "a" * 30}})
    assert publish(run.folder, tmp_path / "to") == 2
    err = capsys.readouterr().err
    assert "recipe.settings.labeller.kind: looks like a secret" in err
    assert not (tmp_path / "to").exists()


def test_runs_that_cannot_be_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.dispatch(["publish", "fkae"]) == 2
    assert 'no such run (did you mean "fake"?)' in capsys.readouterr().err

    (tmp_path / "file").touch()
    assert cli.dispatch(["publish", "fake", "--to", "file"]) == 2
    assert "file: cannot be written" in capsys.readouterr().err

    original = (run.folder / "results.json").read_text()
    (run.folder / "results.json").write_text(original.replace("0.95", "0.96"))
    assert cli.dispatch(["publish", "fake"]) == 2
    assert "results.json: changed" in capsys.readouterr().err
    (run.folder / "results.json").write_text(original)

    scores = next(run.store.root.glob("score-*")) / "scores.jsonl"
    scores.write_text(scores.read_text() + "{}\n")
    assert cli.dispatch(["publish", "fake"]) == 2
    assert "scores.jsonl changed; run the recipe again" in capsys.readouterr().err

    record = read(run.folder / "run.json")
    for state in ("running", "failed"):
        from alignbench.run_record import save

        save(run.folder, {**record, "state": state})
        assert cli.dispatch(["publish", "fake"]) == 2
        assert f"the run is {state}" in capsys.readouterr().err
    assert not Path("leaderboards").exists()


def test_without_the_store_the_table_is_published_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(tmp_path)
    monkeypatch.setenv("ALIGNBENCH_STORE", str(tmp_path / "elsewhere"))
    assert publish(run.folder, tmp_path / "to") == 0
    assert "no longer has the run's scores" in capsys.readouterr().err
    assert load(next((tmp_path / "to").iterdir())).observations is None


def test_what_was_not_trained_is_not_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(tmp_path)
    results = read(run.folder / "results.json")
    del results["certificate"]["start_weights"]
    (run.folder / "results.json").write_text(json.dumps(results))
    from alignbench.run_record import record_file

    record_file(run.folder, "results.json")
    assert publish(run.folder, tmp_path / "to") == 2
    assert "only runs of a recipe can be published" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["publish", "export"])
def test_help_imports_no_torch(command: str) -> None:
    code = (
        f"import sys; from alignbench.cli import dispatch; code = dispatch(['{command}', '--help'])"
        "; slow = {'torch', 'numpy', 'pydantic', 'rich', 'transformers'}; "
        "print(code, sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n0 []\n")
