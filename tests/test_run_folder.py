from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignbench import run_folder, run_record
from alignbench.errors import UserError
from alignbench.run_folder import prepare
from alignbench.run_record import load_record, record_file, save, verify
from alignbench.tamper import digests

FILES = {
    "results.json": "{}\n",
    "results.csv": "a,b\n",
    "certificate.json": "{}\n",
    "report.html": "<p>\n",
    "manifests/data.json": json.dumps({"stage": "data", "key": "k", "seal": "s"}),
    "manifests/results.json": json.dumps(
        {"stage": "results", "key": "k", "seal": "s", "config": {"recipe": {"name": "tiny"}}}
    ),
    "logs/data.log": "started\n",
    "logs/worker_0.log": "",
    "cards/ppo-0.md": "# ppo\n",
}


def record_of(folder: Path, state: str = "finished", **fields: Any) -> dict[str, Any]:
    return {
        "schema_version": run_record.SCHEMA,
        "state": state,
        "message": None,
        "recipe": "tiny",
        "profile": "default",
        "stages": [{"stage": "data", "key": "k", "cached": False, "digest": None}],
        "files": digests(folder, list(FILES)) if state == "finished" else {},
        **fields,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "run"
    for name, text in FILES.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)
    save(out, record_of(out))
    return out


def problems(folder: Path) -> list[str]:
    """What the next reader is told, one line a problem; empty for a run as it was written."""
    try:
        assert verify(folder, load_record(folder)) == []
    except UserError as error:
        return list(error.problems)
    return []


def replace_by_link(path: Path) -> None:
    run = next(parent for parent in path.parents if parent.name == "run")
    twin = run.parent / f"twin of {path.name}"
    path.rename(twin)
    path.symlink_to(twin)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "edited": (lambda p: p.write_bytes(p.read_bytes().swapcase() + b"x"), "changed (it has "),
    "same size": (lambda p: p.write_bytes(b"x" * p.stat().st_size), "changed"),
    "truncated": (lambda p: p.write_bytes(b""), "changed (it has 0 bytes"),
    "removed": (Path.unlink, "missing"),
    "link": (replace_by_link, "is a symbolic link in place of a file"),
    "folder": (replace_by_folder, "is a folder in place of a file"),
    "pipe": (replace_by_pipe, "is a device, pipe or socket in place of a file"),
}


def test_a_run_as_it_was_written_has_nothing_to_say(folder: Path) -> None:
    assert problems(folder) == []
    assert prepare(folder, folder.parent / "store", "tiny") == []


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_every_file_is_guarded(folder: Path, name: str, damage: str) -> None:
    if damage in ("same size", "truncated") and not FILES[name]:
        pytest.skip("an empty file")
    how, told = DAMAGE[damage]
    how(folder / name)
    first, named, remedy = problems(folder)
    assert first == f"{folder}: changed since the run finished:"
    assert named.startswith(f"  {name}: {told}")
    assert "run the recipe again" in remedy

    # A run of the recipe says it, and clears the way for writing the file anew.
    [said] = prepare(folder, folder.parent / "store", "tiny")
    assert said.startswith(f"{folder / name}: {told}")
    assert ("restored from the store" in said) == (not name.startswith("logs/"))
    path = folder / name
    assert not path.is_symlink()
    assert not path.exists() or path.is_file()
    path.write_text("anew")


def test_a_folder_in_the_way_keeps_its_content(folder: Path) -> None:
    replace_by_folder(folder / "results.csv")
    (folder / "results.csv/mine").touch()
    prepare(folder, folder.parent / "store", "tiny")
    [aside] = folder.glob("results.csv.*.aside")
    assert (aside / "mine").exists()


def test_a_changed_log_is_kept_beside(folder: Path) -> None:
    (folder / "logs/data.log").write_text("forged")
    [said] = prepare(folder, folder.parent / "store", "tiny")
    assert said.endswith("logs cannot be restored, moved to data.log.changed")
    assert (folder / "logs/data.log.changed").read_text() == "forged"
    assert not (folder / "logs/data.log").exists()


def test_an_unreadable_file_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("alignbench.tamper.sha256_file", refused)
    assert "  results.csv: cannot be read (Permission denied)" in problems(folder)


def test_all_that_changed_is_named_at_once(folder: Path) -> None:
    (folder / "results.json").write_text("[]")
    (folder / "logs/data.log").unlink()
    (folder / "manifests/data.json").write_text("")
    assert [line.strip().partition(":")[0] for line in problems(folder)[1:-1]] == [
        "logs/data.log", "manifests/data.json", "results.json",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["logs", "manifests", "cards"])
def test_a_linked_folder_is_named_and_not_followed(folder: Path, name: str) -> None:
    elsewhere = folder.parent / "elsewhere"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    [_, named, _] = problems(folder)
    assert named.startswith(f"  {name}: is a symbolic link in place of a folder")
    prepare(folder, folder.parent / "store", "tiny")
    assert not (folder / name).exists()
    assert list(elsewhere.iterdir())


