"""The page of all entries: what a reader must see, hostile texts, and looks in a browser."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from alignbench.leaderboard.entry import load
from alignbench.leaderboard.pages import Skipped, page
from tests.browser import browser
from tests.leaderboard.entries import EFFECTS, changed, published

__all__ = ["browser"]
Record = dict[str, Any]
SHIPPED = sorted((Path(__file__).parents[2] / "leaderboards").glob("*.json"))
HOSTILE = (
    "</script><img src=x onerror=alert(1)><script>alert(2)</script>'\"&amp;javascript:alert(3)"
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("pages")
    return [published(root, 0), published(root, 1, effects={**EFFECTS, "ppo": 3.0})]


@pytest.fixture(scope="module")
def written(paths: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with two tables, a row set apart, a history and a file that was left out."""
    target = tmp_path_factory.mktemp("page") / "index.html"
    apart = changed(paths[0], own_budget)
    skipped = [Skipped("bad.json", ["bad.json: rows.0.value: Input should be a number"])]
    target.write_text(page([apart, load(paths[1]), *map(load, SHIPPED)], skipped))
    return target


def own_budget(record: Record) -> None:
    record["certificate"]["rows"]["dpo"]["budget"] = {"flops": 1e9}
    record["recipe"]["settings"]["methods"]["dpo"] = {"budget": {"flops": 1e9}}


