from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from alignbench.errors import UserError
from alignbench.models.load import load_policy, save_model, weights_digest
from alignbench.models.tokenizer import train_tokenizer
from alignbench.stages import base
from tests import tiny
from tests.stages.tiny_stages import files, metrics, read_lines, run_stage, write_lines

MODEL = {
    "source": "scratch",
    "n_layer": 1,
    "n_head": 2,
    "n_embd": 32,
    "n_positions": 32,
    "vocab_size": 280,
}
PRETRAIN = {
    "steps": 120,
    "batch_size": 8,
    "block_size": 24,
    "learning_rate": 1e-2,
    "warmup_fraction": 0.1,
    "seed": 0,
}


def text(rng: random.Random) -> str:
    return f"the {rng.choice(('cat', 'dog'))} sees the {rng.choice(('cat', 'dog'))}."


def heldout(root: Path) -> list[dict[str, Any]]:
    return read_lines(root / "data" / "heldout.jsonl")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("base")
    rng = random.Random(0)
    write_lines(root / "data" / "corpus.jsonl", ({"text": text(rng)} for _ in range(300)))
    write_lines(root / "data" / "heldout.jsonl", ({"text": text(rng)} for _ in range(20)))
    config = {"model": MODEL, "pretrain": PRETRAIN}
    assert run_stage(base.run, root / "out", config, {"data": root / "data"}) == []
    return root


def test_output_is_complete_and_holds_nothing_else(trained: Path) -> None:
    assert files(trained / "out") == {"model/", "log.jsonl", "metrics.json"}
    model, tokenizer = load_policy(trained / "out" / "model")
    found = metrics(trained / "out")
    assert found["weights_digest"] == weights_digest(model)
    assert found["vocab_size"] == model.config.vocab_size == len(tokenizer)
    assert found["parameters"] == sum(p.numel() for p in model.parameters())
    assert found["trained_tokens"] == 120 * 8 * 24
    assert model.config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id


def test_learns_the_corpus(trained: Path) -> None:
    loss = [line["loss"] for line in read_lines(trained / "out" / "log.jsonl") if "loss" in line]
    assert loss[0] > 5  # ln 280 = 5.6
    # Nothing but two choices of two is to be known in a text: 2 ln 2 nats, over its tokens.
    _, tokenizer = load_policy(trained / "out" / "model")
    [tokens] = {len(tokenizer(line["text"])["input_ids"]) + 1 for line in heldout(trained)}
    best = 2 * math.log(2) / tokens
    assert 0.9 * best < metrics(trained / "out")["heldout_loss"] < 2 * best


def test_heldout_loss_is_the_mean_over_tokens_with_eos(trained: Path) -> None:
    model, tokenizer = load_policy(trained / "out" / "model")
    texts = ["the cat sees the dog.", "the dog."]
    total, tokens = 0.0, 0
    for one in texts:
        ids = torch.tensor([[0, *tokenizer(one)["input_ids"], 0]])
        with torch.no_grad():
            logits = model(ids).logits[0, :-1]
        total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
        tokens += ids.shape[1] - 1
    assert base.heldout_loss(model, tokenizer, texts) == pytest.approx(total / tokens, rel=1e-5)


def test_repeats_exactly(trained: Path) -> None:
    config = {"model": MODEL, "pretrain": PRETRAIN}
    run_stage(base.run, trained / "again", config, {"data": trained / "data"})
    for name in ("metrics.json", "log.jsonl", "model/model.safetensors", "model/tokenizer.json"):
        assert (trained / "out" / name).read_bytes() == (trained / "again" / name).read_bytes()


def test_documents_are_joined_by_eos_and_cut_in_blocks() -> None:
    tokenizer = train_tokenizer(["a b"], 260, 32)
    a, b, eos = *(tokenizer(x)["input_ids"][-1] for x in "ab"), tokenizer.eos_token_id
    space = tokenizer("a")["input_ids"][0]
    blocks = base.pack(tokenizer, ["a", "b", "a"], 4)
    # The stream is EOS, " ", a, EOS, " ", b, EOS, " ", a: nine tokens, two blocks and a rest.
    assert blocks.tolist() == [[eos, space, a, eos], [space, b, eos, space]]
    with pytest.raises(UserError, match="corpus_documents"):
        base.pack(tokenizer, ["a"], 4)


def test_a_local_model_is_taken_as_it_is(tmp_path: Path) -> None:
    start = tiny.start_folder(tmp_path)
    config: dict[str, Any] = {"model": {"source": "path", "path": str(start)}, "pretrain": None}
    run_stage(base.run, tmp_path / "out", config, {"data": tmp_path})
    assert metrics(tmp_path / "out")["weights_digest"] == weights_digest(load_policy(start)[0])
    config["model"] = {"source": "path", "path": str(tmp_path / "nowhere")}
    with pytest.raises(UserError, match=r"config\.json"):
        run_stage(base.run, tmp_path / "x", config, {"data": tmp_path})


def test_too_few_positions_are_said_before_anything_is_trained_on_them(tmp_path: Path) -> None:
    model, tokenizer = load_policy(tiny.start_folder(tmp_path, n_positions=15))
    save_model(model, tokenizer, tmp_path / "short")
    config = {"model": {"source": "path", "path": str(tmp_path / "short")}, "pretrain": None}
    with pytest.raises(UserError, match=r"15 positions.*is 16"):
        run_stage(base.run, tmp_path / "out", config, {"data": tmp_path})


def test_added_tokens_without_an_embedding_are_said(tmp_path: Path) -> None:
    model, tokenizer = load_policy(tiny.start_folder(tmp_path))
    tokenizer.add_tokens(["<think>"])
    save_model(model, tokenizer, tmp_path / "added" / "model")
    config = {"model": {"source": "path", "path": str(tmp_path / "added" / "model")}}
    with pytest.raises(UserError, match=r"ids up to 19, and the model 19 embeddings.*Resize"):
        run_stage(base.run, tmp_path / "out", config, {})


def test_a_models_digest_is_that_of_all_its_files(tmp_path: Path) -> None:
    model, tokenizer = load_policy(tiny.start_folder(tmp_path))
    digests = []
    for n, template in enumerate((tokenizer.chat_template, "{{ messages[0]['content'] }}<eos>")):
        tokenizer.chat_template = template
        save_model(model, tokenizer, tmp_path / f"model{n}")
        config = {"model": {"source": "path", "path": str(tmp_path / f"model{n}")}}
        run_stage(base.run, tmp_path / f"out{n}", config, {})
        digests.append(metrics(tmp_path / f"out{n}"))
    assert digests[0]["weights_digest"] == digests[1]["weights_digest"]
    assert digests[0]["model_digest"] != digests[1]["model_digest"]
