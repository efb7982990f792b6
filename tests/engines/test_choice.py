from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys

import pytest

from alignbench import machine
from alignbench.engines.choice import choose
from tests.test_pipeline import changed, keys, stages

FIND_SPEC = importlib.util.find_spec


def on(monkeypatch: pytest.MonkeyPatch, cuda: bool, vllm: bool) -> None:
    monkeypatch.setattr(machine, "cuda", lambda: (cuda, "a CUDA device" if cuda else "no CUDA"))
    found = importlib.machinery.ModuleSpec("vllm", None) if vllm else None
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: found if name == "vllm" else FIND_SPEC(name)
    )


@pytest.mark.parametrize(
    ("cuda", "vllm", "name", "reason"),
    [
        (False, True, "transformers", "no CUDA"),
        (True, False, "transformers", r"pip install 'alignbench[vllm]'"),
        (True, True, "vllm", "there is CUDA, and vLLM is installed"),
    ],
)
def test_auto(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, vllm: bool, name: str, reason: str
) -> None:
    on(monkeypatch, cuda, vllm)
    chosen = choose("auto")
    assert chosen.name == name
    assert reason in chosen.reason
    assert chosen.sentence().startswith(f"Sampling by {name}: ")


def test_what_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, cuda=False, vllm=False)
    assert choose("vllm_server").name == "vllm_server"
    assert "engine" in choose("vllm").reason


def test_choosing_imports_no_torch() -> None:
    code = (
        "import sys; from alignbench.engines.choice import choose; choose('auto'); "
        "sys.exit('torch' in sys.modules or 'vllm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_resolved_name_is_in_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of stages that sample; and "auto" makes the same stages as the name that it comes to."""
    on(monkeypatch, cuda=False, vllm=False)
    plain = stages()
    assert {s.config["engine"] for s in plain if s.name.startswith("train/")} == {"transformers"}
    assert keys(plain) == keys(stages(settings=("engine=transformers",)))
    on(monkeypatch, cuda=True, vllm=True)
    assert {n.split("/")[0] for n in changed(keys(plain), keys(stages()))} == {
        "trial", "train", "generate", "score", "judge", "matches", "curve",
        "results", "cards", "report",
    }  # fmt: skip
    assert keys(stages()) == keys(stages(settings=("engine=vllm",)))
