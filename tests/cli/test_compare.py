from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignbench import cli, run_record
from alignbench.files import read_jsonl, write_jsonl
from alignbench.stages.results import run
from alignbench.tamper import digests
from tests.cli import fake_pipeline
from tests.cli.test_cli import RECIPE, Shell
from tests.fake_run import FakeRun

EFFECTS = {"base": -1.5, "sft": 0.0, "sft_copy": 0.0, "ppo": 1.5}
HOSTILE = "\x1b[31mred\x1b]0;title\x07\u202eright\nto left [bold]" + "x" * 10_000


def made(folder: Path, prompt: str | None = None) -> Path:
    """The results stage of a made-up run; prompt 3 replaced if asked for."""
    fake = FakeRun(folder / "stages", EFFECTS, prompts=8)
    if prompt is not None:
        path = fake.inputs["data"] / "eval_prompts.jsonl"
        prompts = read_jsonl(path)
        prompts[3]["prompt"] = prompt
        write_jsonl(path, prompts)
    run(fake.context(folder / "out", resamples=50))
    return folder / "out"


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("made")
    return {
        "plain": made(root / "plain"),
        "other": made(root / "other", "Another question 3?"),
        "hostile": made(root / "hostile", HOSTILE),
    }


def finished(folder: Path, source: Path, state: str = "finished") -> Path:
    """A run folder with the files of `source`."""
    shutil.copytree(source, folder)
    names = ["results.json", "results.csv", "certificate.json"]
    run_record.save(
        folder,
        {
            "schema_version": run_record.SCHEMA,
            "state": state,
            "recipe": "fake",
            "profile": "cpu",
            "stages": [],
            "files": digests(folder, names),
        },
    )
    return folder


@pytest.fixture
def shell(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stages: dict[str, Path],
) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALIGNBENCH_STORE", raising=False)
    for name, source in stages.items():
        finished(Path("runs") / name, source)
    return Shell(capsys)


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> str:
    """A results.json with its certificate changed, at `path`; returns the path."""
    results = json.loads(Path("runs/plain/results.json").read_text())
    change(results["certificate"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results))
    return str(path)


def test_runs_of_equal_terms_may_share_a_table(shell: Shell) -> None:
    shutil.copytree("runs/plain", "copy")
    for b in ("copy", "runs/plain", "plain", "copy/results.json", "copy/run.json"):
        code, out, err = shell("compare", "plain", b)
        assert (code, err) == (0, "")
        assert out.splitlines()[-1] == "May share a table."
        assert "differs" not in out
        assert "unknown" not in out
    assert out.splitlines()[0] == "A: plain (recipe fake, profile cpu)"
    [line] = [line for line in out.splitlines() if line.startswith("start_weights")]
    assert line.split()[:5] == ["start_weights", "must", "agree", "agrees", "5f75f75f75f7"]


def test_one_other_eval_prompt_is_refused_and_named(shell: Shell) -> None:
    code, out, err = shell("compare", "plain", "other")
    assert (code, err) == (1, "")
    refused = out[out.index("Refused") :].splitlines()
    assert refused == [
        "Refused: rows of A and B must not share a table.",
        "- data.eval_prompts.jsonl differs: rows must be trained, tuned and scored on the same "
        "texts",
        "- eval_prompts differs: rows must answer the same prompts",
        '    prompt p3: A: "Question 3?"; B: "Another question 3?"',
    ]


def test_as_json(shell: Shell) -> None:
    code, out, _ = shell("compare", "other", "plain", "--json")
    assert code == 1
    found = json.loads(out)
    assert found["may_share_a_table"] is False
    assert found["refused_for"] == ["data.eval_prompts.jsonl", "eval_prompts"]
    [prompt] = found["eval_prompts"]
    assert (prompt["id"], prompt["a"]["start"]) == ("p3", "Another question 3?")
    assert prompt["b"]["start"] == "Question 3?"
    fields = {field["field"]: field for field in found["fields"]}
    assert fields["judge"]["status"] == "agrees"
    assert fields["decoding.temperature"]["a"] == 0.8
    code, out, _ = shell("compare", "plain", "plain", "--json")
    assert code == 0
    assert json.loads(out)["may_share_a_table"] is True


def test_hostile_prompts_are_quoted_harmlessly(shell: Shell) -> None:
    code, out, _ = shell("compare", "plain", "hostile")
    assert code == 1
    assert all(char.isprintable() or char == "\n" for char in out)
    [line] = [line for line in out.splitlines() if line.startswith("    prompt p3")]
    assert "\\x1b[31mred" in line
    assert "\\u202eright\\nto left [bold]xxx" in line
    assert len(line) < 300
    code, out, _ = shell("compare", "plain", "hostile", "--json")
    assert out.isascii()


