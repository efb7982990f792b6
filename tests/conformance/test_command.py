"""``alignbench methods test`` and ``new``."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignbench import cli
from alignbench.conformance import run
from alignbench.conformance.verdict import Verdict


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["test", "dop"], 'unknown method "dop" (did you mean "dpo"?)'),
        (["test", "no_such.module:X"], "importing no_such.module failed"),
        (["test", "dpo", "--options", "bta=1"], "DPO: bta: "),
        (["test", "dpo", "--options", "gone.yaml"], "gone.yaml: no such file"),
        (["new", "Nope"], '"Nope" is no name for a method'),
        (["new"], "Missing argument 'NAME'"),
    ],
)
def test_mistakes_end_with_a_message_and_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.dispatch(["methods", *arguments]) == 2
    out, err = capsys.readouterr()
    assert told in err
    assert out == ""


@pytest.mark.parametrize(("status", "code"), [("pass", 0), ("n/a", 0), ("fail", 1)])
def test_prints_verdicts_and_exits_with_1_if_one_fails(
    status: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def conformance(name: str, options: object, told: object) -> list[Verdict]:
        assert options == {"beta": 0.2}
        verdicts = [Verdict("start weights", "pass", "fine"), Verdict("resume", status, "so [x]")]
        for verdict in verdicts:
            told(verdict)
        return verdicts

    monkeypatch.setattr(run, "conformance", conformance)
    assert cli.dispatch(["methods", "test", "dpo", "--options", "beta=0.2"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["pass", "start", "weights", "fine"]
    assert lines[1].split() == [status, "resume", "so", "[x]"]
    count = [sum(one == kind for one in ("pass", status)) for kind in ("pass", "fail", "n/a")]
    assert lines[2] == "dpo: {} passed, {} failed, {} not applicable".format(*count)


def test_new_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.dispatch(["methods", "new", "my_first"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "wrote alignbench-my-first/pyproject.toml"
    assert lines[-1] == (
        "Next:  pip install -e alignbench-my-first && alignbench methods test my_first"
    )
    assert Path("alignbench-my-first/alignbench_my_first.py").is_file()
