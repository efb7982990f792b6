from __future__ import annotations

from pathlib import Path

import pytest

from alignbench.conformance.options import given_options, tiny_options
from alignbench.errors import UserError
from alignbench.methods.rlaif import RLAIF


def test_settings_and_files_are_laid_over_each_other(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text("prompts: 8\ndpo: {beta: 0.2}\n")
    given = given_options([str(file), "dpo.batch_size=4", "then=dpo"])
    assert given == {"prompts": 8, "dpo": {"beta": 0.2, "batch_size": 4}, "then": "dpo"}
    chosen = tiny_options(RLAIF, given)
    assert chosen["dpo"] == {"learning_rate": 1e-3, "batch_size": 4, "beta": 0.2}


def test_what_the_method_does_not_accept_is_named_with_a_remedy() -> None:
    with pytest.raises(UserError, match=r"RLAIF: dpo.beta: .*\n(.*\n)*.*declare tiny options"):
        tiny_options(RLAIF, {"dpo": {"beta": -1.0}})


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"nowhere.yaml: no such file"):
        given_options(["nowhere.yaml"])
