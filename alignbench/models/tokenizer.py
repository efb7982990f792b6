"""The tokenizer of scratch models: a byte-level BPE trained on the corpus."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from alignbench.models.text import PLAIN_FORMAT

END = "<|endoftext|>"
PAD = "<|pad|>"
# The role markers of `PLAIN_FORMAT` ("\n\nHuman:", "\n\nAssistant:") as one token each: prompts
# need no chat template, dialogues in the corpus come in the same ids as prompts do, and a turn
# costs two tokens where its characters would cost eight.
ROLES = tuple(part.rstrip() for part in PLAIN_FORMAT.split("{prompt}"))


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, max_length: int
) -> PreTrainedTokenizerBase:
    """Learn at most `vocab_size` tokens (fewer if the texts have no more merges to offer).

    Every word is encoded with a leading space, at the start of a text too. So a word has the same
    tokens in a prompt, in a response and in a document, which copying depends on. All 256 bytes
    are tokens: any text survives the way there and back.

    Args:
        texts: the corpus.
        vocab_size: with special tokens and bytes, hence at least 260.
        max_length: tokens that the model has positions for.
    """
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(text, special=True) for text in (END, PAD, *ROLES)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    markers = re.compile("|".join(map(re.escape, (END, PAD, *ROLES))))
    inner.train_from_iterator((part for t in texts for part in markers.split(t)), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=END,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=list(ROLES),
        model_max_length=max_length,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )
