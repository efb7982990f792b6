"""Fixtures of the training tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training import small_world


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Path]:
    """Input folders of a method's stage."""
    return small_world.make(tmp_path)
