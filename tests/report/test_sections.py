"""Sections that a run has only with budgets, snapshots, tuning or a plan."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from alignbench.errors import UserError
from alignbench.report.charts import Chart
from alignbench.report.cost import cost_section
from alignbench.report.health import health_section
from alignbench.report.html import render_report
from alignbench.report.quality import quality_section
from alignbench.report.tuning import tuning_section
from alignbench.results import load, render_table
from alignbench.stages.results import run
from tests.fake_run import EFFECTS, FakeRun
from tests.report.sections import with_sections
from tests.report.test_html import HOSTILE, Page

SECTIONS = {"Quality against budget", "Cost", "Health", "Tuning"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("run")
    run(FakeRun(root / "stages", EFFECTS).context(root / "out"))
    return json.loads((root / "out" / "results.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def made(bare: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return with_sections(bare, tmp_path_factory.mktemp("stages"))


@pytest.fixture
def full(made: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(made)


def headings(html: str) -> set[str]:
    return {part.split("<")[0] for part in html.split('">') if part.split("<")[0] in SECTIONS}


def without(results: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in results.items() if key not in keys}


NEW = ("bills", "budget_curves", "health", "health_unchecked", "tuning", "plan")


def test_results_of_before_keep_their_report(bare: dict[str, Any]) -> None:
    old = without(bare, *NEW)
    old["costs"] = without(old["costs"], "bills")
    html = render_report(old, None)
    assert headings(html) == {"Cost"}
    assert "9,000" in Page(html).text


def test_all_sections_and_all_tags_close(full: dict[str, Any], tmp_path: Path) -> None:
    html = render_report(full, None)
    assert headings(html) == SECTIONS
    page = Page(html)
    assert page.open == []
    assert "None" not in page.text
    path = tmp_path / "results.json"
    path.write_text(json.dumps(full))
    assert load(path) == full


def test_bills_with_ranks_and_flips(full: dict[str, Any]) -> None:
    section = cost_section(full)
    marginal, total = section["bills"]
    at = marginal["columns"].index("FLOPs")
    assert "Padding" not in marginal["columns"]  # nobody spent any
    cells = {line["row"]: line["cells"][at] for line in marginal["rows"]}
    assert cells["ppo"]["value"] == "1.4e+13"
    assert cells["ppo"]["note"].replace("\u00a0", " ") == "± 0 · #1"
    at = total["columns"].index("Peak MiB")
    peaks = {line["row"]: line["cells"][at]["value"] for line in total["rows"]}
    assert peaks["dpo"] == f"{1024 + 90:,}"
    assert any(s.startswith("FLOPs: ppo costs less than dpo") for s in section["flips"])
    assert any(s.startswith("Seconds: ppo costs less") for s in section["flips"])
    text = Page(render_report(full, None)).text
    assert all(sentence in text for sentence in section["flips"])
    assert {"rows": "ppo", "needs": "reward/proxy, sft, 1 tuning trial"} in section["needs"]


def test_one_seed_shows_a_dash_for_its_spread(full: dict[str, Any]) -> None:
    full["bills"]["rows"]["ppo"]["marginal"]["flops"] = {"value": 7.0, "error": None}
    full["bills"]["rows"]["dpo"]["marginal"]["flops"] = {"value": None, "error": None}
    table = cost_section(full)["bills"][0]
    at = table["columns"].index("FLOPs")
    cells = {line["row"]: line["cells"][at] for line in table["rows"]}
    assert cells["ppo"]["note"].startswith("±\u00a0–")
    assert (cells["dpo"]["value"], cells["dpo"]["note"]) == ("–", "")


def test_how_each_training_ended(full: dict[str, Any]) -> None:
    section = cost_section(full)
    lines = {line["run"]: line for line in section["endings"]}
    assert next(iter(lines)) == "reinforce/0"  # in the order of the table
    ppo, dpo = lines["ppo/1"], lines["dpo/0"]
    assert (ppo["limits"], ppo["spent"], ppo["ended"]) == (
        "FLOPs 2e+13",
        "100.2 %",
        "budget: FLOPs",
    )
    assert ppo["overshoot"] == "FLOPs +3e+10 (0.15 %)"
    assert dpo["ended"] == "itself: all 4000 pairs seen once (epochs: 1)"
    assert (dpo["override"], dpo["overshoot"], ppo["override"]) == (True, "none", False)
    assert section["overrides"] == ["dpo"]
    assert "Not on the shared budget: dpo" in Page(render_report(full, None)).text


def test_a_training_without_a_budget(full: dict[str, Any]) -> None:
    metrics = full["training"]["ppo/0"]["metrics"]
    metrics["budget"] = {"limits": {}, "override": False}
    metrics["ended"] = {"by": "method", "currency": None, "reason": None}
    line = next(line for line in cost_section(full)["endings"] if line["run"] == "ppo/0")
    assert (line["limits"], line["spent"], line["overshoot"]) == ("none", "–", "–")
    assert line["ended"] == "itself, without a reason"


def test_predicted_beside_actual(full: dict[str, Any]) -> None:
    full["costs"]["train/ppo/0"]["consumed"]["flops"] = 2.2e13
    table = cost_section(full)["predictions"]
    rows = {line["stage"]: line["cells"] for line in table["rows"]}
    assert table["columns"] == ["Tokens trained", "FLOPs"]
    assert rows["train/ppo/0"] == [
        {"predicted": "9,500", "actual": "9,000 (×0.95)"},
        {"predicted": "2e+13", "actual": "2.2e+13 (×1.10)"},
    ]
    assert rows["train/dpo/0"][1]["actual"] == "–"
    full["plan"]["train/dpo/0"]["ends"] = "flops"
    full["plan"]["train/ppo/0"]["ends"] = None
    ends = {line["stage"]: line["ends"] for line in cost_section(full)["predictions"]["rows"]}
    assert list(ends.values()) == ["–", "itself", "budget: FLOPs"]
    assert cost_section({**full, "plan": {"sft": {"predicted": {}}}})["predictions"] is None


def test_decoding_against_sft(full: dict[str, Any]) -> None:
    table = cost_section(full)["decoding"]
    rows = {line["row"]: line["cells"] for line in table["rows"]}
    assert table["columns"] == ["Tokens generated", "FLOPs", "FLOPs / SFT's"]
    assert rows["ppo"] == ["50.0", "5e+08", "3.00"]


def test_stages_of_the_evaluation_and_trials_are_summed(full: dict[str, Any]) -> None:
    for k in range(3):
        full["costs"][f"trial/ppo/{k}"] = {"seconds": 2.5, "peak_rss_bytes": k * 2**20}
    table = cost_section(full)["stages"]
    rows = {line["stage"]: line["cells"] for line in table["rows"]}
    assert rows["tuning of ppo (3 stages)"][:2] == ["7.5", "2"]
    evaluations = sum(s.split("/")[0] in ("generate", "score", "judge") for s in full["costs"])
    assert rows[f"evaluation ({evaluations} stages)"][0] == f"{1.5 * evaluations:,.1f}"
    assert not any(name.startswith("bills") for name in rows)


def domains(chart: Chart) -> set[str]:
    return {
        json.dumps([layer["encoding"][axis]["scale"]["domain"] for axis in "xy"])
        for layer in chart.spec["layer"]
    }


def test_quality_charts_share_their_axes(full: dict[str, Any]) -> None:
    section = quality_section(full)
    assert section is not None
    for charts in (section["by_fraction"], section["by_kl"]):
        assert [chart.title for chart in charts] == ["reinforce", "ppo", "dpo"]
        assert len(set.union(*map(domains, charts))) == 1
    lines = {value["series"] for value in section["by_kl"][0].spec["datasets"]["rows"]}
    assert lines == {"gold", "proxy", "fit"}
    titles = [chart.title for chart in section["by_currency"]]
    assert titles == ["Gold reward against FLOPs", "Gold reward against Steps"]
    assert len(section["numbers"]) == 15
    ppo = next(f for f in section["findings"] if f["row"] == "ppo")
    assert "stopped improving at 50 %" in ppo["message"]
    assert ppo["message"] in Page(render_report(full, None)).text


def test_rows_keep_the_order_of_the_table_whatever_that_of_the_file(full: dict[str, Any]) -> None:
    stored = json.loads(json.dumps(full, sort_keys=True))
    section = quality_section(stored)
    assert section is not None
    assert [chart.title for chart in section["by_kl"]] == ["reinforce", "ppo", "dpo"]
    cost = cost_section(stored)
    assert [line["row"] for line in cost["bills"][0]["rows"]] == ["reinforce", "ppo", "dpo"]
    assert cost["decoding"]["rows"][0]["row"] == "sft"


def test_points_without_intervals_have_no_band(full: dict[str, Any]) -> None:
    def areas() -> int:
        section = quality_section(full)
        assert section is not None
        charts = [*section["by_fraction"], *section["by_kl"], *section["by_currency"]]
        return sum(
            layer["mark"]["type"] == "area" for chart in charts for layer in chart.spec["layer"]
        )

    assert areas() == 3 + 3 + 2
    for row in full["budget_curves"]["rows"].values():
        for point in row["points"]:
            for name in ("reward_gold", "reward_proxy", "kl"):
                point[name].update(low=None, high=None)
    assert areas() == 0


def test_health_puts_errors_first_and_names_what_was_not_checked(full: dict[str, Any]) -> None:
    section = health_section(full)
    assert section is not None
    assert [finding["who"] for finding in section["findings"]] == ["ppo, seed 0", "dpo, seed 1"]
    assert section["unchecked"] == [
        {
            "rule": "ratio_clipped",
            "reason": "the log has no clip_ratio",
            "who": "dpo, seed 0, reinforce, seed 0",
        }
    ]
    text = Page(render_report(full, None)).text
    assert "accuracy 0.5132" in text
    assert "Raise methods.ppo.kl_coef" in text
    assert "2.4 problem 1" in text
    healthy = {**full, "health": [], "health_unchecked": []}
    assert "No rule fired." in Page(render_report(healthy, None)).text
    assert health_section(without(full, "health", "health_unchecked")) is None


def test_tuning_names_the_chosen_and_the_failed(full: dict[str, Any]) -> None:
    [row] = tuning_section(full)
    assert row["names"] == ["learning_rate", "kl_coef"]
    assert [trial["chosen"] for trial in row["trials"]] == [False, True, False, False]
    assert row["trials"][2]["value"] == "–"
    assert "diverged" in row["trials"][2]["state"]
    assert {v["series"] for v in row["chart"].spec["datasets"]["rows"]} == {"expected", "as run"}
    html = render_report(full, None)
    assert "5.600 ★" in Page(html).text
    assert "Selected by gold reward" not in html
    full["tuning"]["ppo"]["saw_gold"] = True
    assert "Selected by gold reward" in render_report(full, None)
    one = full["tuning"]["ppo"]
    one.update(trials=one["trials"][:1], expected_best=[5.1], running_best=[5.1])
    assert tuning_section(full)[0]["chart"] is None


def test_hostile_text_is_inert_everywhere(full: dict[str, Any]) -> None:
    clean = len(Page(render_report(full, None)).tags)
    full["health"][0].update(
        finding=HOSTILE, remedy=HOSTILE, rule=HOSTILE, source=HOSTILE, evidence={HOSTILE: HOSTILE}
    )
    full["health"][0]["evidence"].update(b=0.1, c=1)
    full["health_unchecked"][0].update(reason=HOSTILE)
    full["health_unchecked"][1].update(reason=HOSTILE)
    full["budget_curves"]["findings"][0]["message"] = HOSTILE
    full["bills"]["order_flips"][0]["sentence"] = HOSTILE
    full["training"]["dpo/0"]["metrics"]["ended"]["reason"] = HOSTILE
    full["tuning"]["ppo"]["trials"][0]["params"]["kl_coef"] = HOSTILE
    full["tuning"]["ppo"]["trials"][2]["reason"] = HOSTILE
    full["plan"]["train/ppo/0"]["predicted"]["flops"] = HOSTILE
    page = Page(render_report(full, None))
    assert len(page.tags) == clean
    assert "img" not in {tag for tag, _ in page.tags}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda r: r["bills"]["rows"]["ppo"].pop("marginal"), "bills.rows.ppo.marginal"),
        (lambda r: r["bills"].pop("ranks"), "bills.ranks"),
        (lambda r: r["budget_curves"]["rows"]["ppo"].update(points=[]), "rows.ppo.points"),
        (lambda r: r["health"][0].update(level="bad"), "health.0.level"),
        (lambda r: r["tuning"]["ppo"].pop("trials"), "tuning.ppo.trials"),
    ],
)
def test_malformed_parts_are_user_errors(
    full: dict[str, Any], tmp_path: Path, damage: Any, said: str
) -> None:
    damage(full)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(full))
    with pytest.raises(UserError, match=said):
        load(path)


def test_the_terminal_names_peaks_flips_and_health(full: dict[str, Any]) -> None:
    file = io.StringIO()
    render_table(Console(file=file, width=200, color_system=None), full)
    shown = file.getvalue()
    assert "ppo: stopped improving at 50 % of the budget" in shown
    assert "no separable gain" not in shown
    assert "order methods differently in: FLOPs, Device-seconds, Seconds." in shown
    assert "Health: 2 findings, 1 of them errors" in shown
