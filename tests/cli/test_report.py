"""``alignbench report``: of one run, of several, of all published entries."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from alignbench import cli
from tests.leaderboard.entries import forged, made, published, run

Report = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, and the entries of both."""
    root = tmp_path_factory.mktemp("report")
    published(root, 0)
    published(root, 1)
    return root


@pytest.fixture
def report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Report:
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = cli.dispatch(["report", *map(str, args)])
        said = capfd.readouterr()
        return int(code), said.out, said.err

    return call


def folder(root: Path, number: int) -> Path:
    return root / str(number) / "runs" / "fake"


def test_all_entries_make_one_page(root: Path, report: Report) -> None:
    code, out, _ = report("--from", root / "to")
    assert (code, out) == (0, "Report of 2 entries: reports/index.html\n")
    page = Path("reports/index.html").read_text()
    assert "Table 1: fake (cpu)" in page
    assert "Table 2" not in page
    assert report("--from", root / "to", "--out", "deep/er/x.html")[0] == 0
    assert Path("deep/er/x.html").read_text() == page


def test_refused_entries_are_named_all_at_once_and_nothing_is_written(
    root: Path, report: Report
) -> None:
    entries = Path("leaderboards")
    entries.mkdir()
    good = next((root / "to").iterdir())
    (entries / good.name).write_bytes(good.read_bytes())
    (entries / "a.json").write_text("{")
    (entries / "b.json").mkdir()
    os.mkfifo(entries / "c.json")
    other = next(path for path in (root / "to").iterdir() if path != good)
    lie = forged(other, entries, lambda r: r["statistics"]["best"].update(reward_gold="base"))
    code, out, err = report()
    assert (code, out) == (2, "")
    for told in (
        "leaderboards/a.json: is not JSON",
        "leaderboards/b.json: is no file",
        "leaderboards/c.json: is no file",
        f"{lie}: statistics.best.reward_gold: base does not have the best value",
        "nothing was written; --skip-bad leaves these files out",
    ):
        assert told in err
    assert not Path("reports").exists()

    code, out, _ = report("--skip-bad")
    assert (code, out) == (0, "Report of 1 entries, 4 left out: reports/index.html\n")
    page = Path("reports/index.html").read_text()
    assert "Left out: a.json" in page
    assert "base does not have the best value" in page


def test_no_entries_is_an_error_with_a_remedy(report: Report) -> None:
    code, _, err = report()
    assert code == 2
    assert "leaderboards: no entries in it; `alignbench publish RUN` writes one" in err


def test_several_runs_make_the_page_that_their_entries_would(root: Path, report: Report) -> None:
    code, out, _ = report(folder(root, 0), folder(root, 1), "--out", "runs.html")
    assert (code, out) == (0, "Report of 2 runs: runs.html\n")
    assert report("--from", root / "to", "--out", "entries.html")[0] == 0
    assert Path("runs.html").read_text() == Path("entries.html").read_text()
    assert not Path("leaderboards").exists()


def test_problems_of_several_runs_come_together(root: Path, report: Report) -> None:
    code, _, err = report("gone", "lost", folder(root, 0), "--out", "x.html")
    assert code == 2
    assert "gone: no such run" in err
    assert "lost: no such run" in err
    assert not Path("x.html").exists()
    inside = folder(root, 0) / "x.html"
    code, _, err = report(folder(root, 0), folder(root, 1), "--out", inside)
    assert code == 2
    assert "is in the folder of" in err


@pytest.mark.parametrize(
    ("form", "starts"),
    [("md", "# fake"), ("csv", "model,metric,"), ("json", "{"), ("latex", "% \\usepackage")],
)
def test_a_run_in_other_formats(root: Path, report: Report, form: str, starts: str) -> None:
    before = {path: path.read_bytes() for path in folder(root, 0).iterdir() if path.is_file()}
    code, out, err = report(folder(root, 0), "--format", form)
    assert (code, err) == (0, "")
    assert out.startswith(starts)
    code, said, _ = report(folder(root, 0), "--format", form, "--out", "to/table")
    assert (code, said) == (0, "Report: to/table\n")
    assert Path("to/table").read_text(encoding="utf-8") == out
    assert {path: path.read_bytes() for path in before} == before


def test_files_of_the_run_are_not_overwritten(root: Path, report: Report) -> None:
    for name, form in (("results.csv", "csv"), ("run.json", "json")):
        code, _, err = report(folder(root, 0), "--format", form, "--out", folder(root, 0) / name)
        assert code == 2
        assert "is a file of the run; choose another" in err


def test_a_changed_run_is_refused_in_every_format(root: Path, report: Report) -> None:
    changed = run(Path("here"), 2, prompts=4)
    results = json.loads((changed / "results.json").read_text())
    results["rows"][0]["value"] = 9.9
    (changed / "results.json").write_text(json.dumps(results))
    for options in ([], ["--format", "md"], [folder(root, 0), "--out", "x.html"]):
        code, out, err = report(changed, *options)
        assert (code, out) == (2, "")
        assert "results.json" in err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--format", "md"], "--format md wants exactly one RUN, 0 are given"),
        (["a", "b", "--format", "csv"], "--format csv wants exactly one RUN, 2 are given"),
        (["a", "--from", "x"], "--from and --skip-bad are for published entries"),
        (["a", "--skip-bad"], "--from and --skip-bad are for published entries"),
        (["--format", "pdf"], "'pdf' is not one of"),
    ],
)
def test_options_that_do_not_fit(report: Report, options: list[str], told: str) -> None:
    code, _, err = report(*options)
    assert code == 2
    assert told in err


def test_a_run_without_its_scores_compares_unpaired(
    root: Path, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNBENCH_STORE", "elsewhere")
    code, _, err = report(folder(root, 0), folder(root, 1), "--out", "x.html")
    assert code == 0
    assert "no longer has the scores of" in err
    assert "could not be computed again" in Path("x.html").read_text()
    assert made(folder(root, 0))["observations"] is None
