"""Hostile text in Markdown: rendered by a real renderer, it is what it was and nothing else."""

from __future__ import annotations

import re
from html import unescape

import pytest

from alignbench.results.markdown import block, code, plain, table

markdown = pytest.importorskip("markdown_it", reason="comes with rich")

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](http://evil/x.png)",
    "http://evil.example/x and www.evil.example",
    "# heading",
    "- item",
    "+ item",
    "1. item",
    "2) item",
    "> quote",
    "a | b | c",
    "`code` ``two`` \\",
    "**bold** _it_ ~~gone~~ $x$ ^up^",
    "---\nlicense: mit\n---",
    "&lt;b&gt; &amp; &#60;",
    "[^1]: note",
    "    indented code",
    "```\n<b>",
    "中文 – Zürich \u202e rtl",
    "<!-- hidden -->",
]


def rendered(text: str) -> str:
    return str(markdown.MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_plain_text_stays_text(text: str) -> None:
    html = rendered(f"- {plain(text)}")
    assert re.findall(r"</?([a-z0-9]+)", html) == ["ul", "li", "li", "ul"]
    shown = unescape(re.sub(r"<[^>]+>", "", html)).replace("\u200b", "").strip()
    expected = text.replace("\n", "\\n").replace("\u202e", "\\u202e")
    assert shown == " ".join(expected.split())


@pytest.mark.parametrize("text", HOSTILE)
def test_code_in_a_table_stays_in_its_cell(text: str) -> None:
    html = rendered(table(["a", "b"], [[code(text), "x"]]))
    cells = re.findall(r"<td>(.*?)</td>", html)
    assert len(cells) == 2
    assert re.findall(r"</?([a-z0-9]+)", cells[0]) == ["code", "code"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_block_ends_where_it_should(text: str) -> None:
    html = rendered(f"{block(text)}\n\nend")
    assert re.findall(r"</?([a-z0-9]+)", html) == ["pre", "code", "code", "pre", "p", "p"]


def test_addresses_are_not_linked() -> None:
    assert "http:" not in plain("see http://evil")
    assert "www." not in plain("www.evil.example")
    assert "@" not in plain("@everyone")
