from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alignbench import __version__, cli
from alignbench.engines.choice import choose
from alignbench.run_record import BESIDE
from tests.cli import fake_pipeline

ROOT = Path(__file__).parents[2]
RECIPE = """\
name: tiny
seeds: [0, 1]
model: {source: scratch}
data: {source: sandbox}
pretrain: {steps: 10}
sft: {learning_rate: 1.0e-3}
reward_model: {learning_rate: 1.0e-3}
judge: {kind: sandbox}
methods:
  dpo: {learning_rate: 3.0e-4}
"""


class Shell:
    """Runs the command line in this process, in a folder of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """(exit code, standard output, standard error)."""
        code = cli.dispatch(arguments)
        out, err = self.capsys.readouterr()
        assert not any(line.startswith("Traceback") for line in err.splitlines())
        return code, out, err


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALIGNBENCH_STORE", raising=False)
    Path("tiny.yaml").write_text(RECIPE)
    return Shell(capsys)


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignbench.pipeline.build", fake_pipeline.build)


def alignbench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alignbench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys; from alignbench.cli import dispatch; code = dispatch(['--help']); "
        "slow = {'torch', 'pandas', 'numpy', 'pydantic', 'rich', 'transformers', 'trl', 'yaml'}; "
        "print(code, sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n0 []\n")
    for command in cli.COMMANDS:
        assert f"\n  {command} " in done.stdout
    summaries = done.stdout.partition("Commands:")[2]
    assert "..." not in summaries  # each fits its line


def test_version_and_module() -> None:
    done = alignbench("--version")
    assert (done.returncode, done.stdout) == (0, f"alignbench {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rnu"], 'unknown command "rnu" (did you mean "run"?); commands: run, plan, show'),
        (["run"], "Missing argument 'RECIPE'"),
        (["run", "tiny.yaml", "--jbos", "2"], "No such option '--jbos'"),
        (["run", "tiny.yaml", "--jobs", "0"], "--jobs"),
        (["run", "tny.yaml"], 'tny.yaml: no such file (did you mean "tiny.yaml"?)'),
        (["plan", "tiny.yaml", "--profile", "cpu"], 'unknown profile "cpu"'),
        (["run", "tiny.yaml", "--set", "sft.epoch=1"], 'did you mean "epochs"?'),
        (["run", "tiny.yaml", "--methods", "dop"], 'unknown method "dop" (did you mean "dpo"?)'),
        (["run", "bad.yaml"], "bad.yaml:1: a: anchor &x"),
        (["show", "nothing"], "nothing: no such run; runs here: none"),
        (["report", "."], "no run.json in it, so it is no run of alignbench"),
        (["methods", "show", "ppoo"], 'unknown method "ppoo" (did you mean "ppo"?); known: '),
        (["data", "show", "sandbx"], 'unknown data source "sandbx" (did you mean "sandbox"?)'),
        ([], "Usage: alignbench"),
    ],
)
def test_mistakes_end_with_a_message_and_2(shell: Shell, arguments: list[str], told: str) -> None:
    Path("bad.yaml").write_text("a: &x [1, 2]\n")
    code, out, err = shell(*arguments)
    assert code == 2
    assert told in err
    assert out == ""
    assert not Path("runs").exists()


def test_dry_run_and_plan_write_nothing(shell: Shell, faked: None) -> None:
    code, out, _ = shell("run", "tiny.yaml", "--dry-run")
    assert code == 0
    assert out == (
        "Profile default: the recipe's only one.\n"
        f"{choose('auto').sentence()}\n"
        "Plan: 3 stages: 0 in the store, 3 to run, of unknown cost: none like them has run here. "
        "Run folder runs/tiny\n"
    )
    code, out, _ = shell("plan", "tiny.yaml")
    assert code == 0
    assert out.splitlines()[1] == choose("auto").sentence()
    rows = [line.split()[:5] for line in out.splitlines()[3:6]]
    assert [row[:4] for row in rows] == [
        [name, "no", "1", "–"] for name in ("generate/base/0", "results", "report")
    ]
    assert not Path("runs").exists()


def test_the_real_pipeline_can_be_planned(shell: Shell) -> None:
    code, out, _ = shell("plan", "tiny.yaml")
    assert code == 0
    names = [line.split()[0] for line in out.splitlines()[2:] if " no " in line]
    assert names[0] == "data"
    assert names[-3:] == ["results", "cards", "report"]
    assert {"train/dpo/0", "train/dpo/1"} <= set(names)


def test_run_show_report(shell: Shell, faked: None) -> None:
    out = "läufe/mit Leerzeichen 中"
    code, text, err = shell("run", "tiny.yaml", "--out", out, "--jobs", "1")
    assert (code, err) == (0, "")
    assert "generate/base/0: finished in" in text
    assert "ppo" in text
    assert f"Report: {out}/report.html" in text
    folder = Path(out)
    assert {path.name for path in folder.iterdir()} - set(BESIDE) == {
        "run.json", "results.json", "results.csv", "certificate.json", "report.html", "logs",
        "manifests",
    }  # fmt: skip
    record = json.loads((folder / "run.json").read_text())
    assert (record["state"], record["recipe"], record["profile"]) == ("finished", "tiny", "default")
    assert [stage["cached"] for stage in record["stages"]] == [False] * 3
    for stage in record["stages"]:
        name = stage["stage"].replace("/", "__")
        manifest = json.loads((folder / "manifests" / f"{name}.json").read_text())
        assert (manifest["key"], manifest["digest"]) == (stage["key"], stage["digest"])
    assert (Path("läufe") / "store").is_dir()

    before = (folder / "results.json").read_bytes()
    code, again, _ = shell("run", "tiny.yaml", "--out", out)
    assert code == 0
    assert "Plan: 3 stages: 3 in the store, 0 to run." in again
    assert "started" not in again
    assert (folder / "results.json").read_bytes() == before

    code, shown, _ = shell("show", out)
    assert code == 0
    assert shown.startswith("Recipe tiny, profile default: finished\n")
    table = text[text.index("finished in") :].splitlines()
    assert all(line in table for line in shown.splitlines()[1:])

    html = (folder / "report.html").read_text()
    (folder / "report.html").unlink()
    assert shell("report", out)[0] == 0
    assert (folder / "report.html").read_text() == html
    assert "A recognisable answer." in html
    assert shell("report", out, "--out", "other.html")[0] == 0
    assert Path("other.html").read_text() == html
    assert shell("report", out, "--out", "made/other.html")[0] == 0
    code, _, err = shell("report", out, "--out", "tiny.yaml/other.html")
    assert code == 2
    assert "tiny.yaml/other.html: cannot be written" in err

    code, _, err = shell("plan", "tiny.yaml", "--out", out)
    assert code == 0


def test_report_says_when_the_store_is_gone_or_damaged(
    shell: Shell, faked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell("run", "tiny.yaml")[0] == 0
    responses = next(Path("runs/store").glob("generate-*")) / "responses.jsonl"
    responses.write_text("{}")
    code, _, err = shell("report", "tiny")
    assert code == 2
    assert "responses.jsonl changed; run the recipe again" in err
    monkeypatch.setenv("ALIGNBENCH_STORE", "elsewhere")
    code, _, err = shell("report", "tiny")
    assert code == 2
    assert "responses of generate/base/0 are not in the store elsewhere" in err


def test_a_failed_stage_is_exit_4_and_show_says_how_far_it_got(shell: Shell, faked: None) -> None:
    code, _, err = shell("run", "tiny.yaml", "--seeds", "13")
    assert code == 4
    assert "stage generate/base/0 failed: ValueError: thirteen brings bad luck" in err
    assert "full log: runs/tiny/logs/generate__base__0.log" in err
    code, out, _ = shell("show", "tiny")
    assert code == 0
    assert out.splitlines()[0] == "Recipe tiny, profile default: failed"
    assert "0 of 3 stages finished" in out
    code, _, err = shell("report", "tiny")
    assert code == 2
    assert "the run is failed" in err


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("file", "--out file is a file; choose a folder"),
        ("file/below", "--out file/below cannot be written: Not a directory"),
        ("/proc/alignbench", "--out /proc/alignbench cannot be written"),
        ("full", "--out full is not empty and no run of alignbench"),
        ("other", '--out other holds a run of recipe "else", not "tiny"; choose another'),
        ("broken", "broken/run.json: damaged"),
        ("store", "--out store is the stage store; choose another folder"),
    ],
)
def test_unusable_run_folders(shell: Shell, faked: None, out: str, told: str) -> None:
    Path("file").touch()
    for name, content in (("full/x.txt", ""), ("broken/run.json", "[" * 100_000)):
        Path(name).parent.mkdir()
        Path(name).write_text(content)
    Path("other").mkdir()
    record = {"schema_version": 1, "state": "x", "recipe": "else", "profile": "p", "stages": []}
    Path("other/run.json").write_text(json.dumps(record))
    code, _, err = shell("run", "tiny.yaml", "--out", out)
    assert code == 2
    assert told in err
    assert not Path("store").exists()


def test_store_is_where_the_environment_says(
    shell: Shell, faked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNBENCH_STORE", "my store")
    assert shell("run", "tiny.yaml")[0] == 0
    assert len(list(Path("my store").glob("*-*/manifest.json"))) == 3
    assert not Path("runs/store").exists()


def test_a_removed_method_takes_its_manifest_along(shell: Shell, faked: None) -> None:
    assert shell("run", "tiny.yaml")[0] == 0
    left = Path("runs/tiny/manifests/train__gone__0.json")
    left.write_text("{}")
    assert shell("run", "tiny.yaml")[0] == 0
    assert not left.exists()


def test_methods_lists_and_shows(shell: Shell) -> None:
    code, out, _ = shell("methods")
    assert code == 0
    for name in ("dpo", "grpo", "ppo", "reinforce", "rlaif"):
        assert f"\n{name} " in out
    code, out, _ = shell("methods", "show", "dpo")
    assert code == 0
    assert out.splitlines()[1] == "Needs: human preference pairs"
    assert any(line.split()[:1] == ["beta"] and "0.1" in line for line in out.splitlines())
    assert any(line.split()[-1:] == ["required"] for line in out.splitlines())


def test_data_show_and_doctor(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, out, _ = shell("data", "show", "sandbox")
    assert code == 0
    assert "helpful" in out
    code, out, _ = shell("doctor")
    assert code == 0
    assert "HF_HUB_OFFLINE is set" in out
    assert "--profile auto" in out


def test_a_bug_keeps_its_traceback(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("alignbench.pipeline.build", broken)
    assert cli.dispatch(["plan", "tiny.yaml"]) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "RuntimeError: a bug" in err
    assert "please report it" in err


def test_ctrl_c_is_130(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("alignbench.pipeline.build", interrupted)
    code, _, err = shell("plan", "tiny.yaml")
    assert code == 130
    assert (
        err.strip()
        == "alignbench: interrupted; finished stages are kept, the same command continues"
    )


def test_a_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m alignbench methods | sleep 0; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout == "141\n"
