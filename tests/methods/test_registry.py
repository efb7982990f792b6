from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from alignbench.errors import UserError
from alignbench.methods import registry
from alignbench.methods.grpo import GRPO


def test_built_in_methods_resolve() -> None:
    assert set(registry.BUILTIN) <= set(registry.names())
    method = registry.resolve("grpo", {"learning_rate": 1e-4, "rollouts": 3})
    assert isinstance(method, GRPO)


def test_uses_gives_a_row_a_name_of_its_own() -> None:
    options = {"uses": "grpo", "learning_rate": 1e-4, "rollouts": 3, "kl_coef": 0.0}
    assert isinstance(registry.resolve("grpo_free", options), GRPO)
    options["uses"] = "alignbench.methods.grpo:GRPO"
    assert isinstance(registry.resolve("grpo_free", options), GRPO)


def test_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r'unknown method "gpro".*did you mean "grpo"'):
        registry.resolve("gpro", {})


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("no_such_module_x:Y", "importing no_such_module_x failed"),
        ("alignbench.methods.grpo:Nope", "is not an alignbench.methods.base.Method"),
        ("pathlib:Path", "is not an alignbench.methods.base.Method"),
        ("alignbench.methods.grpo:", "write package.module:Class"),
    ],
)
def test_bad_class_is_named(where: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        registry.resolve("row", {"uses": where})


def test_a_plugin_that_breaks_on_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_plugin.py").write_text("raise ZeroDivisionError('oh')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="importing broken_plugin failed: ZeroDivisionError: oh"):
        registry.resolve("row", {"uses": "broken_plugin:X"})


def test_a_clash_of_names_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("grpo", "somewhere:Else", registry.GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point])
    with pytest.raises(UserError, match='"grpo" is offered by both alignbench and'):
        registry.names()


def test_wrong_options_are_a_validation_error() -> None:
    with pytest.raises(ValidationError, match="learning_rte"):
        registry.resolve("grpo", {"learning_rte": 1e-4, "rollouts": 3})


def test_option_classes_import_no_torch() -> None:
    code = (
        "import sys; from alignbench.methods import registry; registry.describe();"
        "assert not {'torch', 'transformers', 'trl'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_method_says_what_it_is() -> None:
    for name, summary, needs, schema in registry.describe():
        written = summary.lower().replace(" ", "_").replace("-", "_")
        assert written.startswith(name), (name, summary)
        assert needs
        assert schema["properties"]
