"""Shared fixtures."""

from __future__ import annotations

import os

# Before torch is imported: tests run side by side, and threads that compete are far slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with data that nobody here wrote; tests that need it skip where it is not named."""
    named = os.environ.get("ALIGNBENCH_REAL_DATA")
    if not named:
        pytest.skip("ALIGNBENCH_REAL_DATA is not set")
    folder = Path(named)
    # Once named it must be there: a test that skips then would hide that it never ran.
    assert folder.is_dir(), f"ALIGNBENCH_REAL_DATA={named} is no folder"
    return folder
