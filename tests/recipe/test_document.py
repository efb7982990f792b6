from __future__ import annotations

import time
from pathlib import Path

import pytest

from alignbench.errors import UserError
from alignbench.recipe.document import Node, Problems, merge, parse_value, read_file


def read(tmp_path: Path, text: str | bytes) -> tuple[object, list[str]]:
    """Plain value and problems (without the folder) of a file."""
    path = tmp_path / "r.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    problems = Problems()
    value = None
    try:
        value = read_file(path, problems).plain()
    except UserError as error:
        problems.lines |= dict.fromkeys(error.problems)
    return value, [line.replace(f"{tmp_path}/", "") for line in problems.lines]


def test_values_keep_type_and_line(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "# 注释\na: 1\nb: [1.5, two, '3', true, null, ~]\n\nc:\n  d: 1.0e-7\n  e: 'on'\n"
        "  f: |\n    text\n  日本: -1_000\n",
        encoding="utf-8",
    )
    root = read_file(path, Problems())
    assert root.plain() == {
        "a": 1,
        "b": [1.5, "two", "3", True, None, None],
        "c": {"d": 1e-7, "e": "on", "f": "text\n", "日本": -1000},
    }
    c = root.child("c")
    assert c is not None
    places = {key: node.place for key, node in c.value.items()}  # type: ignore[union-attr]
    assert c.place == f"{path}:5"
    assert places == {k: f"{path}:{n}" for k, n in zip("def", (6, 7, 8), strict=True)} | {
        "日本": f"{path}:10"
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\na: 2", "r.yaml:2: a: duplicate key; it is already given at r.yaml:1"),
        ("x: {b: 1, b: 1}", "r.yaml:1: x.b: duplicate key; it is already given at r.yaml:1"),
        ("a: on", 'r.yaml:1: a: on: write true, or "on" in quotes if it is text'),
        ("a: No", 'r.yaml:1: a: No: write false, or "No" in quotes if it is text'),
        ("a: y", 'r.yaml:1: a: y: write true, or "y" in quotes if it is text'),
        ("a: n", 'r.yaml:1: a: n: write false, or "n" in quotes if it is text'),
        ("a: TRUE", 'r.yaml:1: a: TRUE: write true, or "TRUE" in quotes if it is text'),
        ("a: 5e-7", 'r.yaml:1: a: YAML reads "5e-7" as text; write 5.0e-7 for the number, or'),
        ("a: 1e6", 'r.yaml:1: a: YAML reads "1e6" as text; write 1.0e+6 for the number, or'),
        ("a: -1.5E6", 'r.yaml:1: a: YAML reads "-1.5E6" as text; write -1.5e+6 for the number'),
        ("a: .5e3", 'r.yaml:1: a: YAML reads ".5e3" as text; write 0.5e+3 for the number'),
        ("a: 010", "r.yaml:1: a: 010: write whole numbers in plain decimals"),
        ("a: 0x1F", "r.yaml:1: a: 0x1F: write whole numbers in plain decimals"),
        ("a: 1:30", "r.yaml:1: a: 1:30: write whole numbers in plain decimals"),
        ("a: " + "9" * 5000, "r.yaml:1: a: " + "9" * 40 + ": write whole numbers"),
        ("a: .inf", "r.yaml:1: a: .inf: write a finite decimal number"),
        ("a: .nan", "r.yaml:1: a: .nan: write a finite decimal number"),
        ("a: 1.0e+999", "r.yaml:1: a: 1.0e+999: write a finite decimal number"),
        ("a: &x 1", "r.yaml:1: a: anchor &x: anchors and aliases are not read; remove it"),
        ("b: *x", "r.yaml:1: b: alias *x: write the value out"),
        ("a: !!python/object:os.system x", "tag"),
        ("a: !!python/object/apply:os.system [x]", "tag"),
        ("a: !!int '3'", "r.yaml:1: a: tag"),
        ("!!map {a: 1}", "r.yaml:1: tag"),
        ("<<: {a: 1}", "r.yaml:1: merge key <<: recipes do not inherit; write the keys out"),
        ("1: a", 'r.yaml:1: key "1" is not read as text; put it in quotes'),
        ("on: a", 'r.yaml:1: key "on" is not read as text; put it in quotes'),
        ("? [a]\n: b", "r.yaml:1: a key must be plain text"),
        ('a: "\\e[31m"', "r.yaml:1: a: control character U+001B in text; remove it"),
        ('a: "\\0"', "r.yaml:1: a: control character U+0000 in text; remove it"),
        ("a: 1\nb: \x07", "r.yaml:2: control character U+0007 is not allowed; remove it"),
        ("a: 1\n---\nb: 2", "r.yaml:2: a second document begins here; one recipe per file"),
        ("", "r.yaml: empty; a recipe is a mapping"),
        ("# nothing\n", "r.yaml: empty; a recipe is a mapping"),
        ("null", "r.yaml: empty; a recipe is a mapping"),
        ("[1, 2]", "r.yaml: a recipe is a mapping (key: value), not [1, 2]"),
        ("just text", 'r.yaml: a recipe is a mapping (key: value), not "just text"'),
        ("a: [1\nb: 2", "r.yaml:2: not valid YAML: while parsing a flow sequence"),
        ("a: b: c", "r.yaml:1: not valid YAML: mapping values are not allowed here"),
        ("a:\n\t- b", "r.yaml:2: not valid YAML: "),
        ("a: %x", "r.yaml:1: not valid YAML: "),
        ("a: " + "[" * 60, "r.yaml:1: nested deeper than 50 levels"),
        ("{a: " * 40_000, "r.yaml:1: nested deeper than 50 levels"),
        ("a: [" + "1," * 30_000 + "]", "r.yaml:1: more than 20,000 values; not a recipe"),
        (b"a: 1\nb: \xff\xfe", "r.yaml:2: not UTF-8 (byte 0xff); save the file as UTF-8"),
        (b"a: 1\n\0", "r.yaml:2: NUL byte; a recipe is UTF-8 text"),
        ("a: 1".encode("utf-16"), "r.yaml:1: NUL byte; a recipe is UTF-8 text"),
        (b"#" * 1_000_001, "r.yaml: larger than 1,000,000 bytes; not a recipe"),
    ],
)
def test_traps_are_errors(tmp_path: Path, text: str | bytes, told: str) -> None:
    _, found = read(tmp_path, text)
    assert len(found) == 1
    assert told in found[0]
    assert found[0].startswith("r.yaml")
    assert all(char.isprintable() for char in found[0])


