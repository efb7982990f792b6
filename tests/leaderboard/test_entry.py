"""Reading entries that somebody wrote, forged or damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignbench import cli
from alignbench.digest import sha256_json
from alignbench.errors import UserError
from alignbench.leaderboard.entry import LARGEST, file_name, load, save
from tests.finished_run import finished_run, read

Record = dict[str, Any]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("entry")
    run = finished_run(root)
    assert cli.dispatch(["publish", str(run.folder), "--to", str(root / "to")]) == 0
    return next((root / "to").iterdir())


def forged(published: Path, folder: Path, change: Callable[[Record], Any]) -> Path:
    """A changed entry whose digest and name are right."""
    record = read(published)
    change(record)
    record.pop("digest", None)
    record["digest"] = sha256_json(record)
    path = folder / file_name(record)
    path.write_text(json.dumps(record))
    return path


FORGED: dict[str, tuple[Callable[[Record], Any], str]] = {
    "number as text": (lambda r: r["rows"][3].update(value="9"), "rows.3.value: Input should be"),
    "unknown field": (lambda r: r["rows"][0].update(x=1), "rows.0.x: Extra inputs"),
    "missing field": (lambda r: r.pop("judge"), "judge: Field required"),
    "unknown metric": (lambda r: r["rows"][0].update(metric="iq"), 'rows.0.metric: "iq" is no'),
    "unknown row": (lambda r: r["rows"][0].update(model="gpt"), 'rows.0.model: "gpt" is not in'),
    "twice": (lambda r: r["rows"].append(r["rows"][0]), "of base is there twice"),
    "bounds": (lambda r: r["rows"][0].update(low=9.0, high=1.0), "rows.0.low: is above high"),
    "one bound": (lambda r: r["rows"][0].update(low=None), "rows.0: an interval has two bounds"),
    "control": (lambda r: r["verdict"].insert(0, "a\x1b[31m"), "verdict.0: has control"),
    "bidi": (lambda r: r["judge"].update(name="ab\u202ecd"), "judge.name: has control"),
    "key": (lambda r: r["recipe"]["settings"].update({"\n": 1}), "settings.\\n (the key): has con"),
    "path": (lambda r: r["commands"].insert(0, "cat /home/me/key"), "commands.0: names a place"),
    "secret": (
        lambda r: r["commands"].insert(0, "hf_" + "a" * 20),
        "commands.0: looks like a secret",
    ),
    "long": (lambda r: r["verdict"].insert(0, "x" * 5000), "verdict.0: longer than"),
    "profile": (lambda r: r["recipe"].update(profile="gpu"), "certificate.profile: is not"),
    "name": (lambda r: r["recipe"].update(name="A b"), "recipe.name: String should match"),
    "certificate": (lambda r: r["certificate"].update(rows=3), "certificate.rows: must be"),
    "prompt": (
        lambda r: r["observations"]["rows"]["ppo"]["prompts"]["reward_gold"][1].pop(),
        "observations.rows.ppo.prompts.reward_gold: must have",
    ),
    "seed": (
        lambda r: r["observations"]["rows"]["ppo"]["means"]["length"].pop(),
        "observations.rows.ppo.means.length: must have",
    ),
    "verdict": (
        lambda r: r["statistics"]["between_methods"][0].update(verdict="great"),
        "statistics.between_methods.0.verdict: Input should be",
    ),
    "newer": (lambda r: r.update(schema_version=2), "schema_version: is 2, this alignbench"),
    "true": (lambda r: r.update(schema_version=True), "schema_version: is True, this"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_fields_are_named(published: Path, tmp_path: Path, name: str) -> None:
    change, told = FORGED[name]
    if name == "name":  # no file could be called so
        record = read(published)
        change(record)
        path = tmp_path / "x.json"
        path.write_text(json.dumps(record))
    else:
        path = forged(published, tmp_path, change)
    with pytest.raises(UserError) as error:
        load(path)
    assert f"{path}: " in str(error.value)
    assert told in str(error.value)


def test_an_edit_without_a_new_digest_is_found(published: Path, tmp_path: Path) -> None:
    path = tmp_path / published.name
    record = read(published)
    record["rows"][0]["value"] = 9.9
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="digest: is not that of the other fields"):
        load(path)


def test_the_name_belongs_to_the_entry(published: Path, tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    path.write_bytes(published.read_bytes())
    with pytest.raises(UserError, match=f"its name must be {published.name}"):
        load(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "no entry of a leaderboard"),
        (b'{"schema_version": 1, "schema_version": 1}', 'the key "schema_version" is there twice'),
        (b'{"schema_version": NaN}', "NaN is no JSON"),
        (b'{"schema_version": 1}', "recipe: Field required"),
        (b'{"schema_version": 1, "a": ' + b"[" * 60 + b"]" * 60 + b"}", "nested more than"),
    ],
)
def test_what_is_no_entry(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.json: ") as error:
        load(path)
    assert told in str(error.value)


def test_a_missing_and_a_huge_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "none.json")
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(UserError, match="too many for an entry"):
        load(tmp_path / "huge.json")


def test_saving_what_was_loaded_gives_the_same_bytes(published: Path, tmp_path: Path) -> None:
    record = read(published)
    del record["digest"]
    assert save(record, tmp_path).read_bytes() == published.read_bytes()
