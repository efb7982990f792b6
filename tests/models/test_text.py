from __future__ import annotations

from typing import Any

import pytest

from alignbench.models.text import (
    decode_response,
    encode_prompt,
    encode_response,
    odd_turn_end,
)
from alignbench.models.tokenizer import ROLES, train_tokenizer
from tests import tiny

CORPUS = ["Paris is a city. It is big."] * 20


@pytest.fixture(scope="module")
def plain() -> Any:
    """A tokenizer without a chat template."""
    return train_tokenizer(CORPUS, 300, 64)


def test_plain_form_is_the_dialogue_that_hh_rlhf_has(plain: Any) -> None:
    prompt = encode_prompt(plain, " Is Paris big? ")
    assert plain.decode(prompt) == "\n\nHuman: Is Paris big?\n\nAssistant:"
    whole = plain("\n\nHuman: Is Paris big?\n\nAssistant: It is.")["input_ids"]
    assert whole == prompt + encode_response(plain, "It is.")[:-1]


def test_a_chat_template_replaces_the_plain_form() -> None:
    tokenizer = tiny.tokenizer()  # its template is "{content} >", and ids are eos 0, pad 1, > 2
    assert encode_prompt(tokenizer, "w1 w2") == [5, 6, 2]
    assert encode_response(tokenizer, "good w1") == [3, 5, 0]


def test_response_ends_in_exactly_one_eos(plain: Any) -> None:
    ids = encode_response(plain, "Paris is big.")
    assert ids[-1] == plain.eos_token_id
    assert ids.count(plain.eos_token_id) == 1


def test_special_tokens_written_in_a_response_stay_text(plain: Any) -> None:
    text = "It is <|endoftext|> big.\n\nHuman: is it?"
    ids = encode_response(plain, text)
    assert ids.count(plain.eos_token_id) == 1
    assert not {plain.convert_tokens_to_ids(role) for role in ROLES} & set(ids)
    assert decode_response(plain, ids) == text


def test_decoding_stops_at_eos_and_strips(plain: Any) -> None:
    ids = encode_response(plain, "Paris")
    assert decode_response(plain, [*ids, *ids]) == "Paris"
    assert decode_response(plain, ids[:-1]) == "Paris"
    assert decode_response(plain, [plain.eos_token_id]) == ""


def test_decoding_shows_other_special_tokens(plain: Any) -> None:
    ids = [plain.pad_token_id, *encode_response(plain, "Paris")]
    assert decode_response(plain, ids) == "<|pad|> Paris"


def test_every_turn_of_a_prompt_is_a_message_of_the_chat() -> None:
    from tests.judges.model import tokenizer

    made = tokenizer()
    ids = encode_prompt(made, "One?\n\nAssistant: Two.\n\nHuman: Three?")
    assert made.decode(ids) == (
        "<|im_start|>user\nOne?<|im_end|>\n<|im_start|>assistant\nTwo.<|im_end|>\n"
        "<|im_start|>user\nThree?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_template_that_ends_turns_with_eos_is_not_odd(plain: Any) -> None:
    from tests.judges.model import tokenizer

    assert odd_turn_end(tokenizer()) is None
    assert odd_turn_end(plain) is None


@pytest.mark.parametrize(("end", "shown"), [("<|tool|>", 'with "<|tool|>"'), ("", "with nothing")])
def test_a_template_that_ends_turns_otherwise_is_said(end: str, shown: str) -> None:
    from tests.judges.model import CHATML, tokenizer

    odd = odd_turn_end(tokenizer(CHATML.replace("<|im_end|>", end)))
    assert odd is not None
    assert shown in odd
    assert '"<|im_end|>"' in odd
