from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from alignbench.digest import canonical_json, sha256_file, sha256_json, sha256_tree
from alignbench.errors import UserError
from alignbench.keys import kind_of, source_digest, stage_key
from alignbench.stage import Stage
from alignbench.store import Artifact, Corrupt, Store, content_digest, is_stale

STAGE = Stage("train/ppo/0", "tests.executor_stages:write", {"rate": 0.5, "name": "é"})
KEY = stage_key(STAGE, {})


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def store_one(store: Store, stage: Stage = STAGE, key: str = KEY) -> Artifact:
    with store.lock(key) as mine:
        assert mine
        folder = store.temporary(kind_of(stage.name), key)
        (folder / "a.txt").write_text("alpha")
        (folder / "sub").mkdir()
        (folder / "sub" / "b.txt").write_text("beta")
        notes = [{"kind": "warning", "message": "m"}]
        return store.commit(folder, stage, key, {}, notes, 1.23456, 1024)


def test_canonical_json_is_one_text_for_equal_values() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5]}'
    assert canonical_json({"x": 1, "y": 2}) == canonical_json({"y": 2, "x": 1})
    assert sha256_json(None) == sha("null")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_canonical_json_refuses_what_json_lacks(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


def test_tree_digest_lists_files_and_refuses_links(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").write_text("hello")
    assert sha256_tree(tmp_path) == {"sub/x": {"sha256": sha("hello"), "bytes": 5}}
    (tmp_path / "sub" / "l").symlink_to("x")
    with pytest.raises(UserError, match="sub/l: is a symbolic link"):
        sha256_tree(tmp_path)


def test_key_says_everything_but_the_name() -> None:
    def key(name: str = "a", inputs: dict[str, str] | None = None, **change: object) -> str:
        values = {"entry": STAGE.entry, "config": {"x": 1}, "code": (), "threads": 1, **change}
        return stage_key(Stage(name, **values), inputs or {})  # type: ignore[arg-type]

    base = key()
    assert key(name="other/name") == base
    assert key(config={"x": 1}) == base
    changed = [
        key(config={"x": 2}),
        key(threads=2),
        key(entry="tests.executor_stages:boom"),
        key(code=("alignbench.errors",)),
        key(inputs={"data": "0" * 64}),
        key(inputs={"data": "1" * 64}),
        key(inputs={"sft": "1" * 64}),
    ]
    assert len({base, *changed}) == len(changed) + 1


def test_versions_enter_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignbench.keys.library_versions", lambda: {"torch": "0.0"})
    assert stage_key(STAGE, {}) != KEY


def test_source_digest_follows_edits_without_importing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "keys_probe"
    (package / "inner").mkdir(parents=True)
    for file in (package / "__init__.py", package / "inner" / "__init__.py"):
        file.write_text("raise RuntimeError('imported')")
    module = package / "inner" / "mod.py"
    module.write_text("x = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    source_digest.cache_clear()
    assert source_digest("keys_probe.inner.mod") == sha("x = 1")
    whole = source_digest("keys_probe")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "mod.pyc").write_text("ignored")
    source_digest.cache_clear()
    assert source_digest("keys_probe") == whole
    (package / "facts.json").write_text("{}")  # data of a package is part of what it computes
    source_digest.cache_clear()
    assert source_digest("keys_probe") != whole
    assert not any(name.startswith("keys_probe") for name in sys.modules)


@pytest.mark.parametrize(
    "name", ["no_such_module_here", "alignbench.no_such", "alignbench.errors.x", "sys"]
)
def test_source_of_nothing_is_an_error(name: str) -> None:
    with pytest.raises(UserError, match=rf"module {name} cannot be found"):
        source_digest(name)


def test_commit_then_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert store.read("train", KEY) is None
    made = store_one(store)
    assert made.folder == tmp_path / "store" / f"train-{KEY[:16]}"
    read = store.read("train", KEY)
    assert read is not None
    assert read.manifest == made.manifest
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest["files"] == {
        "a.txt": {"sha256": sha("alpha"), "bytes": 5},
        "sub/b.txt": {"sha256": sha("beta"), "bytes": 4},
    }
    expected = f'{{"a.txt":"{sha("alpha")}","sub/b.txt":"{sha("beta")}"}}'
    assert manifest["digest"] == sha(expected) == content_digest(manifest["files"])
    assert (manifest["stage"], manifest["key"]) == ("train/ppo/0", KEY)
    assert (manifest["seconds"], manifest["peak_rss_bytes"]) == (1.235, 1024)
    assert manifest["config"] == {"rate": 0.5, "name": "é"}
    assert manifest["notes"] == [{"kind": "warning", "message": "m"}]
    assert set(manifest["environment"]) == {
        "python", "platform", "versions", "cpu_count", "processor", "threads",
    }  # fmt: skip
    assert not list((tmp_path / "store").glob(".tmp-*"))


def flip_bit(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: flip_bit(f / "sub" / "b.txt"), "sub/b.txt changed"),
        (lambda f: (f / "a.txt").unlink(), "a.txt missing"),
        (lambda f: (f / "c.txt").write_text(""), "c.txt extra"),
        (lambda f: (f / "c.txt").symlink_to("a.txt"), "c.txt: is a symbolic link"),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (lambda f: (f / "manifest.json").unlink(), "manifest.json cannot be read"),
        (lambda f: (f / "manifest.json").write_text("[" * 100_000), "manifest.json cannot be"),
        (lambda f: (f / "manifest.json").write_text("[1]"), "manifest.json changed"),
        (
            lambda f: (f / "manifest.json").write_text(
                (f / "manifest.json").read_text().replace("1.235", "1.236")
            ),
            "manifest.json changed",
        ),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: object, told: str) -> None:
    store = Store(tmp_path)
    artifact = store_one(store)
    damage(artifact.folder)  # type: ignore[operator]
    with pytest.raises(Corrupt, match=f"train-{KEY[:16]}: .*{told}"):
        store.read("train", KEY)
    aside = store.set_aside("train", KEY)
    assert aside.parent == tmp_path / "corrupt"
    assert store.read("train", KEY) is None
    assert list(store.manifests()) == []


def test_artifact_folder_replaced_by_a_link_is_corrupt(tmp_path: Path) -> None:
    store = Store(tmp_path)
    artifact = store_one(store)
    elsewhere = tmp_path / "elsewhere"
    artifact.folder.rename(elsewhere)
    artifact.folder.symlink_to(elsewhere)
    with pytest.raises(Corrupt, match="is not a folder"):
        store.read("train", KEY)
    store.set_aside("train", KEY)
    assert elsewhere.is_dir()


@pytest.mark.parametrize("kind", ["..", "a/b", "", "A", "../../etc"])
def test_traversal_in_kinds_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ValueError, match="not a kind and a key"):
        Store(tmp_path).temporary(kind, KEY)


