"""The injected bugs still hit what they aim at."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.gate.bugs import BUGS

ROOT = Path(__file__).parents[2]


def test_a_patch_waits_for_its_module() -> None:
    code = (
        "import sys; from tests.gate.bugs import install; install('padding_rewarded');"
        "assert 'torch' not in sys.modules;"
        "import alignbench.models.reward as r; assert r.right_pad.__module__ == 'tests.gate.bugs';"
        "assert 'trl' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("bug", ["prompt_in_loss", "padding_in_loss"])
def test_pairs_get_the_wrong_mask(bug: str) -> None:
    module = SimpleNamespace(DataCollatorForPreference=type("Collator", (), {}))
    batch = {
        "attention_mask": torch.tensor([[1, 1, 1, 0]]),
        "completion_mask": torch.tensor([[0, 1, 1, 0]]),
    }
    module.DataCollatorForPreference.torch_call = lambda self, examples: batch
    patch = dict(BUGS[bug])["trl.trainer.dpo_trainer"]
    patch(module)  # type: ignore[arg-type]
    mask = module.DataCollatorForPreference().torch_call([])["completion_mask"]
    assert (
        mask.tolist() == {"prompt_in_loss": [[1, 1, 1, 0]], "padding_in_loss": [[0, 1, 1, 1]]}[bug]
    )


AIMS = {
    "alignbench.training.onpolicy": "OnPolicyTrainer._training_batch",
    "alignbench.stages.method": "_inputs",
    "alignbench.stages.sft": "example",
    "alignbench.models.reward": "right_pad",
    "trl.trainer.dpo_trainer": "DataCollatorForPreference.torch_call",
}


def test_everything_that_is_patched_exists() -> None:
    modules = {module for patches in BUGS.values() for module, _ in patches}
    assert modules == set(AIMS)
    for module, path in AIMS.items():
        found = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        assert callable(found)
