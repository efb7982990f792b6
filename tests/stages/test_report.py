from __future__ import annotations

from pathlib import Path

from alignbench.stage import StageContext
from alignbench.stages import report, results
from tests.fake_run import FakeRun

EFFECTS = {"base": -1.0, "sft": 0.0, "sft_copy": 0.0, "dpo": 1.0}


def test_report_has_the_results_and_the_answers_with_their_scores(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path / "in", EFFECTS, respond=lambda row, i: f"{row} answers {i}")
    results.run(fake.context(tmp_path / "results"))
    kinds = ("generate/", "score/", "judge/")
    inputs = {name: path for name, path in fake.inputs.items() if name.startswith(kinds)}
    inputs["results"] = tmp_path / "results"
    (tmp_path / "out").mkdir()
    report.run(StageContext(tmp_path / "out", {}, inputs, lambda *_, **__: None, lambda *_: None))
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "40 of 40 prompts shown" in html
    assert '"response":"dpo answers 39"' in html
    gold = fake.scores["dpo", 0][39, 0]
    assert f'"gold":{round(gold, 2)}' in html
