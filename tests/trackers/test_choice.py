from __future__ import annotations

import sys
from pathlib import Path

import pytest

from alignbench.errors import UserError
from alignbench.trackers.choice import NAMES, choose, installed, make


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """As where these packages are not installed."""
    real = installed
    monkeypatch.setattr(
        "alignbench.trackers.choice.installed", lambda name: name not in packages and real(name)
    )


def test_auto_is_tensorboard_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignbench.trackers.choice.installed", lambda name: True)
    assert choose("auto") == ("tensorboard", "Tracker: tensorboard.")
    without(monkeypatch, "tensorboard")
    assert choose("auto") == (None, "Tracker: none (tensorboard is not installed).")


def test_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("none") == (None, "Tracker: none.")
    monkeypatch.setattr("alignbench.trackers.choice.installed", lambda name: True)
    assert choose("wandb") == ("wandb", "Tracker: wandb.")
    without(monkeypatch, "wandb")
    with pytest.raises(UserError, match="--tracker wandb: not installed; pip install wandb"):
        choose("wandb")


def test_a_folder_of_that_name_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trackerfolder").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert not installed("trackerfolder")
    (tmp_path / "trackerfolder" / "__init__.py").touch()
    assert installed("trackerfolder")
    assert not installed("no_such_package_anywhere")


def test_making_one_imports_nothing(tmp_path: Path) -> None:
    before = set(sys.modules)
    for name in NAMES:
        make(name, tmp_path)
    assert not {"tensorboard", "wandb", "mlflow", "trackio"} & (set(sys.modules) - before)
    assert not list(tmp_path.iterdir())
