from __future__ import annotations

from pathlib import Path

import pytest

from alignbench.models.load import load_tokenizer
from alignbench.models.text import encode_prompt, encode_response
from alignbench.models.tokenizer import ROLES, train_tokenizer

CORPUS = [
    "Paris is a city.",
    "\n\nHuman: Is Paris a city?\n\nAssistant: Paris is a city.",
] * 20


@pytest.mark.parametrize("text", ["Paris", "été 日本 \U0001f600\x00", "a\n b\t  c"])
def test_any_text_survives_the_way_there_and_back(text: str) -> None:
    tokenizer = train_tokenizer(CORPUS, 300, 64)
    assert tokenizer.decode(tokenizer(text)["input_ids"]).removeprefix(" ") == text


def test_a_word_has_the_same_tokens_wherever_it_stands() -> None:
    tokenizer = train_tokenizer(CORPUS, 300, 64)
    [word] = tokenizer("Paris")["input_ids"]
    assert tokenizer.decode([word]) == " Paris"
    assert encode_prompt(tokenizer, "Paris is")[1] == word
    assert encode_prompt(tokenizer, "a Paris")[2] == word
    assert encode_response(tokenizer, "Paris") == [word, tokenizer.eos_token_id]


def test_a_turn_costs_two_tokens() -> None:
    tokenizer = train_tokenizer(CORPUS, 300, 64)
    human, assistant = (tokenizer.convert_tokens_to_ids(role) for role in ROLES)
    ids = encode_prompt(tokenizer, "Paris")
    assert [ids[0], ids[-1]] == [human, assistant]
    assert len(ids) == 3


def test_merges_are_not_spent_on_the_role_markers() -> None:
    tokenizer = train_tokenizer(CORPUS, 300, 64)
    assert not {"Human", "ĠHuman", "Assistant"} & set(tokenizer.get_vocab())


def test_size_is_as_asked_or_smaller_when_nothing_is_left_to_merge() -> None:
    assert len(train_tokenizer(CORPUS, 265, 64)) == 265
    assert len(train_tokenizer(["a b"], 5000, 64)) < 300


def test_reloaded_tokenizer_encodes_alike(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(CORPUS, 300, 64)
    tokenizer.save_pretrained(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    reloaded = load_tokenizer(tmp_path)
    for text in (*CORPUS[:2], " two  spaces", "<|endoftext|>x"):
        assert reloaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert encode_prompt(reloaded, "Paris") == encode_prompt(tokenizer, "Paris")
    assert encode_response(reloaded, "<|pad|>") == encode_response(tokenizer, "<|pad|>")
    assert (reloaded.eos_token_id, reloaded.pad_token_id) == (0, 1)
