from __future__ import annotations

from pathlib import Path

import pytest

from alignbench.errors import UserError
from alignbench.recipe.document import Node
from alignbench.recipe.profile import choose


def node(value: object) -> Node:
    if isinstance(value, dict):
        return Node({key: node(child) for key, child in value.items()}, "here")
    return Node(value, "here")  # type: ignore[arg-type]


HUB = node({"model": {"source": "hub", "name": "gpt2"}, "data": {"source": "hh_rlhf"}})
SCRATCH = node({"model": {"source": "scratch"}, "data": {"source": "sandbox"}})
BOTH = {"gpu": HUB, "cpu": SCRATCH}


class Machine:
    """Sets what `alignbench.machine` finds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def has(self, cuda: bool, cached: bool = False, reach: bool = False) -> None:
        answers = {
            "cuda": lambda: (cuda, "CUDA device X" if cuda else "no CUDA device on this machine"),
            "hub_cached": lambda name, revision: cached and (name, revision) == ("gpt2", "main"),
            "hub_reach": lambda name: (reach, f"the hub {'has' if reach else 'lacks'} {name}"),
        }
        for name, answer in answers.items():
            self.monkeypatch.setattr(f"alignbench.machine.{name}", answer)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_cpu_without_cuda_and_one_line_says_so(machine: Machine) -> None:
    machine.has(cuda=False, cached=True)
    choice = choose("auto", BOTH)
    assert choice.name == "cpu"
    assert choice.sentence() == (
        "Profile cpu: chosen automatically, no CUDA device on this machine. Unlike profile gpu: "
        "model scratch instead of hub gpt2, data sandbox instead of hh_rlhf."
    )


def test_gpu_needs_the_model_too(machine: Machine) -> None:
    machine.has(cuda=True, cached=True)
    cached = choose("auto", BOTH)
    assert cached.name == "gpu"
    assert cached.reason.endswith("CUDA device X, model gpt2 in the local hub cache")
    machine.has(cuda=True, reach=True)
    assert choose("auto", BOTH).name == "gpu"
    machine.has(cuda=True)
    absent = choose("auto", BOTH)
    assert absent.name == "cpu"
    assert "model gpt2 is not in the local hub cache and the hub lacks gpt2" in absent.reason


def test_a_local_model_must_be_there(machine: Machine, tmp_path: Path) -> None:
    machine.has(cuda=True)

    def named(path: Path) -> str:
        gpu = node({"model": {"source": "path", "path": str(path)}, "data": {"source": "sandbox"}})
        return choose("auto", {"gpu": gpu, "cpu": SCRATCH}).name

    assert named(tmp_path) == "gpu"
    assert named(tmp_path / "missing") == "cpu"


def test_names_are_checked_and_nothing_is_guessed(machine: Machine) -> None:
    machine.has(cuda=False)
    assert choose("gpu", BOTH).reason == "asked for by --profile"
    with pytest.raises(UserError) as caught:
        choose("gpuu", BOTH)
    assert str(caught.value) == (
        '--profile: unknown profile "gpuu" (did you mean "gpu"?); this recipe has: gpu, cpu'
    )
    with pytest.raises(UserError, match="no gpu profile, and the recipe has no cpu profile"):
        choose("auto", {"small": SCRATCH, "large": HUB})
    with pytest.raises(UserError, match="no CUDA device on this machine, and the recipe has no"):
        choose("auto", {"gpu": HUB, "large": HUB})


def test_the_only_profile_is_taken(machine: Machine) -> None:
    machine.has(cuda=False)
    assert choose("auto", {"gpu": HUB}).sentence() == "Profile gpu: the recipe's only one."


def test_same_model_and_data_is_said(machine: Machine) -> None:
    machine.has(cuda=False)
    assert choose("b", {"a": HUB, "b": HUB}).differences == (
        "Unlike profile a: same model and data",
    )


def test_a_recipe_too_wrong_to_read_still_gets_a_profile(machine: Machine) -> None:
    machine.has(cuda=True)
    wrong = {"gpu": node({"model": 3}), "cpu": node({})}
    assert choose("auto", wrong).name == "gpu"
