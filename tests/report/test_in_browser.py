"""The report as a reader meets it: in headless Chromium, under its own policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from alignbench.report.html import write_report
from alignbench.report.quality import quality_section
from alignbench.report.samples import read_samples
from alignbench.stages.results import run
from tests.browser import browser as browser
from tests.fake_run import FakeRun
from tests.report.sections import with_sections

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EFFECTS = {"base": -1.5, "sft": 0.0, "sft_copy": 0.0, "reinforce": 0.9, "ppo": 1.5, "dpo": 1.2}
#: Each would leave a mark, were it ever more than text.
ATTACKS = (
    "</script><script>window.attacked = 1</script>",
    "<img src=x onerror=\"window.attacked = 2\" class='attack'>",
    '" onmouseover="window.attacked = 3" onfocus=\'window.attacked = 4\' autofocus x="',
    "<a class='attack' href=\"javascript:window.attacked = 5\">x</a>",
    "]]><!-- --><svg class='attack' onload='window.attacked = 6'><style>* { display: none }",
    "\u202e{{ 7*7 }}\u2066\u2028'-alert(7)-'\x00\ud83d${alert(8)}",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    root = tmp_path_factory.mktemp("run")
    fake = FakeRun(root / "stages", EFFECTS, prompts=40)
    run(fake.context(root / "out", resamples=200))
    results = json.loads((root / "out" / "results.json").read_text())
    full = with_sections(results, root / "more")
    return full, read_samples(fake.inputs, results["models"])


@pytest.fixture(scope="module")
def path(made: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(*made, path)
    return path


class Opened:
    """A page, and whatever went wrong in it."""

    def __init__(self, browser: Browser, path: Path, address: str = "", **context: Any) -> None:
        settings = {"viewport": {"width": 1280, "height": 900}, **context}
        self.context = browser.new_context(**settings)
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: self.problems.append(dialog.message))
        self.page.on("request", lambda request: self._requested(request.url))
        self.page.goto(f"{path.as_uri()}{address}")

    def _requested(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            self.problems.append(url)

    def upgrade_all(self) -> None:
        """Look at every chart, so that each becomes interactive."""
        self.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        for figure in self.page.query_selector_all("figure.chart"):
            figure.scroll_into_view_if_needed()
        self.until(lambda: self.page.locator("figure.chart:not(.upgraded)").count() == 0)

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for up to 30 seconds; Playwright's own waiting for a function needs eval."""
        for _ in range(600):
            if true():
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(self.problems)


@pytest.fixture
def opened(browser: Browser, path: Path) -> Iterator[Any]:
    found: list[Opened] = []

    def at(address: str = "", **context: Any) -> Opened:
        found.append(Opened(browser, path, address, **context))
        return found[-1]

    yield at
    for each in found:
        each.context.close()


def models(page: Page) -> list[str]:
    """The columns of the results table that are seen, in order."""
    cells = page.query_selector_all("table[data-name=results] thead th[data-model]:not([hidden])")
    return [cell.inner_text() for cell in cells]


def column(page: Page, name: str, at: int) -> list[str]:
    rows = page.query_selector_all(f"table[data-name={name}] tbody tr:not([hidden])")
    return [row.query_selector_all("th, td")[at].inner_text() for row in rows]


def test_every_chart_becomes_interactive_under_the_policy(opened: Any) -> None:
    seen = opened()
    seen.upgrade_all()
    assert seen.page.locator("figure.chart").count() >= 14
    assert seen.page.locator("figure.chart .live svg").count() >= 14
    labels = seen.page.eval_on_selector_all(
        "figure.chart [role=img]", "all => all.map(e => e.getAttribute('aria-label'))"
    )
    assert all(any(character.isdigit() for character in label) for label in labels)
    assert seen.problems == []


