"""The shipped base model: used only where it fits, and what its stage would make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignbench import pretrained
from alignbench.files import read_jsonl
from alignbench.models.load import load_policy
from alignbench.recipe.load import load
from alignbench.recipe.schema import Recipe
from alignbench.stage import StageContext
from alignbench.stages import base, data

RECIPE = Path(__file__).parents[2] / "recipes" / "gpt2_all.yaml"


class Enough(Exception):
    """Stops a training that has shown what it had to."""


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load(RECIPE, profile="cpu").recipe


@pytest.fixture(scope="module")
def corpus(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data")
    config = {"data": recipe.data.model_dump(mode="json"), "content": None}
    data.run(StageContext(out, config, {}, lambda *_, **__: None, lambda *_: None))
    return out


def run(
    recipe: Recipe, corpus: Path, out: Path, stop: int = 0, **changes: Any
) -> list[tuple[str, str]]:
    assert recipe.pretrain is not None
    notes: list[tuple[str, str]] = []

    def progress(done: int, total: int, **_: Any) -> None:
        if stop and done >= stop:
            raise Enough

    config = {
        "model": recipe.model.model_dump(mode="json"),
        "pretrain": {**recipe.pretrain.model_dump(mode="json"), **changes},
        "precision": recipe.precision,
        "max_prompt_tokens": recipe.max_prompt_tokens,
        "max_response_tokens": recipe.max_response_tokens,
    }
    note = lambda kind, text: notes.append((kind, text))  # noqa: E731
    base.run(StageContext(out, config, {"data": corpus}, progress, note))
    return notes


def test_the_default_recipe_takes_the_shipped_model_and_says_so(
    recipe: Recipe, corpus: Path, tmp_path: Path
) -> None:
    notes = run(recipe, corpus, tmp_path)
    assert [kind for kind, _ in notes] == ["substitution"]
    assert "not pre-trained here" in notes[0][1]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["shipped"] is True
    model, tokenizer = load_policy(tmp_path / "model")
    heldout = [row["text"] for row in read_jsonl(corpus / "heldout.jsonl")]
    found = base.heldout_loss(model, tokenizer, heldout)
    # What it was measured at when made, but for the half precision that it ships in.
    assert found == pytest.approx(pretrained.record()["measured"]["heldout_loss"], abs=2e-3)


@pytest.mark.parametrize(("key", "value"), [("seed", 1), ("steps", 10)])
def test_other_settings_are_trained_and_said(
    key: str, value: int, recipe: Recipe, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(Enough):
        run(recipe, corpus, tmp_path, stop=2, **{key: value})


def test_mismatch_names_the_part(recipe: Recipe, corpus: Path) -> None:
    assert recipe.pretrain is not None
    model, settings = recipe.model.model_dump(mode="json"), recipe.pretrain.model_dump(mode="json")
    wanted = pretrained.provenance(model, settings, corpus)
    assert pretrained.mismatch(wanted) is None
    assert pretrained.mismatch({**wanted, "corpus_sha256": "0" * 64}) == "corpus_sha256"
    assert pretrained.mismatch({**wanted, "model": {**model, "n_layer": 3}}) == "model"


@pytest.mark.slow
def test_training_again_follows_the_recorded_losses(
    recipe: Recipe, corpus: Path, tmp_path: Path
) -> None:
    """The first 3 % of the steps, since all of them take ten minutes: same losses as recorded."""
    with pytest.raises(Enough):
        run(recipe, corpus, tmp_path, stop=421, shipped=False)
    again = read_jsonl(tmp_path / "log.jsonl")
    shipped = read_jsonl(pretrained.FOLDER / "log.jsonl")[: len(again)]
    assert len(again) >= 3
    assert [row["step"] for row in again] == [row["step"] for row in shipped]
    for ours, theirs in zip(again, shipped, strict=True):
        # Another thread count or processor rounds otherwise, and the differences grow.
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.02)
