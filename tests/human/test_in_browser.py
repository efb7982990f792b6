"""The form in Chromium: filled in with keys and mouse, reloaded, downloaded, imported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from alignbench.files import read_jsonl
from alignbench.human.form import Form, Shown, blind, render_form
from alignbench.human.items import Item
from tests.browser import browser  # noqa: F401
from tests.fake_run import FakeRun
from tests.finished_run import Finished, read
from tests.human.runs import make_run, shell, the_form
from tests.human.test_form import HOSTILE, SECRET, items

RATINGS = {"response": (9, 8, 10), "other": (2, 8, 3)}


@pytest.fixture
def open_form(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:  # noqa: F811
    """Opens a form's HTML; no page may load anything, or raise an error."""
    context = browser.new_context(accept_downloads=True)
    trouble: list[str] = []

    def open_it(html: str | Path, script: str = "", **view: Any) -> Page:
        path = html if isinstance(html, Path) else tmp_path / "form.html"
        if isinstance(html, str):
            path.write_text(html, encoding="utf-8")
        page = context.new_page()
        if script:
            page.add_init_script(script)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda told: trouble.append(told.text))
        page.on("request", lambda asked: _local(asked.url, trouble))
        page.goto(f"file://{path}")
        return page

    yield open_it
    context.close()
    assert trouble == []


def _local(url: str, trouble: list[str]) -> None:
    if not url.startswith(("file://", "blob:")):
        trouble.append(f"asked for {url}")


def hostile(fake: FakeRun) -> None:
    """Answers that want out of their box, in every row, told apart by their row."""
    for name, folder in fake.inputs.items():
        if not name.startswith("generate/"):
            continue
        lines = read_jsonl(folder / "responses.jsonl")
        for line in lines:
            line["prompt"] += HOSTILE
            line["response"] = f"{HOSTILE} {line['response']}"
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "responses.jsonl").write_text(text)


def answer(shown: Shown) -> str:
    """PPO always wins, DPO always loses, gold is seen through."""
    return "response" if shown.item.gold or shown.item.model == "ppo" else "other"


def sides(shown: Shown) -> dict[str, str]:
    return {"a": "response", "b": "other"} if shown.first else {"a": "other", "b": "response"}


def by_keys(page: Page, shown: Shown) -> None:
    texts = sides(shown)
    page.keyboard.press(next(side for side, text in texts.items() if text == answer(shown)))
    for side in ("a", "b"):
        for rating in RATINGS[texts[side]]:
            page.keyboard.press(str(rating % 10))


def by_mouse(page: Page, shown: Shown) -> None:
    texts = sides(shown)
    page.check(
        f"input[name=choice][value={next(s for s, t in texts.items() if t == answer(shown))}]"
    )
    for side in ("a", "b"):
        for rubric, rating in zip(
            ("helpful", "harmless", "honest"), RATINGS[texts[side]], strict=True
        ):
            page.check(f'input[name="{side}-{rubric}"][value="{rating}"]')


def test_a_form_filled_in_comes_back_as_results(
    open_form: Callable[..., Page], tmp_path: Path
) -> None:
    run: Finished = make_run(tmp_path / "run", hostile)
    with shell() as human:
        assert human("export", run.folder, "--items", "8", "--gold", "3") == 0
        form = the_form(run)
        [path] = (run.folder / "human").glob("form-*.html")
        page = open_form(path)
        _first_half(page, form)
        page.close()

        page = open_form(path)  # all is as it was, on the question where it was left
        assert page.input_value("#annotator") == "Zoë O’Neil"
        assert page.inner_text("#question") == "Question 6 of 11"
        assert page.inner_text("#progress-text") == "5 of 11 done"
        for number, shown in enumerate(form.shown[5:], start=6):
            assert page.inner_text("#question") == f"Question {number} of 11"
            by_mouse(page, shown)
            page.click("#next") if number < 11 else None
        assert page.inner_text("#progress-text") == "11 of 11 done"
        with page.expect_download() as download:
            page.click("#download")
        assert download.value.suggested_filename == f"answers-{form.digest[:8]}-zo-o-neil.json"
        filled = tmp_path / "filled.json"
        download.value.save_as(filled)
        assert page.inner_text("#handed") == "11 of 11 questions are in it."
        assert human("import", run.folder, filled) == 0

    found = read(run.folder / "results.json")["human"]
    wins = {line["model"]: (line["value"], line["labels"]) for line in found["win_rates"]}
    assert wins == {"ppo": (100.0, 4), "dpo": (0.0, 4)}
    assert found["annotators"] == [
        {"name": "Zoë O’Neil", "answers": 8, "gold": 3, "right": 3, "excluded": False}
    ]
    ratings = {line["model"]: line for line in found["ratings"]}
    for row, text in (("ppo", "response"), ("dpo", "response"), ("sft", "other")):
        means = tuple(ratings[row][r]["value"] for r in ("helpful", "harmless", "honest"))
        assert means == tuple(map(float, RATINGS[text]))


