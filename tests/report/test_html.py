from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from alignbench.report.html import render_report, write_report
from alignbench.results import load
from alignbench.results.metrics import METRICS, label
from alignbench.stages.results import run
from tests.fake_run import EFFECTS, FakeRun
from tests.report.sections import with_sections

HOSTILE = (
    '</script></p><img src=x onerror="alert(1)"><script>alert(2)</script>'
    "{{ 7*7 }} \u202eright to left\u202c \u200bzero\u0000"
)
VOID = {"meta", "img", "br", "input"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not close properly."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.text += data


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("run")
    run(FakeRun(root / "stages", EFFECTS).context(root / "out"))
    return load(root / "out" / "results.json")


def sample(text: str) -> dict[str, Any]:
    known = {"scores": {"gold": 5.0, "proxy": 6.5}, "ratings": {"honest": 4.0}, "length": 12}
    answers = [
        {"model": model, "response": text, "finished": False, "against": "lost", "opponent": "sft"}
        | known
        for model in EFFECTS
    ]
    return {
        "prompt_id": text,
        "family": text,
        "prompt": text,
        "picked": text,
        "of": 3,
        "responses": answers,
    }


def scripts(html: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", html, re.DOTALL)


def test_the_plot_of_gold_reward_has_its_scale(results: dict[str, Any]) -> None:
    assert "Reward, gold (1-10)" in render_report(results, [])
    model = {**results, "judge": {**results["judge"], "gold_simulated": False}}
    html = render_report(model, [])
    assert "Reward, gold (0-10)" in html
    assert "Reward, gold (1-10)" not in html


def test_page_is_whole_labelled_and_self_contained(results: dict[str, Any]) -> None:
    html = render_report(results, [sample("An answer.")])
    page = Page(html)
    assert page.open == []
    names = [tag for tag, _ in page.tags]
    assert names.count("h1") == names.count("main") == 1
    assert "<title>alignbench: fake (cpu)</title>" in html
    assert dict(page.tags)["html"] == {"lang": "en"}
    assert not {"link", "iframe", "img", "object"} & set(names)
    for tag, attributes in page.tags:
        assert not {"src", "onclick", "onerror", "onload"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#"), tag
    assert len(html.encode()) < 3_000_000


def test_only_the_scripts_of_the_policy_are_in_the_page(results: dict[str, Any]) -> None:
    html = render_report(results, [sample("An answer.")])
    policy = next(a["content"] for t, a in Page(html).tags if a.get("http-equiv"))
    assert policy is not None
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    found = [b64encode(sha256(code.encode()).digest()).decode() for code in scripts(html)]
    assert found == allowed
    assert len(found) == 3
    assert "unsafe-eval" not in policy
    assert policy.startswith("default-src 'none'")


def test_sections_come_in_their_order(results: dict[str, Any], tmp_path: Path) -> None:
    html = render_report(with_sections(results, tmp_path), [sample("An answer.")])
    ids = [a["id"] for tag, a in Page(html).tags if tag == "h2"]
    order = (
        "verdict results targets tests ranking choices costs quality kl gold health judge samples "
        "tuning reward-models curves certificate reproduce"
    )
    assert " ".join(map(str, ids)) == order


def test_places_of_this_machine_stay_here(results: dict[str, Any]) -> None:
    recipe = {**results["recipe"], "data": {"path": "/home/a_secret_name/pairs.jsonl"}}
    html = render_report({**results, "recipe": recipe}, None)
    assert "a_secret_name" not in html
    assert "…/pairs.jsonl" in html


def test_page_shows_what_the_results_say(results: dict[str, Any]) -> None:
    text = Page(render_report(results, None)).text
    measured = {row["metric"] for row in results["rows"]}
    for metric in METRICS:
        assert (label(metric, results) in text) == (metric.name in measured)
    assert f"Self-BLEU of {results['statistics']['diversity_samples']}" in text
    assert METRICS[0].meaning in text
    for row in results["rows"]:
        if row["metric"] == "helpful":
            assert f"{row['value']:.2f}" in text
            assert f"{row['low']:.2f} to {row['high']:.2f}" in text
    assert "sandbox (simulated judge)" in text
    assert "profile cpu: no CUDA device" in text
    assert "ppo uses a stand-in" in text
    assert results["certificate"]["start_weights"] in text
    for sentence in results["verdict"]:
        assert sentence in text
    for target in results["targets"]:
        assert target["target"] in text
    assert "9,000" in text


def test_hostile_text_is_inert_and_visible(results: dict[str, Any], tmp_path: Path) -> None:
    clean = len(Page(render_report(results, [sample("harmless")])).tags)
    hostile = {**results, "notes": [{"kind": "warning", "message": HOSTILE, "stage": None}]}
    hostile["recipe"] = {**results["recipe"], "name": HOSTILE}
    hostile["verdict"] = [HOSTILE]
    path = tmp_path / "report.html"
    write_report(hostile, [sample(HOSTILE)], path)
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    names = [tag for tag, _ in page.tags]
    assert "img" not in names
    # The run's six notes (five with a bold kind) became one; nothing else was added.
    assert len(names) == clean - 11 + 2
    assert not any(character in html for character in "\u202e\u202c\u200b\u0000")
    assert "⟦U+202E⟧right to left⟦U+202C⟧ ⟦U+200B⟧zero⟦U+0000⟧" in page.text
    assert "{{ 7*7 }}" in page.text
    assert '</script></p><img src=x onerror="alert(1)">' in page.text


def test_lone_surrogates_can_be_written(results: dict[str, Any], tmp_path: Path) -> None:
    write_report(results, [sample("half \ud83d of an emoji")], tmp_path / "report.html")
    assert "half ⟦U+D83D⟧ of an emoji" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_unknown_is_a_dash(results: dict[str, Any]) -> None:
    rows = [
        {**row, "value": None, "low": None, "high": None, "n_prompts": 0} for row in results["rows"]
    ]
    targets = [
        {**t, "value": None, "low": None, "high": None, "met": None, "status": "unknown"}
        for t in results["targets"]
    ]
    text = Page(render_report({**results, "rows": rows, "targets": targets}, None)).text
    assert "None" not in text
    assert not re.search(r"\bnan\b", text.lower())


def test_best_is_starred_only_where_it_is_separable(results: dict[str, Any]) -> None:
    statistics = {**results["statistics"], "best": {"reward_gold": "dpo"}}
    html = render_report({**results, "statistics": statistics}, None)
    assert html.count('<td class="best">') == 1
    none = {**results["statistics"], "best": {}}
    assert '<td class="best">' not in render_report({**results, "statistics": none}, None)