def test_errors_are_found_together_and_the_rest_is_read(tmp_path: Path) -> None:
    value, found = read(tmp_path, "a: on\nb: 5e-7\nc: 3\nc: 4\nd: *x\n")
    assert [line.split(":")[1] for line in found] == ["1", "2", "4", "5"]
    assert value == {"a": None, "b": None, "c": 3, "d": None}


def test_billion_laughs_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    began = time.monotonic()
    _, found = read(tmp_path, "\n".join(lines))
    assert time.monotonic() - began < 2
    assert any("alias *a0" in line for line in found)


def test_byte_order_mark_and_line_ends_are_fine(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: 2\r\n") == ({"a": 1, "b": 2}, [])


@pytest.mark.parametrize("text", ["1.5.2", "e5", "12:ab", "2024-01-02", "-", "nope", "=", "a#b"])
def test_ordinary_text_stays_text(text: str) -> None:
    problems = Problems()
    value = parse_value(text, "--set x", problems)
    if text == "-":  # a list with one empty item
        assert value.plain() == [None]
    else:
        assert value.plain() == text
    assert not problems.lines


def test_missing_file_suggests_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "gpt2_all.yaml").touch()
    (tmp_path / "recipes" / "smoke.yml").touch()
    (tmp_path / "recipes" / "notes.txt").touch()

    def told(name: str) -> str:
        with pytest.raises(UserError) as caught:
            read_file(Path(name), Problems())
        return str(caught.value)

    near = 'no such file (did you mean "recipes/gpt2_all.yaml"?)'
    assert told("recipes/gpt2al.yaml") == f"recipes/gpt2al.yaml: {near}"
    assert told("gpt2_all") == f"gpt2_all: {near}"
    listed = "recipes here: recipes/gpt2_all.yaml, recipes/smoke.yml"
    assert told("recipes/x.yaml") == f"recipes/x.yaml: no such file; {listed}"
    assert told("none/x.yaml") == "none/x.yaml: no such file, and no folder none"
    assert told("recipes") == "recipes: cannot be read: Is a directory"
    assert "no such file" in told("recipes/smoke.yml/x.yaml")


def test_merge_replaces_lists_and_scalars_and_merges_mappings() -> None:
    def node(value: object, place: str) -> Node:
        if isinstance(value, dict):
            return Node({k: node(v, place) for k, v in value.items()}, place)
        return Node(value, place)  # type: ignore[arg-type]

    base = node({"a": {"x": 1, "y": 2}, "b": 3, "c": {"z": 1}}, "base")
    merged = merge(base, node({"a": {"y": 5}, "b": {"q": 1}, "c": None}, "over"))
    assert merged.plain() == {"a": {"x": 1, "y": 5}, "b": {"q": 1}, "c": None}
    a = merged.child("a")
    assert a is not None
    assert [n.place for n in (a.child("x"), a.child("y")) if n] == ["base", "over"]