def text_of(source: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", source)))


def test_a_reader_sees_what_must_not_be_lost(written: Path) -> None:
    source = written.read_text()
    shown = text_of(source)
    for entry in map(load, SHIPPED):
        assert entry.judge.name in shown
        for flag in entry.flags:
            assert f"{flag.kind.capitalize()}. {flag.message}" in shown
        for command in entry.commands:
            assert command in shown
        assert entry.environment.alignbench in shown
        assert f"torch {entry.environment.libraries['torch']}" in shown
        assert entry.digest in shown
    assert "Left out: bad.json" in shown
    assert "bad.json: rows.0.value: Input should be a number" in shown
    assert re.search(r"dpo [AB] : has a budget of its own: flops 1e\+09", shown)
    assert "By gold reward, better than SFT: ppo" in shown
    assert "better: lower" not in shown.lower()


def test_tables_are_by_comparable_terms(written: Path) -> None:
    source = written.read_text()
    assert 'data-name="table-1"' in source
    assert 'data-name="table-2"' in source
    first = source[source.index('data-name="table-1"') :]
    first = first[: first.index("</table>")]
    heads = re.findall(r'<th scope="col">(\w+) <span class="tag">(\w)</span>', first)
    assert ("ppo", "A") in heads
    assert ("ppo", "B") in heads
    assert sum(row == "dpo" for row, _ in heads) == 1  # the other is set apart
    assert first.count("★") > 0


def test_intervals_stand_with_values_and_unknown_is_no_zero(paths: list[Path]) -> None:
    entry = load(paths[0])
    cell = next(c for c in entry.rows if (c.model, c.metric) == ("ppo", "reward_gold"))
    shown = text_of(page([entry]))
    assert f"{cell.value:.2f} {cell.low:.2f} to {cell.high:.2f}" in shown
    unknown = next(c for c in entry.rows if c.value is not None and c.low is None)
    decimals = 1 if unknown.metric == "length" else 2
    assert f"{unknown.value:.{decimals}f} –" in shown


def test_an_entry_that_cannot_be_computed_again_says_so(paths: list[Path]) -> None:
    blind = changed(paths[0], lambda record: record.update(observations=None))
    assert "could not be computed again" in text_of(page([blind]))
    assert "could not be computed again" not in text_of(page([load(paths[0])]))


def test_equal_entries_give_an_equal_page(paths: list[Path]) -> None:
    entries = [load(path) for path in paths]
    assert page(entries) == page(entries[::-1])


def poison(value: Any) -> Any:
    """Every free text of an entry replaced by something hostile, keys of free mappings too."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, dict):
        return {key: poison(item) for key, item in value.items()}
    return [poison(item) for item in value] if isinstance(value, list) else value


def poisoned(record: Record) -> None:
    for flags in (record["flags"], record["notes"]):
        flags.append({"kind": "error", "message": HOSTILE, "stage": HOSTILE})
    record["verdict"].append(HOSTILE)
    record["judge"]["name"] = record["certificate"]["judge"] = HOSTILE
    place = record["environment"]
    place.update(python=HOSTILE, platform=HOSTILE, processor=HOSTILE, libraries={HOSTILE: HOSTILE})
    place["alignbench"] = record["certificate"]["alignbench"] = HOSTILE
    for currency in ("marginal", "end_to_end"):
        record["counted"]["ppo"][currency][HOSTILE] = {"value": 1.0, "error": None}
    record["recipe"]["settings"]["data"] = {HOSTILE: HOSTILE}
    record["certificate"].update({HOSTILE: HOSTILE, "tuning_search": {HOSTILE: [HOSTILE]}})
    record["certificate"]["rows"]["dpo"].update(method=HOSTILE, labeller=HOSTILE)
    record["certificate"]["libraries"] = {HOSTILE: HOSTILE}


def test_hostile_texts_stay_text(paths: list[Path], tmp_path: Path, browser: Browser) -> None:
    target = tmp_path / "index.html"
    other = changed(paths[1], lambda record: poisoned(record))
    skipped = [Skipped(HOSTILE, [HOSTILE, "a\u202eb\u2028c"])]
    target.write_text(page([changed(paths[0], poisoned), other], skipped))
    tab = browser.new_page()
    seen: list[str] = []
    tab.on("dialog", lambda dialog: (seen.append(dialog.message), dialog.dismiss()))
    tab.on("console", lambda message: seen.append(message.text))
    tab.on("pageerror", lambda error: seen.append(str(error)))
    tab.on(
        "request",
        lambda request: seen.append(request.url) if "index.html" not in request.url else None,
    )
    tab.goto(target.as_uri())
    tab.wait_for_timeout(200)
    assert seen == []
    assert tab.locator("img").count() == 0
    assert tab.locator("script").count() == 2
    assert tab.evaluate("document.documentElement.textContent").count("onerror=alert(1)") > 10
    assert "⟦U+202E⟧" in tab.inner_text("body")
    tab.close()


def opened(browser: Browser, path: Path, width: int = 1280, scheme: str = "light") -> Page:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    tab = context.new_page()
    tab.goto(path.as_uri())
    return tab


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_no_serious_finding_of_axe(
    browser: Browser, written: Path, width: int, scheme: str
) -> None:
    tab = opened(browser, written, width, scheme)
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = Axe().run(tab).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in serious] == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.context.close()


def test_sorting_and_meanings_work_from_the_keyboard(browser: Browser, written: Path) -> None:
    tab = opened(browser, written)
    button = tab.get_by_role("button", name=re.compile("Sort models by Reward, gold \\(1-10")).first
    button.focus()
    tab.keyboard.press("Enter")
    row = tab.locator("table[data-name=table-1] tr[data-metric=reward_gold] td").all_inner_texts()
    values = [float(text.split()[0]) for text in row]
    assert values == sorted(values, reverse=True)
    tab.locator("table[data-name=table-1] button.term").first.focus()
    assert "methods train against" in tab.locator("#tip").inner_text()
    tab.context.close()


def test_links_of_the_list_lead_to_tables_and_entries(browser: Browser, written: Path) -> None:
    tab = opened(browser, written)
    for link in tab.locator("#entries ~ div a").all():
        target = link.get_attribute("href")
        assert target is not None
        assert tab.locator(f"[id='{target[1:]}']").count() == 1
    tab.context.close()


def test_a_model_without_a_row_does_not_break_the_page(paths: list[Path]) -> None:
    entry = load(paths[0])
    for rows in ([cell for cell in entry.rows if cell.model != "ppo"], []):
        assert "ppo" in page([entry.model_copy(update={"rows": rows})])