def test_a_results_file_alone_has_no_texts(shell: Shell) -> None:
    Path("alone").mkdir()
    shutil.copy("runs/other/results.json", "alone/results.json")
    code, out, _ = shell("compare", "plain", "alone/results.json")
    assert code == 1
    assert 'A: "Question 3?"; B: text unknown (sha256 ' in out
    # A certificate.json of another run, or none at all, does no harm.
    shutil.copy("runs/plain/certificate.json", "alone/certificate.json")
    assert shell("compare", "plain", "alone/results.json")[1] == out
    Path("alone/certificate.json").write_text('{"eval_prompts": [1]}')
    assert shell("compare", "plain", "alone/results.json")[1] == out


def test_many_prompts_are_summed_up(shell: Shell) -> None:
    def other_prompts(certificate: dict[str, Any]) -> None:
        certificate["eval_prompts"] = [{"id": f"q{i}", "sha256": f"{i:064x}"} for i in range(5000)]

    code, out, _ = shell("compare", "plain", edit(Path("many.json"), other_prompts))
    assert code == 1
    assert "    and 4988 more prompts (--json names all)" in out  # 5000 and 8, 20 shown
    assert len(out.splitlines()) < 120


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda c: c.update(budget={"flops": 2e14}),
            "- budget.flops differs: methods are compared",
        ),
        (lambda c: c.update(start_weights="ab" * 32), "- start_weights differs: every method"),
        (lambda c: c.pop("tokenizer"), "- tokenizer is unknown in B: lengths"),
        (lambda c: c["decoding"].pop("top_p"), "- decoding.top_p is unknown in B"),
        (lambda c: c["decoding"].update(temperature=1.0), "- decoding.temperature differs"),
        (lambda c: c.update(tuning={"trials": 8}), "- tuning.trials differs: more trials"),
        (lambda c: c["data"].pop("train_prompts.jsonl"), "- data.train_prompts.jsonl differs"),
        (lambda c: c["reward_models"].update(gold="x"), "- reward_models.gold differs"),
        (lambda c: c.update(future=1), "- future is unknown in A: this version of alignbench"),
        (lambda c: c["eval_prompts"].reverse(), "    the same texts, in another order"),
    ],
)
def test_refusals_are_named(shell: Shell, change: Any, told: str) -> None:
    code, out, _ = shell("compare", "plain", edit(Path("b.json"), change))
    assert code == 1
    assert told in out


def test_what_may_differ_is_shown_and_rows_are_set_apart(shell: Shell) -> None:
    def differ(certificate: dict[str, Any]) -> None:
        certificate["decoding"]["seed"] = 7
        certificate["libraries"]["torch"] = "9.9"
        certificate["rows"]["ppo"]["budget"] = {"flops": 2e14}

    code, out, _ = shell("compare", "plain", edit(Path("b.json"), differ))
    assert code == 0
    lines = out.splitlines()
    assert lines[-1] == "May share a table, those rows set apart."
    assert 'Set apart: row "ppo" has a budget of its own in B: flops 2e+14' in lines
    [seed] = [line for line in lines if line.startswith("decoding.seed")]
    assert seed.split() == ["decoding.seed", "may", "differ", "differs", "1234", "7"]


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (None, "b.json: no such run"),
        ("", "b.json: is not JSON"),
        ("{", "b.json: is not JSON"),
        ("[" * 100_000, "b.json: is not JSON"),
        ('"\xff', "b.json: is not JSON"),
        ("[]", "b.json: not a results file of alignbench"),
        ('{"schema_version": 99}', "schema_version is 99"),
        (lambda c: c.update(eval_prompts={"p0": "x"}), "certificate.eval_prompts: must be a list"),
        (lambda c: c.update(eval_prompts=[{"id": 1}]), "certificate.eval_prompts: must be a list"),
        (lambda c: c["eval_prompts"].append(c["eval_prompts"][0]), "an id is there twice"),
        (lambda c: c.update(rows=[1]), "certificate.rows: must be a mapping"),
        (lambda c: c.update(start_weights=float("nan")), "certificate: holds what JSON does not"),
    ],
)
def test_bad_inputs_are_2(shell: Shell, write: Any, told: str) -> None:
    if callable(write):
        edit(Path("b.json"), write)
    elif write is not None:
        Path("b.json").write_text(write, encoding="latin-1")
    for pair in (("plain", "b.json"), ("b.json", "plain")):
        code, out, err = shell("compare", *pair)
        assert (code, out) == (2, "")
        assert told in err


@pytest.mark.parametrize("depth", [45, 60, 500, 980])
def test_a_deep_certificate_is_2(shell: Shell, depth: int) -> None:
    text = Path("runs/plain/results.json").read_text()
    deep = '"certificate": {"x": ' + "[" * depth + "]" * depth + ","
    Path("b.json").write_text(text.replace('"certificate": {', deep, 1))
    for more in ((), ("--json",)):
        code, _, err = shell("compare", "b.json", "b.json", *more)
        assert code == (2 if depth > 50 else 0)
        assert ("b.json: certificate: nested more than 50" in err or "b.json: is" in err) == (
            depth > 50
        )


