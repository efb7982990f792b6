from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from alignbench.digest import sha256_json
from alignbench.errors import UserError
from alignbench.human import form as forms
from alignbench.human.form import (
    Form,
    blind,
    read_key,
    read_keys,
    render_form,
    share_out,
    write_key,
)
from alignbench.human.items import Item

SECRET = b"s" * 32
HOSTILE = "</script><script>document.title='x'</script><img src=x onerror=alert(1)>\u202e"


def items(count: int = 20, gold: int = 4) -> list[Item]:
    real = [
        Item(f"eval-{n}", f"Prompt {n}", "ppo", n % 3, "sft", 0, 0, f"good {n}", f"bad {n}")
        for n in range(count)
    ]
    known = [
        Item(None, f"Known {n}", "known_better", 0, "known_worse", 0, 0, "yes", "no", True)
        for n in range(gold)
    ]
    return [*real, *known]


def data(html: str) -> dict[str, object]:
    match = re.search(r'<script type="application/json" id="content">(.*?)</script>', html, re.S)
    assert match is not None
    return json.loads(match[1])  # type: ignore[no-any-return]


def test_order_sides_and_ids_come_from_the_secret_alone() -> None:
    one, same = (blind(items(), True, SECRET, 0) for _ in range(2))
    other, second = blind(items(), True, b"t" * 32, 0), blind(items(), True, SECRET, 1)
    assert one == same
    for form in (other, second):
        assert not {shown.id for shown in form.shown} & {shown.id for shown in one.shown}
        assert [shown.item for shown in form.shown] != [shown.item for shown in one.shown]
    assert len({form.digest for form in (one, other, second)}) == 3


def test_sides_and_places_of_gold_tell_nothing() -> None:
    firsts, places = 0, Counter[int]()
    for number in range(200):
        form = blind(items(), True, number.to_bytes(32), 0)
        firsts += sum(shown.first for shown in form.shown)
        places += Counter(at for at, shown in enumerate(form.shown) if shown.item.gold)
    assert firsts / 4800 == pytest.approx(0.5, abs=0.03)
    assert len(places) == 24
    assert max(places.values()) < 2 * 200 * 4 / 24


def test_the_page_says_nothing_of_who_wrote_what() -> None:
    form = blind(items(), True, SECRET, 0)
    html = render_form(form)
    for told in ("ppo", "sft", "known_", "gold", "eval-", SECRET.hex(), "seed", "reference"):
        assert not re.search(rf"(?i)(?<![a-z0-9-]){told}", html), told
    content = data(html)
    shown = content["items"]
    assert isinstance(shown, list)
    # Gold questions look like all others.
    assert {tuple(item) for item in shown} == {("id", "prompt", "a", "b")}
    assert {len(item["id"]) for item in shown} == {16}
    assert content["form"] == form.digest


def test_hostile_texts_end_nothing_and_are_made_visible() -> None:
    item = Item("p", HOSTILE, "ppo", 0, "sft", 0, 0, HOSTILE, "\ud800 half")
    html = render_form(blind([item], True, SECRET, 0))
    assert html.count("</script") == 2
    assert "<img" not in html
    [shown] = data(html)["items"]  # type: ignore[misc]
    assert shown["prompt"] == HOSTILE.replace("\u202e", "⟦U+202E⟧")
    assert "⟦U+D800⟧ half" in (shown["a"], shown["b"])
    html.encode()  # can be written


def test_only_the_form_s_own_script_may_run() -> None:
    html = render_form(blind(items(), True, SECRET, 0))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert re.search(r"script-src &#39;sha256-[^&]+&#39;", policy[1])
    assert not re.search(r"\son[a-z]+=|https?://|\bsrc=", html)


def test_without_ratings_there_are_no_scales() -> None:
    html = render_form(blind(items(), False, SECRET, 0))
    assert 'class="rating"' not in html
    assert "What the ratings mean" not in html
    assert 'class="rating"' in render_form(blind(items(), True, SECRET, 0))


def test_forms_share_the_first_items_and_nothing_else() -> None:
    every = items(5 + 3 * 3, 0)
    shares = share_out(every, 8, 3, 5)
    assert [len(share) for share in shares] == [8, 8, 8]
    assert all(share[:5] == every[:5] for share in shares)
    assert Counter(item for share in shares for item in share[5:]) == Counter(every[5:])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "human" / "key.json"
    write_key(path, "ab" * 32, SECRET, 7, [blind(items(), True, SECRET, n) for n in (0, 1)])
    return path


def test_a_key_knows_its_forms(key: Path) -> None:
    written = [blind(items(), True, SECRET, n) for n in (0, 1)]
    assert read_key(key, "ab" * 32) == {form.digest: form for form in written}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not the key of a form"),
        ("[]", "not the key of a form"),
        ("[" * 100_000, "not the key of a form"),
        ('{"digest": "x", "schema": "alignbench-human-1"}', "changed since"),
    ],
)
def test_what_is_no_key(key: Path, text: str, message: str) -> None:
    key.write_text(text)
    with pytest.raises(UserError, match=message):
        read_key(key, "ab" * 32)


def test_a_key_that_was_changed_or_is_of_another_run(key: Path) -> None:
    with pytest.raises(UserError, match="other answers than this run's"):
        read_key(key, "cd" * 32)
    changed = key.read_text().replace('"gold": true', '"gold": false', 1)
    key.write_text(changed)
    with pytest.raises(UserError, match="changed since"):
        read_key(key, "ab" * 32)
    with pytest.raises(UserError, match="No such file"):
        read_key(key.with_name("absent.json"), "ab" * 32)


def test_keys_of_answers_that_were_there_before_are_passed_over(key: Path, tmp_path: Path) -> None:
    stale = tmp_path / "stale.json"
    write_key(stale, "cd" * 32, SECRET, 7, [blind(items(3, 0), True, SECRET, 5)])
    known = read_key(key, "ab" * 32)
    assert read_keys([stale, key], [], "ab" * 32) == known
    assert read_keys([stale], [key], "ab" * 32) == known
    assert read_keys([], [], "ab" * 32) == {}
    for found, named in (([stale], []), ([key], [stale]), ([stale, key], [stale])):
        with pytest.raises(UserError, match=r"stale\.json: belongs to other answers"):
            read_keys(found, named, "ab" * 32)
    stale.write_text("{}")
    with pytest.raises(UserError, match="not the key of a form"):
        read_keys([stale, key], [], "ab" * 32)


def test_a_key_of_earlier_rubrics_knows_its_forms(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(read_key(key, "ab" * 32))
    monkeypatch.setattr(forms, "RUBRIC_VERSION", "another")
    assert set(read_key(key, "ab" * 32)) == before


def test_an_intact_key_that_names_no_run_is_none(tmp_path: Path) -> None:
    content = {"schema": forms.SCHEMA, "forms": []}
    path = tmp_path / "key.json"
    path.write_text(json.dumps({**content, "digest": sha256_json(content)}))
    with pytest.raises(UserError):
        read_key(path, "ab" * 32)


def test_an_empty_form_has_a_digest() -> None:
    assert len(Form([], True).digest) == 64