@pytest.mark.parametrize("name", ["../x", "a//b", "/a", "a/", "A", "a b", "", "a/../b", "a\n"])
def test_bad_stage_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        kind_of(name)


@pytest.mark.parametrize("key", ["../../x", "0" * 63, "g" * 64])
def test_bad_keys_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="not a kind and a key"):
        Store(tmp_path).read("train", key)


def test_commit_refuses_links_and_a_manifest_of_the_stage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.lock(KEY):
        folder = store.temporary("train", KEY)
        (folder / "link").symlink_to("/etc/passwd")
        with pytest.raises(UserError, match="link: is a symbolic link"):
            store.commit(folder, STAGE, KEY, {}, [], 0, None)
        (folder / "link").unlink()
        (folder / "manifest.json").write_text("{}")
        with pytest.raises(UserError, match=r"manifest\.json is the store's own file"):
            store.commit(folder, STAGE, KEY, {}, [], 0, None)
    assert store.read("train", KEY) is None


def test_lock_is_for_one_and_other_keys_are_free(tmp_path: Path) -> None:
    store, same = Store(tmp_path), Store(tmp_path)
    with store.lock(KEY) as mine:
        assert mine
        with same.lock(KEY) as theirs:
            assert not theirs
        with same.lock("0" * 64) as other:
            assert other
    with same.lock(KEY) as now:
        assert now


def test_clean_removes_what_dead_writers_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.lock(KEY):
        living = store.temporary("train", KEY)
        (living / "x").write_text("x")
        with store.lock("a" * 64):
            dead = store.temporary("score", "a" * 64)
        store.clean()
        assert living.is_dir()
        assert not dead.exists()
    store.clean()
    assert not living.exists()


def test_stale_when_an_input_has_other_content(tmp_path: Path) -> None:
    def fake(digest: str) -> Artifact:
        return Artifact(tmp_path, {"key": "k", "digest": digest})

    made = Artifact(tmp_path, {"inputs": {"data": {"key": "k", "digest": "d1"}}})
    assert not is_stale(made, {"data": fake("d1")})
    assert is_stale(made, {"data": fake("d2")})
    assert is_stale(made, {})


def test_store_root_must_be_a_writable_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match="is a file; set ALIGNBENCH_STORE"):
        Store(file)
    with pytest.raises(UserError, match="cannot be written"):
        Store(Path("/proc/no_such_store")).try_lock(KEY)


def test_lock_is_not_inherited_by_children(tmp_path: Path) -> None:
    handle = Store(tmp_path).try_lock(KEY)
    assert handle is not None
    assert not os.get_inheritable(handle)
    os.close(handle)


def test_sha256_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    assert sha256_file(tmp_path / "x").startswith("e3b0c44298fc1c14")