def test_what_is_no_run_is_2(shell: Shell, stages: dict[str, Path]) -> None:
    code, _, err = shell("compare", "plian", "other")
    assert code == 2
    assert 'plian: no such run (did you mean "plain"?)' in err
    Path("empty").mkdir()
    assert "no run.json in it" in shell("compare", "plain", "empty")[2]
    finished(Path("half"), stages["plain"], "interrupted")
    code, _, err = shell("compare", "plain", "half")
    assert code == 2
    assert "half: the run is interrupted; run its recipe again to finish it" in err


def test_a_huge_file_is_not_read(shell: Shell) -> None:
    with Path("b.json").open("wb") as file:
        file.truncate(300 * 2**20)  # a hole: no disk is used
    code, _, err = shell("compare", "plain", "b.json")
    assert code == 2
    assert "b.json: has 314572800 bytes, too many" in err


def test_a_changed_run_is_not_compared(shell: Shell) -> None:
    path = Path("runs/other/results.json")
    path.write_text(path.read_text().replace('"judge"', '"Judge"'))
    Path("runs/other/notes.txt").touch()
    for b in ("other", "runs/other/results.json"):
        code, out, err = shell("compare", "plain", b)
        assert (code, out) == (2, "")
        assert "  results.json: changed" in err
    Path("runs/plain/notes.txt").touch()
    code, _, err = shell("compare", "plain", "plain")
    assert code == 0
    assert "runs/plain: notes.txt: not a file of the run\n" in err


@pytest.fixture
def run_here(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr("alignbench.pipeline.build", fake_pipeline.build)
    Path("tiny.yaml").write_text(RECIPE)
    assert shell("run", "tiny.yaml", "--jobs", "1")[0] == 0
    return shell


def test_a_changed_run_is_named_by_every_reader_and_restored_by_run(run_here: Shell) -> None:
    shell, folder = run_here, Path("runs/tiny")
    before = {name: (folder / name).read_bytes() for name in ("results.json", "certificate.json")}
    manifest = folder / "manifests/results.json"
    log = folder / "logs/results.log"
    (folder / "results.json").write_text("{}")
    (folder / "certificate.json").unlink()
    manifest.unlink()
    manifest.symlink_to(folder.absolute() / "run.json")
    log.write_text("forged")
    for arguments in (("show", "tiny"), ("report", "tiny"), ("compare", "tiny", "plain")):
        code, out, err = shell(*arguments)
        assert (code, out) == (2, "")
        for told in (
            "  certificate.json: missing",
            "  logs/results.log: changed",
            "  manifests/results.json: is a symbolic link in place of a file",
            "  results.json: changed (it has 2 bytes",
        ):
            assert told in err
    record = (folder / "run.json").read_bytes()
    code, out, err = shell("run", "tiny.yaml")
    assert (code, err) == (0, "")
    assert "runs/tiny/results.json: changed (it has 2 bytes" in out
    assert "runs/tiny/certificate.json: missing; restored from the store" in out
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert manifest.is_file()
    assert not manifest.is_symlink()
    restored = (folder / "run.json").read_text()
    gone = json.loads(record)["files"].keys() - json.loads(restored)["files"].keys()
    assert gone == {"logs/results.log"}
    code, _, err = shell("show", "tiny")
    assert code == 0
    assert err == "runs/tiny: logs/results.log.changed: not a file of the run\n"


def test_running_and_reporting_again_raise_no_alarm(run_here: Shell) -> None:
    shell, folder = run_here, Path("runs/tiny")
    shutil.rmtree(next(Path("runs/store").glob("results-*")))  # made again: its log is rewritten
    code, out, _ = shell("run", "tiny.yaml")
    assert code == 0
    assert "changed" not in out
    assert shell("show", "tiny")[::2] == (0, "")
    (folder / "report.html").unlink()
    (folder / "report.html").symlink_to("results.json")
    assert shell("report", "tiny")[::2] == (0, "")
    assert not (folder / "report.html").is_symlink()
    assert shell("show", "tiny")[::2] == (0, "")
    code, _, err = shell("report", "tiny", "--out", "runs/tiny/results.json")
    assert code == 2
    assert "is a file of the run" in err
    assert shell("show", "tiny")[0] == 0


def test_show_repeats_why_a_run_failed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignbench.pipeline.build", fake_pipeline.build)
    Path("tiny.yaml").write_text(RECIPE)
    code, _, err = shell("run", "tiny.yaml", "--seeds", "13")
    assert code == 4
    code, out, _ = shell("show", "tiny")
    assert code == 0
    told = err.removeprefix("alignbench: ").splitlines()
    assert told[0] == "stage generate/base/0 failed: ValueError: thirteen brings bad luck"
    assert out.splitlines()[-len(told) :] == told
    (Path("runs/tiny/manifests") / "results.json").write_text("{")
    assert shell("show", "tiny")[0] == 0


def test_the_command_says_its_exit_codes(shell: Shell) -> None:
    code, out, _ = shell("compare", "--help")
    assert code == 0
    assert "with 1 where they are refused" in out
    assert "compare" in cli.COMMANDS
