"""Exported folders: plain transformers loads them, and they are the run's or are refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
)

from alignbench import cli
from alignbench.models.load import load_policy, load_reward, save_model, weights_digest
from tests import tiny
from tests.fake_run import FakeRun
from tests.finished_run import Finished, finished_run, read


def with_models(fake: FakeRun) -> None:
    """A random model in every stage that makes one, all digests as they are."""
    digests: dict[str, str] = {}
    for number, (name, folder) in enumerate(fake.inputs.items()):
        kind = name.partition("/")[0]
        if kind not in ("base", "sft", "reward", "train"):
            continue
        torch.manual_seed(number)
        shutil.rmtree(folder / "model", ignore_errors=True)
        if kind == "reward":
            model: Any = GPT2ForSequenceClassification(tiny.config(num_labels=1))
            (folder / "calibration.json").write_text('{"scale": 1.0, "reference": [0.0, 1.0]}')
        else:
            model = GPT2LMHeadModel(tiny.config())
        save_model(model, tiny.tokenizer(), folder / "model")
        loaded, _ = (load_reward if kind == "reward" else load_policy)(folder / "model")
        digests[name] = weights_digest(loaded)
        metrics = read(folder / "metrics.json") | {"weights_digest": digests[name]}
        if kind == "train":
            metrics["start_digest"] = digests["sft"]
        (folder / "metrics.json").write_text(json.dumps(metrics))
    decoder = {"kind": "best_of_n", "n": 4}
    (fake.inputs["train/dpo/0"] / "decoder.json").write_text(json.dumps(decoder))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished_run(tmp_path_factory.mktemp("exported"), with_models)


def export(run: Finished, *arguments: str) -> int:
    return cli.dispatch(["export", str(run.folder), *arguments])


def test_a_row_loads_in_plain_transformers(run: Finished, tmp_path: Path) -> None:
    target = tmp_path / "with spaces ä" / "ppo"
    assert export(run, "ppo", str(target), "--seed", "1") == 0
    model = AutoModelForCausalLM.from_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(target)
    own = AutoModelForCausalLM.from_pretrained(run.artifacts["train/ppo/1"].folder / "model")
    ids = torch.tensor([tokenizer("w1 good w2")["input_ids"]])
    assert torch.equal(model(ids).logits, own(ids).logits)
    other = AutoModelForCausalLM.from_pretrained(run.artifacts["train/ppo/0"].folder / "model")
    assert not torch.equal(model(ids).logits, other(ids).logits)
    assert tokenizer.chat_template == tiny.tokenizer().chat_template
    card = ModelCard.load(target / "README.md")
    assert card.data.to_dict()["library_name"] == "transformers"
    assert weights_digest(own) in card.text
    assert card.content == (run.folder / "cards" / "ppo-1.md").read_text()
    assert not list(target.parent.glob(".*"))


def test_the_shared_models(run: Finished, tmp_path: Path) -> None:
    for name in ("base", "sft"):
        assert export(run, name, str(tmp_path / name)) == 0
        model = AutoModelForCausalLM.from_pretrained(tmp_path / name)
        metrics = read(run.artifacts[name].folder / "metrics.json")
        assert weights_digest(model) == metrics["weights_digest"]
        assert f"# `fake`: `{name}`" in (tmp_path / name / "README.md").read_text()
    assert export(run, "reward/proxy", str(tmp_path / "rm")) == 0
    reward = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm")
    assert reward.config.num_labels == 1
    assert (tmp_path / "rm" / "calibration.json").is_file()


def test_a_decoder_belongs_to_the_method(
    run: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()  # an empty folder will do
    assert export(run, "dpo", str(tmp_path / "out"), "--seed", "0") == 0
    assert read(tmp_path / "out" / "decoder.json") == {"kind": "best_of_n", "n": 4}
    assert "The weights are part of the method only" in (tmp_path / "out/README.md").read_text()
    assert "chosen as decoder.json says" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pop"], 'no model "pop" in this run (did you mean "ppo"?); it has: base, sft, reward/'),
        (["reward/prxy"], '(did you mean "reward/proxy"?)'),
        (["sft_copy"], 'no model "sft_copy" in this run; it has: base, sft, reward'),
        (["\x1b[31m中"], 'no model "\\x1b[31m中"'),
        (["../sft"], 'no model "../sft"'),
        (["ppo"], "ppo has several seeds; choose one with --seed: 0, 1"),
        (["ppo", "--seed", "7"], "ppo has no seed 7; it has: 0, 1"),
        (["sft", "--seed", "0"], "sft has no seeds; leave --seed out"),
        (["ppo", "--seed", "x"], "--seed"),
    ],
)
def test_what_is_not_there(
    run: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    method, *more = arguments
    assert export(run, method, str(tmp_path / "out"), *more) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_paths_in_use_are_left_alone(
    run: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, told in (
        ("full", "is not empty"),
        ("file", "no folder"),
        ("link", "no folder"),
        ("file/below", "cannot be written"),
        (str(run.store.root / "x"), "is in the stage store"),
    ):
        assert export(run, "sft", str(tmp_path / name)) == 2
        assert told in capsys.readouterr().err
    assert (tmp_path / "full" / "mine").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "full", "link"]


def test_a_copy_that_fails_says_why(
    run: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise shutil.Error([("config.json", "out", "[Errno 28] No space left on device")])

    monkeypatch.setattr(shutil, "copytree", full)
    assert export(run, "sft", str(tmp_path / "out")) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_damaged_and_foreign_weights_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forged(fake: FakeRun) -> None:
        with_models(fake)
        metrics = fake.inputs["train/ppo/0"] / "metrics.json"
        metrics.write_text(json.dumps(read(metrics) | {"weights_digest": "0" * 64}))

    run = finished_run(tmp_path, forged)
    assert export(run, "ppo", str(tmp_path / "out"), "--seed", "0") == 2
    assert "are not those that the run certified" in capsys.readouterr().err
    config = run.artifacts["sft"].folder / "model" / "config.json"
    config.write_text(config.read_text() + " ")
    assert export(run, "sft", str(tmp_path / "out")) == 2
    assert "model/config.json changed; run the recipe again" in capsys.readouterr().err
    monkeypatch.setenv("ALIGNBENCH_STORE", str(tmp_path / "elsewhere"))
    assert export(run, "sft", str(tmp_path / "out")) == 2
    assert "sft is not in the store" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_no_run_and_half_a_run(
    run: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.dispatch(["export", str(tmp_path / "none"), "sft", str(tmp_path / "out")]) == 2
    assert "no such run" in capsys.readouterr().err
    from alignbench.run_record import save

    half = tmp_path / "half"
    half.mkdir()
    save(half, {**read(run.folder / "run.json"), "state": "interrupted", "files": {}})
    assert cli.dispatch(["export", str(half), "sft", str(tmp_path / "out")]) == 2
    assert "the run is interrupted" in capsys.readouterr().err
