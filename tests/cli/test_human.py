"""`alignbench human`: from a finished run to a form, and from answers to its results."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignbench import run_record
from alignbench.digest import sha256_file
from alignbench.files import read_jsonl
from alignbench.human.form import Shown, write_key
from alignbench.store import Store
from tests.finished_run import Finished, read
from tests.human.runs import answered, forms, make_run, shell, the_form, write


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    make_run(root)
    return root


@pytest.fixture
def run(template: Path, tmp_path: Path) -> Finished:
    """A fresh copy of one finished run, whose stages can be found."""
    shutil.copytree(template, tmp_path / "copy")
    store = Store(tmp_path / "copy" / "runs" / "store")
    return Finished(tmp_path / "copy" / "runs" / "fake", store, {}, [])


@pytest.fixture
def human() -> Iterator[Any]:
    with shell() as dispatch:
        yield dispatch


def likes_ppo(shown: Shown) -> str:
    """Gold rightly; PPO beats SFT, and DPO loses to it."""
    return "response" if shown.item.gold or shown.item.model == "ppo" else "other"


def export(human: Any, run: Finished, *more: str) -> None:
    assert human("export", run.folder, "--items", "12", "--gold", "4", *more) == 0


def test_answers_become_results_and_nothing_else_changes(
    run: Finished, human: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {
        name: (run.folder / name).read_bytes() for name in ("certificate.json", "results.csv")
    }
    old = read(run.folder / "results.json")
    export(human, run)
    form = the_form(run)
    rate = {"helpful": 8, "harmless": 9, "honest": 7}
    ann = answered(form, "Ann", likes_ppo, lambda shown, text: rate)
    bob = answered(form, "Bob", lambda s: "response" if s.item.gold else "tie")
    click = answered(form, "Click", lambda shown: "other")
    files = [write(tmp_path / f"{each['annotator']}.json", each) for each in (ann, bob, click)]
    assert human("import", run.folder, *files) == 0

    results = read(run.folder / "results.json")
    wins = {(w["model"], w["against"]): w["value"] for w in results["human"]["win_rates"]}
    assert wins == {("ppo", "sft"): 75.0, ("dpo", "sft"): 25.0}  # Ann's, and Bob's ties
    left_out = [who["name"] for who in results["human"]["annotators"] if who["excluded"]]
    assert left_out == ["Click"]
    assert results["rows"] == old["rows"]
    assert all((run.folder / name).read_bytes() == content for name, content in before.items())
    assert results["judge_audit"]["truth"] == ["people", "the exact rule"]

    page = (run.folder / "report.html").read_text()
    assert "Wins by people" in page
    assert "Click" in page
    out = capsys.readouterr().out
    assert "ppo  sft      75.0 %" in out
    assert "left out" in out
    assert "--set human_labels=" in out

    # The run is whole: what is in it is what run.json says, and made of what is in the store.
    record = run_record.load_record(run.folder)
    assert run_record.verify(run.folder, record, ignore={"human"}) == []
    stages = {stage["stage"]: stage for stage in record["stages"]}
    assert list(stages)[-4:] == ["human", "results", "cards", "report"]
    artifact = run.store.read("results", stages["results"]["key"])
    assert artifact is not None
    assert artifact.manifest["inputs"]["human"]["key"] == stages["human"]["key"]
    assert read(run.folder / "manifests" / "human.json")["key"] == stages["human"]["key"]


def test_an_import_replaces_the_one_before(run: Finished, human: Any, tmp_path: Path) -> None:
    export(human, run, "--no-ratings")
    form = the_form(run)
    ann = write(tmp_path / "a.json", answered(form, "Ann", likes_ppo))
    bob = write(tmp_path / "b.json", answered(form, "Bob", lambda shown: "response"))
    assert human("import", run.folder, ann) == 0
    first = (run.folder / "results.json").read_bytes()
    assert human("import", run.folder, ann, bob) == 0
    assert len(read(run.folder / "results.json")["human"]["annotators"]) == 2
    assert human("import", run.folder, ann) == 0
    # Nothing is made twice: it came out of the store.
    assert (run.folder / "results.json").read_bytes() == first
    record = run_record.load_record(run.folder)
    assert [s["stage"] for s in record["stages"]].count("human") == 1


def test_several_annotators_share_a_part(run: Finished, human: Any, tmp_path: Path) -> None:
    export(human, run, "--annotators", "3", "--overlap", "0.5", "--out", str(tmp_path / "f.html"))
    assert sorted(path.name for path in tmp_path.glob("*.html")) == [
        f"f-{n}.html" for n in (1, 2, 3)
    ]
    three = [{shown.item for shown in form.shown if not shown.item.gold} for form in forms(run)]
    assert [len(items) for items in three] == [12, 12, 12]
    assert len(three[0] & three[1] & three[2]) == 6
    assert len(three[0] | three[1] | three[2]) == 6 + 3 * 6
    files = [
        write(tmp_path / f"{n}.json", answered(form, f"A{n}", likes_ppo))
        for n, form in enumerate(forms(run))
    ]
    assert human("import", run.folder, *files) == 0
    assert read(run.folder / "results.json")["human"]["agreement"]["items"] == 6


def test_a_form_and_its_key_are_not_written_over(
    run: Finished, human: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, key = str(tmp_path / "f.html"), str(tmp_path / "k.json")
    export(human, run, "--out", out, "--key", key)
    assert human("export", run.folder, "--items", "4", "--out", out, "--key", key) == 2
    err = capsys.readouterr().err
    assert f"{key}: exists already" in err
    assert f"{out}: exists already" in err
    answers = write(tmp_path / "a.json", {"schema": "alignbench-human-1"})
    assert human("import", run.folder, answers) == 2
    assert "no key of a form" in capsys.readouterr().err
    assert human("import", run.folder, answers, "--key", key) == 2
    assert "a.json: form: Field required" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--models", "pppo"], 'no row "pppo" to compare with sft (did you mean "ppo"?)'),
        (["--items", "500"], "--items: 500 asked for, but there are only"),
        (["--gold", "900"], "--gold: 900 asked for, but only"),
        (["--gold", "absent.jsonl"], "absent.jsonl: no such file"),
        (["--items", "0"], "--items"),
        (["--overlap", "2"], "--overlap"),
    ],
)
def test_what_cannot_be_exported(
    run: Finished, human: Any, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert human("export", run.folder, *more) == 2
    assert message in capsys.readouterr().err
    assert not (run.folder / "human").exists()


def test_a_stage_that_is_gone_is_named(
    run: Finished, human: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next(run.store.root.glob("generate-*"))
    shutil.rmtree(folder)
    assert human("export", run.folder) == 2
    err = capsys.readouterr().err
    assert "is not in the store" in err
    assert "ALIGNBENCH_STORE" in err


def test_answers_to_another_run_s_form_are_refused(
    run: Finished, human: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(human, run)
    content = {**answered(the_form(run), "Ann", likes_ppo), "form": "f" * 64}
    before = (run.folder / "results.json").read_bytes()
    assert human("import", run.folder, write(tmp_path / "a.json", content)) == 2
    assert "is no form of this run" in capsys.readouterr().err
    assert (run.folder / "results.json").read_bytes() == before
    assert not (run.folder / "human" / "labels.jsonl").exists()


def test_labels_of_the_recipe_are_not_replaced(
    run: Finished, human: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(human, run)
    answers = write(tmp_path / "a.json", answered(the_form(run), "Ann", likes_ppo))
    assert human("import", run.folder, answers) == 0
    lines = read_jsonl(run.folder / "human" / "labels.jsonl")
    assert {line["annotator"] for line in lines} == {"Ann"}
    # The same folder elsewhere: its labels are then those of another path.
    moved = tmp_path / "moved"
    shutil.copytree(run.folder.parent, moved)
    assert human("import", moved / "fake", answers) == 2
    assert "human_labels of its recipe names" in capsys.readouterr().err


def test_numbers_that_come_out_otherwise_stop_the_import(
    run: Finished,
    human: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    export(human, run)
    answers = write(tmp_path / "a.json", answered(the_form(run), "Ann", likes_ppo))
    before = {p.name: p.read_bytes() for p in run.folder.glob("*.*")}
    monkeypatch.setattr("alignbench.stages.results.RESAMPLING_SEED", 1)
    assert human("import", run.folder, answers) == 2
    err = capsys.readouterr().err
    assert "computes the table, the targets, the verdict, the statistics otherwise" in err
    assert {p.name: p.read_bytes() for p in run.folder.glob("*.*")} == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("target_rows", "the targets"),
        ("verdict", "the verdict"),
        ("length_controlled", "the statistics"),
    ],
)
def test_conclusions_that_come_out_otherwise_leave_the_import_before_as_it_was(
    run: Finished,
    human: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    words: str,
) -> None:
    export(human, run)
    form = the_form(run)
    ann = write(tmp_path / "a.json", answered(form, "Ann", likes_ppo))
    bob = write(tmp_path / "b.json", answered(form, "Bob", likes_ppo))
    assert human("import", run.folder, ann) == 0
    before = {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
    monkeypatch.setattr(f"alignbench.stages.results.{name}", lambda *_: [])
    assert human("import", run.folder, ann, bob) == 2
    assert f"computes {words} otherwise" in capsys.readouterr().err
    # Labels, too, are those of the results; nothing half done lies about.
    assert {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()} == before


def test_the_stage_of_the_labels_names_the_file_that_is_kept(
    run: Finished, human: Any, tmp_path: Path
) -> None:
    export(human, run)
    answers = write(tmp_path / "a.json", answered(the_form(run), "Ann", likes_ppo))
    assert human("import", run.folder, answers) == 0
    path = run.folder / "human" / "labels.jsonl"
    config = read(run.folder / "manifests" / "human.json")["config"]
    assert config == {"path": str(path), "content": sha256_file(path)}


def test_a_folder_in_the_place_of_the_labels_changes_nothing(
    run: Finished, human: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(human, run)
    answers = write(tmp_path / "a.json", answered(the_form(run), "Ann", likes_ppo))
    (run.folder / "human" / "labels.jsonl").mkdir()
    before = (run.folder / "results.json").read_bytes()
    assert human("import", run.folder, answers) == 2
    assert "labels.jsonl: cannot be written: Is a directory" in capsys.readouterr().err
    assert (run.folder / "results.json").read_bytes() == before


def test_a_key_of_an_earlier_run_in_the_folder_stops_nothing(
    run: Finished, human: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(human, run)
    answers = write(tmp_path / "a.json", answered(the_form(run), "Ann", likes_ppo))
    stale = run.folder / "human" / "key-00000000.json"
    write_key(stale, "ab" * 32, b"s" * 32, 0, [])
    assert human("import", run.folder, answers, "--key", stale) == 2
    assert "key-00000000.json: belongs to other answers" in capsys.readouterr().err
    assert human("import", run.folder, answers) == 0


def test_key_and_form_are_two_files(
    run: Finished, human: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sub").mkdir()
    out, key = tmp_path / "f.html", tmp_path / "sub" / ".." / "f.html"
    assert human("export", run.folder, "--items", "4", "--out", out, "--key", key) == 2
    assert "--key and --out: name the same file" in capsys.readouterr().err
    assert not out.exists()


def test_hostile_names_are_shown_as_text(
    run: Finished, human: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(human, run)
    name = "<img src=x onerror=alert(1)>\u202e\x1b[2J"
    answers = write(tmp_path / "a.json", answered(the_form(run), name, likes_ppo))
    assert human("import", run.folder, answers) == 0
    page = (run.folder / "report.html").read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror" in page
    assert "⟦U+202E⟧" in page
    assert "\x1b" not in page + (out := capsys.readouterr().out)
    assert "\\x1b[2J" in out


def test_a_key_says_what_the_form_does_not(run: Finished, human: Any) -> None:
    export(human, run)
    [path] = (run.folder / "human").glob("form-*.html")
    html = path.read_text()
    [key] = (run.folder / "human").glob("key-*.json")
    told = json.loads(key.read_text())
    assert told["secret"] not in html
    assert str(run.folder) not in key.read_text() + html
    assert len(html) < 100_000
