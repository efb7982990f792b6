"""``alignbench methods new``: a small installable package with a method that passes.

The method in it is fine-tuning on the chosen answers: short, and with every part in place that a
method of one's own replaces. Imports no torch.
"""

from __future__ import annotations

import re
from pathlib import Path

from alignbench.errors import UserError
from alignbench.methods.registry import names

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

PYPROJECT = """\
[build-system]
requires = ["setuptools>=70.1"]
build-backend = "setuptools.build_meta"

[project]
name = "alignbench-{dashed}"
version = "0.1.0"
description = "The alignment method {name} for alignbench"
requires-python = ">=3.11"
dependencies = ["alignbench"]

[project.optional-dependencies]
test = ["pytest>=8"]

# This is how `alignbench` finds the method, under this name, once the package is installed.
[project.entry-points."alignbench.methods"]
{name} = "{module}:{cls}"

[tool.setuptools]
py-modules = ["{module}"]
"""

MODULE = '''\
"""The alignment method {name}, as a plug-in for alignbench."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from alignbench.errors import UserError
from alignbench.methods.base import Inputs, Method, Need, Policy
from pydantic import Field


class {cls}(Method):
    """{name}: fine-tunes on the chosen answers (replace this line and `train`)."""

    name: ClassVar[str] = "{name}"
    # Of PAIRS, PROMPTS, REWARD and LABELLER, what `inputs` must hold.
    needs: ClassVar[frozenset[Need]] = frozenset({{Need.PAIRS}})
    # Options with which `alignbench methods test` tries it on a tiny model.
    example: ClassVar[Mapping[str, Any]] = {{"learning_rate": 1e-3, "batch_size": 4}}

    # The options of a recipe's row are these fields.
    learning_rate: float = Field(gt=0, lt=1)
    batch_size: int = Field(default=16, gt=0)
    epochs: int = Field(default=1, gt=0)

    def train(self, policy: Policy, inputs: Inputs, meter: Any) -> None:
        """Improve `policy.model` in place until the data or the budget ends."""
        # Imported here, so that listing the methods does not load torch.
        import torch
        from alignbench.models.logprobs import padded_logprobs
        from alignbench.models.padding import left_pad, right_pad
        from alignbench.models.text import encode_prompt, encode_response

        if not inputs.pairs:
            raise UserError("{name}: there are no preference pairs to train on")
        words, device = policy.tokenizer, policy.model.device
        optimizer = torch.optim.AdamW(policy.model.parameters(), lr=self.learning_rate)
        rng, step = random.Random(inputs.seed), 0  # all randomness comes from the seed
        for _ in range(self.epochs):
            order = rng.sample(range(len(inputs.pairs)), len(inputs.pairs))
            for start in range(0, len(order), self.batch_size):
                pairs = [inputs.pairs[n] for n in order[start : start + self.batch_size]]
                prompts = [encode_prompt(words, pair.prompt) for pair in pairs]
                answers = [encode_response(words, pair.chosen) for pair in pairs]
                answers = [ids[: inputs.max_response_tokens] for ids in answers]
                left, left_mask = left_pad(prompts, device)
                right, right_mask = right_pad(answers, device)
                logprobs, _ = padded_logprobs(
                    policy.model,
                    torch.cat([left, right], dim=1),
                    torch.cat([left_mask, right_mask], dim=1),
                    right.shape[1],
                )
                loss = -(logprobs * right_mask).sum() / right_mask.sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step += 1
                inputs.log(step, loss=loss.item())
                if meter.exhausted() is not None:
                    return
        meter.finished_early(f"all pairs seen (epochs: {{self.epochs}})")
'''

TEST = '''\
"""The method keeps alignbench's contract."""

from alignbench.conformance.run import conformance

from {module} import {cls}


def test_it_keeps_the_contract() -> None:
    verdicts = conformance({cls})
    assert [verdict for verdict in verdicts if verdict.status == "fail"] == []
'''

README = """\
# alignbench-{dashed}

The alignment method `{name}` for alignbench.

    pip install -e .
    alignbench methods test {name}

In a recipe:

    methods:
      {name}:
        learning_rate: 1.0e-4

Write the method in `{module}.py`; `docs/new-method.md` of alignbench tells how.
"""


def write(name: str, folder: Path) -> list[Path]:
    """Make the package of a method `name` in `folder`, which must be new or empty.

    Returns:
        The files written.

    Raises:
        UserError: a bad or taken name, or a folder that is in use.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f'"{name}" is no name for a method: small letters, digits and single underscores, '
            "starting with a letter, such as my_method"
        )
    if name in names():
        raise UserError(f'there is a method "{name}" already; choose another name')
    module = f"alignbench_{name}"
    known = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "module": module,
        "cls": "".join(part.capitalize() for part in name.split("_")),
    }
    texts = {
        "pyproject.toml": PYPROJECT,
        "README.md": README,
        f"{module}.py": MODULE,
        f"tests/test_{name}.py": TEST,
    }
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} exists already; choose another folder with --out")
        (folder / "tests").mkdir(parents=True)
        for path, text in texts.items():
            (folder / path).write_text(text.format(**known), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}") from error
    return [folder / path for path in texts]