def _first_half(page: Page, form: Form) -> None:
    """Five questions by the keyboard alone, with a slip that is undone."""
    page.keyboard.press("d")
    assert page.inner_text("#handed") == "Please enter your name first, at the top."
    page.keyboard.type("Zoë O’Neil")  # the focus is there; its letters are no shortcuts
    page.keyboard.press("Tab")
    page.keyboard.press("t")
    page.keyboard.press("u")
    assert page.locator("input[name=choice]:checked").count() == 0
    for number, shown in enumerate(form.shown[:5], start=1):
        by_keys(page, shown)
        assert page.inner_text("#progress-text") == f"{number} of 11 done"
        page.keyboard.press("n")
    page.keyboard.press("p")
    checked = page.locator("input:checked[type=radio]")
    assert checked.count() == 7
    page.keyboard.press("n")


def test_texts_stay_texts(open_form: Callable[..., Page]) -> None:
    long, arabic = "word " * 40_000, "مرحبا بالعالم"
    made = [
        Item("p", HOSTILE, "ppo", 0, "sft", 0, 0, HOSTILE, "\ud800"),
        Item("p", arabic, "ppo", 0, "sft", 0, 0, long, ""),
    ]
    form = blind(made, True, SECRET, 0)
    page = open_form(render_form(form))
    for shown in form.shown:
        texts = shown.texts()
        if shown.item.prompt == HOSTILE:
            assert page.inner_text("#prompt") == HOSTILE.replace("\u202e", "⟦U+202E⟧")
        else:
            assert page.evaluate(
                "getComputedStyle(document.getElementById('prompt')).direction"
            ) == ("rtl")
            empty = "a" if texts["a"] == "" else "b"
            assert page.inner_text(f"#answer-{empty}") == "(empty)"
        page.keyboard.press("n")
    assert page.title() == "Compare answers"
    assert page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_storage_the_page_says_so(open_form: Callable[..., Page]) -> None:
    forbidden = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }});"
    page = open_form(render_form(blind(items(2, 0), True, SECRET, 0)), forbidden)
    assert page.is_visible("#no-storage")
    page.keyboard.press("a")
    assert page.is_checked("input[name=choice][value=a]")
    other = open_form(render_form(blind(items(2, 0), True, SECRET, 0)))
    assert not other.is_visible("#no-storage")
    other.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full'); }; }")
    other.keyboard.press("a")
    assert other.is_visible("#no-storage")


def test_what_is_kept_may_be_damaged(open_form: Callable[..., Page]) -> None:
    form = blind(items(2, 0), True, SECRET, 0)
    for kept in ("{", "null", '{"answers": null}', '{"answers": {}, "at": 99}'):
        script = f"localStorage.setItem('alignbench-human-{form.digest}', {json.dumps(kept)})"
        page = open_form(render_form(form), script)
        assert page.inner_text("#question") == "Question 1 of 2"


def test_shortcuts_can_be_switched_off(open_form: Callable[..., Page]) -> None:
    page = open_form(render_form(blind(items(3, 0), True, SECRET, 0)))
    page.uncheck("#keys")
    page.keyboard.press("a")
    page.keyboard.press("n")
    assert page.inner_text("#question") == "Question 1 of 3"
    page.check("#keys")
    page.keyboard.press("n")
    assert page.inner_text("#question") == "Question 2 of 3"
    page.keyboard.press("Control+p")  # the browser's own
    assert page.inner_text("#question") == "Question 2 of 3"


def test_another_annotator_starts_empty(open_form: Callable[..., Page]) -> None:
    page = open_form(render_form(blind(items(3, 0), False, SECRET, 0)))
    page.fill("#annotator", "Ann")
    page.keyboard.press("Tab")
    page.keyboard.press("b")
    assert page.inner_text("#progress-text") == "1 of 3 done"
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.click("#restart")
    assert page.inner_text("#progress-text") == "1 of 3 done"
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#restart")
    assert page.inner_text("#progress-text") == "0 of 3 done"
    assert page.input_value("#annotator") == ""


def test_answers_can_be_copied_by_hand(open_form: Callable[..., Page]) -> None:
    page = open_form(render_form(blind(items(3, 0), False, SECRET, 0)))
    page.fill("#annotator", "Ann")
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject('no'); }")
    page.click("#copy")
    assert page.inner_text("#handed") == "There is no answer yet."
    page.check("input[name=choice][value=tie]")
    page.click("#copy")
    copied = json.loads(page.input_value("#text"))
    assert (copied["annotator"], copied["answers"][0]["choice"]) == ("Ann", "tie")
    assert "2 are open" in page.inner_text("#handed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_form: Callable[..., Page], scheme: Any) -> None:
    page = open_form(render_form(blind(items(3, 0), True, SECRET, 0)))
    page.emulate_media(color_scheme=scheme)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.keyboard.press("a")
        found = Axe().run(page).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