def test_extra_files_are_a_warning(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "logs/my\x1b[31mown.log").write_text("mine")
    (folder / "more").mkdir()
    (folder / "more/file").write_text("mine")
    warnings = verify(folder, load_record(folder))
    assert [warning.removeprefix(f"{folder}: ") for warning in warnings] == [
        "more/: not a file of the run",
        "notes.txt: not a file of the run",
        "logs/my\\x1b[31mown.log: not a file of the run",
    ]
    assert len(prepare(folder, folder.parent / "store", "tiny")) == 3
    assert (folder / "notes.txt").read_text() == "mine"


def test_an_unfinished_run_is_not_checked(folder: Path) -> None:
    for state in ("running", "failed", "interrupted"):
        save(folder, record_of(folder, state))
        (folder / "results.json").unlink(missing_ok=True)
        assert problems(folder) == []
        assert prepare(folder, folder.parent / "store", "tiny") == []


def forge(folder: Path, **fields: Any) -> None:
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, **fields}))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: forge(f, state="failed"), "changed since alignbench wrote it"),
        (lambda f: forge(f, files={}), "changed since alignbench wrote it"),
        (lambda f: forge(f, seal=None), "changed since alignbench wrote it"),
        (lambda f: forge(f, schema_version=1), "another version of alignbench (schema 1)"),
        (lambda f: forge(f, schema_version="2"), "damaged"),
        (lambda f: forge(f, state=float("nan")), "damaged"),
        (lambda f: (f / "run.json").write_text("{"), "damaged"),
        (lambda f: (f / "run.json").write_text("[" * 100_000), "damaged"),
        (lambda f: (f / "run.json").write_bytes(b"\xff\x00"), "damaged"),
        (lambda f: (f / "run.json").write_text("[]"), "damaged"),
        (lambda f: replace_by_link(f / "run.json"), "is a symbolic link"),
        (lambda f: replace_by_folder(f / "run.json"), "is a folder"),
        (lambda f: replace_by_pipe(f / "run.json"), "is a device, pipe or socket"),
        (lambda f: save(f, record_of(f, stages=[{}])), "damaged (not the fields of a run)"),
        (lambda f: save(f, record_of(f, files={"results.json": 1})), "damaged"),
        (lambda f: save(f, record_of(f, files={"../x": {"sha256": "", "bytes": 1}})), "damaged"),
        (lambda f: save(f, record_of(f, files={"/x": {"sha256": "", "bytes": 1}})), "damaged"),
    ],
)
def test_run_json_guards_itself(folder: Path, damage: Any, told: str) -> None:
    damage(folder)
    with pytest.raises(UserError, match=r"run\.json: .*run the recipe again") as error:
        load_record(folder)
    assert told in str(error.value)
    # The other files say whose run it is: it can be repaired by the same recipe, and no other.
    [said] = prepare(folder, folder.parent / "store", "tiny")
    assert told in said
    assert said.endswith("written anew")
    save(folder, record_of(folder))
    assert problems(folder) == []


def test_a_lost_run_json_is_written_anew_for_the_same_recipe_only(folder: Path) -> None:
    (folder / "run.json").unlink()
    with pytest.raises(UserError, match='holds a run of recipe "tiny", not "other"'):
        prepare(folder, folder.parent / "store", "other")
    assert prepare(folder, folder.parent / "store", "tiny") == [
        f"{folder}/run.json: missing; written anew"
    ]


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/deployment.json").write_text('{"kind": "Deployment"}')
    with pytest.raises(UserError, match="no run of alignbench"):
        prepare(tmp_path, tmp_path.parent / "store", "tiny")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json: damaged .*choose another --out"):
        prepare(tmp_path, tmp_path.parent / "store", "tiny")


def test_a_newer_run_is_left_alone(folder: Path) -> None:
    save(folder, record_of(folder, schema_version=99))
    for reader in (load_record, lambda f: prepare(f, f.parent / "store", "tiny")):
        with pytest.raises(UserError, match=r"another version of alignbench \(schema 99\).*that v"):
            reader(folder)


def test_a_report_made_again_is_recorded(folder: Path) -> None:
    (folder / "report.html").write_text("<h1>")
    assert verify(folder, load_record(folder), ignore={"report.html"}) == []
    record_file(folder, "report.html")
    assert problems(folder) == []


def test_manifests_and_logs_of_removed_stages_go(folder: Path) -> None:
    run_folder.forget_other_stages(folder, ["results"])
    assert not (folder / "manifests/data.json").exists()
    assert not (folder / "logs/data.log").exists()
    assert (folder / "manifests/results.json").exists()


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "\udcff"])
def test_impossible_names_are_no_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no such run"):
        run_folder.find_run(name)


def test_a_socket_among_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # a socket's path must be short
    Path("results.csv").unlink()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("results.csv")
    assert "results.csv: is a device, pipe or socket" in problems(folder)[1]
