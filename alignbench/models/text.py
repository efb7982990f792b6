"""Text to token ids and back, the same way in training, rollouts, scoring and evaluation.

Prompt and response are tokenised apart and joined as ids, never as text, so that the ids of a
prompt are always a prefix of the sequence and no BPE merge crosses the border (trl-notes, bite 9).
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from alignbench.data.dialogue import turns

# Anthropic HH-RLHF's dialogue form, for models without a chat template. Further turns, if any,
# are part of the prompt text in the same form (`data.dialogue`).
PLAIN_FORMAT = "\n\nHuman: {prompt}\n\nAssistant:"


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Token ids of a user's prompt, up to and including what opens the assistant's turn.

    Uses the tokenizer's chat template if it has one, with a message for every turn of the prompt,
    else `PLAIN_FORMAT`.
    """
    if tokenizer.chat_template is None:
        text = PLAIN_FORMAT.format(prompt=prompt.strip())
        return list(tokenizer(text, add_special_tokens=True)["input_ids"])
    ids = tokenizer.apply_chat_template(
        turns(prompt), add_generation_prompt=True, tokenize=True, return_dict=False
    )
    return list(ids)


def odd_turn_end(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """What is odd about how the chat template ends an assistant's turn; None where it is with EOS.

    Responses end in EOS here, whatever the template does. Where the two differ, the model has
    learnt another end, and goes on after its answer until it is taught better.
    """
    if tokenizer.chat_template is None:
        return None
    question, said = {"role": "user", "content": "a"}, "Yes."
    before = tokenizer.apply_chat_template([question], add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template(
        [question, {"role": "assistant", "content": said}], tokenize=False
    )
    end = whole.removeprefix(before).removeprefix(said).strip()
    if end.startswith(tokenizer.eos_token):
        return None
    shown = f'with "{end[:40]}"' if end else "with nothing"
    return (
        f"the chat template ends an assistant's turn {shown}, and not with the tokenizer's end "
        f'token "{tokenizer.eos_token}", with which responses end here'
    )


def encode_response(tokenizer: PreTrainedTokenizerBase, response: str) -> list[int]:
    """Token ids of an assistant's response, ending in EOS.

    In the plain form the text follows "Assistant:" after a space; a chat template has said
    already all that comes before the text. Special tokens written in the text stay text.
    """
    text = response.strip()
    if tokenizer.chat_template is None:
        text = f" {text}"
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [*ids, tokenizer.eos_token_id]


def decode_response(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Text of a response: what precedes the first EOS, stripped.

    Other special tokens that a model emits stay visible, so that scorers see them as the garbage
    they are.
    """
    content = list(ids)
    if tokenizer.eos_token_id in content:
        content = content[: content.index(tokenizer.eos_token_id)]
    text = tokenizer.decode(content, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return str(text).strip()
