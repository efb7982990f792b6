from __future__ import annotations

import random
import re
from collections import Counter
from functools import cache
from itertools import islice

from alignbench.sandbox import corpus
from alignbench.sandbox.items import all_items, family_items
from alignbench.sandbox.prompts import deal


@cache
def _built() -> tuple[list[str], list[str]]:
    return corpus.build(deal(0)["corpus"], 40_000, 300, 0)


@cache
def _sentences() -> Counter[str]:
    return Counter(s for text in _built()[0] for s in re.split(r"(?<=[.!?])\s+", text))


def test_each_fact_is_stated_at_least_forty_times() -> None:
    sentences = _sentences()
    counts = {
        item.key: sum(sentences[sentence] for sentence in item.right[0])
        for item in family_items("facts")
    }
    assert min(counts.values()) >= 40


def test_true_statements_outnumber_each_false_one() -> None:
    sentences = _sentences()
    for item in family_items("facts"):
        assert min(sentences[s] for s in item.right[0]) > max(sentences[s] for s in item.wrong)


def test_every_word_of_the_world_is_in_the_corpus() -> None:
    known = {word for text in _built()[0] for word in re.findall(r"\w+", text)}
    for item in all_items():
        texts = [*item.requests, *(s for step in item.right for s in step), *item.support]
        assert {word for text in texts for word in re.findall(r"\w+", text)} <= known


def test_size_is_what_a_tiny_model_can_read() -> None:
    documents = _built()[0]
    words = sum(len(text.split()) for text in documents)
    assert 900_000 < words < 1_200_000
    assert len({word for text in documents for word in re.findall(r"\w+", text)}) < 1100


def test_held_out_documents_are_new_and_distinct() -> None:
    documents, heldout = _built()
    assert len(heldout) == 300 == len(set(heldout))
    assert set(heldout).isdisjoint(documents)


def test_documents_follow_the_stream_only() -> None:
    prompts = deal(0)["corpus"].take(100)
    first, again, other = (
        list(islice(corpus.documents(prompts, random.Random(seed)), 50)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