def test_hostile_text_in_every_field_stays_text(
    made: tuple[Any, Any], browser: Browser, tmp_path: Path
) -> None:
    count = 0

    def spoil(value: Any, key: str = "") -> Any:
        nonlocal count
        if isinstance(value, dict):
            return {name: spoil(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [spoil(item, key) for item in value]
        if isinstance(value, str) and key not in KEPT and value not in VERDICTS:
            count += 1
            return f"{value} {ATTACKS[len(value) % len(ATTACKS)]}"  # equal texts stay equal
        return value

    results, samples = spoil(made[0]), spoil(made[1])
    # Names must stay the same wherever they stand: all of them get one attack.
    names = {name: f"{name}{''.join(ATTACKS)}" for name in EFFECTS}
    text = json.dumps([results, samples])
    results, samples = renamed(json.loads(text), names)
    assert count > 500
    path = tmp_path / "hostile.html"
    write_report(results, samples, path)
    assert quality_section(results) is not None
    seen = Opened(browser, path)
    seen.upgrade_all()
    page = seen.page
    page.mouse.move(400, 300)
    for button in page.query_selector_all("button.term")[:5]:
        button.focus()
    assert page.evaluate("window.attacked") is None
    assert page.locator(".attack").count() == 0
    assert page.locator("main a:not([href^='#'])").count() == 0
    assert "\u202e" not in page.content()
    assert page.locator("#sample-list .card").count() > 0
    assert "window.attacked = 2" in page.locator("#sample-list").inner_text()
    assert seen.problems == []
    seen.context.close()


#: Fields that name models; see `renamed`.
NAMES = {"model", "models", "other", "row", "against", "reference", "opponent"}
#: Texts with a fixed set of values (the schema refuses others), and names that are renamed below.
KEPT = {"status", "level", "constraint", "metric"} | NAMES
VERDICTS = {"better", "worse", "not separable"}


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Names of models replaced where they are keys or values, or parts of `train/ppo/0`."""
    if isinstance(value, dict):
        return {renamed(key, names): renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    if isinstance(value, str):
        return "/".join(names.get(part, part) for part in value.split("/"))
    return value


def test_models_are_sorted_by_a_metric_and_the_link_keeps_it(opened: Any) -> None:
    seen = opened()
    before = models(seen.page)
    row = "table[data-name=results] tr[data-metric=reward_gold]"
    seen.page.click(f"{row} button.sort")
    values = [float(t.split()[0]) for t in seen.page.locator(f"{row} td").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    assert seen.page.get_attribute(f"{row} th", "aria-sort") == "descending"
    after = models(seen.page)
    assert after != before
    again = opened(f"#{seen.page.url.partition('#')[2]}")
    assert models(again.page) == after
    seen.page.click(f"{row} button.sort")
    assert seen.page.get_attribute(f"{row} th", "aria-sort") == "ascending"
    seen.page.click(f"{row} button.sort")
    assert models(seen.page) == before
    assert seen.page.get_attribute(f"{row} th", "aria-sort") is None


def test_rows_are_sorted_by_number_with_unknown_last(opened: Any) -> None:
    seen = opened()
    button = "table[data-name=ranking] th:nth-child(3) button"
    seen.page.click(button)
    seen.page.click(button)
    elo = [int(text) for text in column(seen.page, "ranking", 2)]
    assert elo == sorted(elo)


def test_hidden_models_leave_tables_charts_and_samples(opened: Any) -> None:
    seen = opened()
    seen.upgrade_all()
    page = seen.page
    page.uncheck("#choose input[value=ppo]")
    assert "ppo" not in models(page)
    assert "ppo" not in column(page, "ranking", 0)
    chart = page.locator("section[aria-labelledby=results] figure .live").first
    seen.until(lambda: "ppo" not in (chart.text_content() or ""))
    assert "ppo" not in page.locator("#sample-list .card b").all_inner_texts()
    page.uncheck("#choose input[value=length]")
    assert not page.is_visible("tr[data-metric=length]")
    again = opened(f"#{page.url.partition('#')[2]}")
    assert "ppo" not in models(again.page)
    assert not again.page.is_visible("tr[data-metric=length]")
    assert seen.problems == []


def test_metrics_explain_themselves_on_focus_hover_and_touch(opened: Any) -> None:
    seen = opened()
    page, term = seen.page, seen.page.locator("button.term[data-term=self_bleu]").first
    term.focus()
    assert "mode collapse" in page.locator("#tip.shown").inner_text()
    described = term.get_attribute("aria-describedby")
    assert "mode collapse" in page.locator(f"#{described}").text_content()
    page.keyboard.press("Escape")
    assert page.locator("#tip.shown").count() == 0
    page.locator("button.term[data-term=reward_gold]").first.hover()
    assert "no method ever trains against" in page.locator("#tip.shown").inner_text()
    box = page.locator("#tip").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    touched = opened(has_touch=True).page
    touched.locator("button.term[data-term=length]").first.tap()
    assert "Mean length" in touched.locator("#tip.shown").inner_text()


def test_samples_are_searched_filtered_and_sorted(opened: Any, made: tuple[Any, Any]) -> None:
    seen = opened()
    page = seen.page
    page.select_option("[name=family]", "harmful")
    assert "10 of 40 prompts match" in page.inner_text("#sample-count")
    page.select_option("[name=family]", "")
    page.fill("[name=q]", "QUESTION 17?")
    assert page.locator("#sample-list details").count() == 1
    page.fill("[name=q]", "")
    page.select_option("[name=method]", "base")
    page.select_option("[name=order]", "losses")
    lost = [s for s in made[1] if s["responses"][0]["against"] == "lost"]
    assert f"{len(lost)} of 40 prompts match" in page.inner_text("#sample-count")
    page.locator("#sample-list summary").first.click()
    cards = page.locator("#sample-list details").first.locator(".card")
    assert cards.locator("b").all_inner_texts() == ["base", "sft"]
    assert "lost against sft" in cards.first.inner_text()
    page.select_option("[name=order]", "worst")
    page.fill("[name=apart]", "9")
    assert "0 of 40 prompts match" in page.inner_text("#sample-count")
    assert seen.problems == []


def test_a_link_opens_its_section_and_its_sample(opened: Any) -> None:
    seen = opened("#samples?sample=p39&q=question")
    item = seen.page.locator("#sample-list details[open]")
    assert "Question 39?" in item.inner_text()
    assert item.locator(".card").count() == len(EFFECTS)
    assert seen.page.evaluate("scrollY") > 1000
    seen.page.click("nav a[href='#costs']")
    seen.until(lambda: "#costs?" in seen.page.url)  # the address follows in an event
    assert "q=question" in seen.page.url
    broken = opened("#nowhere?sort.results=99.x&without=%5B&sample=none&family=none&order=none")
    assert len(models(broken.page)) == len(EFFECTS)
    assert broken.problems == []


def test_everything_is_reached_and_works_with_the_keyboard(opened: Any) -> None:
    seen = opened()
    page = seen.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.focus("#theme")
    page.keyboard.press("Enter")
    assert page.get_attribute("html", "data-theme") == "light"
    page.focus("#choose summary")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert models(page) == list(EFFECTS)[1:]
    page.focus("tr[data-metric=reward_gold] button.sort")
    page.keyboard.press("Enter")
    assert models(page)[0] == "ppo"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.focus("#sample-list summary")
    page.keyboard.press("Enter")
    page.wait_for_selector("#sample-list details[open] .card")
    page.focus("#sample-more")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    unreachable = page.evaluate(
        "[...document.querySelectorAll('button, select, input, a, summary')]"
        ".filter(e => e.tabIndex < 0).length"
    )
    assert unreachable == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_and_the_page_is_not_wider_than_the_screen(
    opened: Any, width: int, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    seen = opened(viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen.upgrade_all()
    seen.page.locator("button.term").first.focus()
    found = Axe().run(seen.page).response
    assert len(found["passes"]) > 15
    assert [(v["id"], v["nodes"][0]["html"]) for v in found["violations"]] == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_theme_is_kept_and_changes_charts_too(opened: Any) -> None:
    seen = opened(color_scheme="light")
    page = seen.page
    page.click("#theme")
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: dark"
    dark = "getComputedStyle(document.querySelector('figure.chart svg text')).fill"
    assert page.evaluate(dark) == "rgb(163, 170, 178)"
    page.reload()
    assert page.get_attribute("html", "data-theme") == "dark"


def test_in_print_and_without_scripts_pictures_are_static(opened: Any) -> None:
    seen = opened()
    seen.upgrade_all()
    seen.page.emulate_media(media="print")
    assert seen.page.is_visible("figure.chart .static")
    assert not seen.page.is_visible("figure.chart .live")
    assert not seen.page.is_visible("#choose")
    plain = opened(java_script_enabled=False)
    assert plain.page.is_visible("figure.chart .static svg")
    assert "need JavaScript" in plain.page.inner_text("noscript")
    assert plain.page.is_visible("table[data-name=results]")
    assert not plain.page.is_visible("#sample-controls")
