from __future__ import annotations

from pathlib import Path

from alignbench.stage import StageContext
from alignbench.stages import report, results
from tests.fake_run import FakeRun

EFFECTS = {"base": -1.0, "sft": 0.0, "sft_copy": 0.0, "dpo": 1.0}


def test_report_shows_the_first_prompts_of_each_family(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path / "in", EFFECTS, respond=lambda row, i: f"{row} answers {i}")
    results.run(fake.context(tmp_path / "results"))
    inputs = {k: v for k, v in fake.inputs.items() if k.startswith("generate/")}
    samples = report.pick_samples(inputs, list(EFFECTS))
    # Families take turns by prompt number, so the first three of each are prompts 0 to 11.
    assert [sample["prompt_id"] for sample in samples] == [f"p{i}" for i in range(12)]
    assert [answer["model"] for answer in samples[5]["responses"]] == list(EFFECTS)
    assert samples[5]["responses"][3]["response"] == "dpo answers 5"

    (tmp_path / "out").mkdir()
    inputs["results"] = tmp_path / "results"
    report.run(StageContext(tmp_path / "out", {}, inputs, lambda *_, **__: None, lambda *_: None))
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "dpo answers 11" in html
    assert "dpo answers 12" not in html
