"""The tiny world is one in which mistakes show."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from alignbench.conformance import world as worlds
from alignbench.conformance.world import World
from alignbench.data.dataset import FILES
from alignbench.files import read_jsonl
from alignbench.models.decode import Decoding, sample
from alignbench.models.load import load_policy, weights_digest
from alignbench.models.reward import RewardScorer
from alignbench.models.text import decode_response, encode_prompt, encode_response


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return worlds.build(tmp_path_factory.mktemp("world") / "w")


def test_has_the_files_of_the_stages(world: World) -> None:
    for name in FILES:
        assert read_jsonl(world.data / f"{name}.jsonl")
    start, words = load_policy(world.sft / "model")
    certified = json.loads((world.sft / "metrics.json").read_text())["weights_digest"]
    assert weights_digest(start) == certified
    assert json.loads((world.reward / "metrics.json").read_text())["train_pairs"] == worlds.PAIRS
    for row in read_jsonl(world.data / "pairs_proxy.jsonl"):
        ids = encode_response(words, row["chosen"])
        assert len(ids) <= worlds.MAX_RESPONSE
        assert decode_response(words, ids) == row["chosen"]
        assert len(encode_prompt(words, row["prompt"])) <= worlds.MAX_PROMPT


def test_a_carelessly_loaded_model_has_dropout(world: World) -> None:
    careless = AutoModelForCausalLM.from_pretrained(world.sft / "model")
    assert careless.config.resid_pdrop == worlds.DROPOUT
    assert load_policy(world.sft / "model")[0].config.resid_pdrop == 0


def test_some_answers_end_and_some_are_cut_and_eos_counts(world: World) -> None:
    model, words = load_policy(world.sft / "model")
    prompts = [encode_prompt(words, "w01 w02")] * 200
    drawn = sample(model, words, prompts, Decoding(worlds.MAX_RESPONSE, 1.0), 0, 64)
    assert 0.3 < sum(done.finished for done in drawn) / 200 < 0.7
    scorer = RewardScorer.load(world.reward)
    ended = [done.ids for done in drawn if done.finished and len(done.ids) > 1][:50]
    with_eos = torch.tensor(scorer.score_ids(prompts[: len(ended)], ended))
    without = torch.tensor(scorer.score_ids(prompts[: len(ended)], [ids[:-1] for ids in ended]))
    assert (with_eos - without).abs().min() > 1e-3


def test_wrong_positions_change_log_probabilities(world: World) -> None:
    model, words = load_policy(world.sft / "model")
    ids = torch.tensor([encode_prompt(words, "w01 w02 w03")])
    shifted = torch.arange(ids.shape[1])[None] + 3
    with torch.no_grad():
        right, wrong = (
            model(input_ids=ids, position_ids=places).logits.log_softmax(-1)
            for places in (shifted - 3, shifted)
        )
    assert (right - wrong).abs().max() > 0.05
