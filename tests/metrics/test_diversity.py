from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from alignbench.metrics.diversity import Corpus, distinct_n, self_bleu


def nltk_self_bleu(texts: list[list[str]], n: int) -> float:
    smooth = SmoothingFunction().method1
    scores = [
        sentence_bleu(texts[:i] + texts[i + 1 :], text, (1 / n,) * n, smooth)
        for i, text in enumerate(texts)
    ]
    return float(np.mean(scores))


def random_corpus(seed: int) -> list[list[str]]:
    """Small vocabularies give ties in counts; some texts are empty, short or duplicates."""
    random = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(int(random.integers(2, 12)))]
    texts = [
        [str(word) for word in random.choice(words, int(random.integers(0, 12)))]
        for _ in range(int(random.integers(2, 15)))
    ]
    return texts + texts[: int(random.integers(0, 3))]


def test_distinct_counts_by_hand() -> None:
    # Unigrams a b a | a b: {a, b} of 5. Bigrams ab ba | ab: {ab, ba} of 3; none across texts.
    assert distinct_n(["a b a", "a b"], 1) == 2 / 5
    assert distinct_n(["a b a", "a b"], 2) == 2 / 3
    assert distinct_n(["a b a", "a b"], 3) == 1.0
    assert math.isnan(distinct_n(["a b a", "a b"], 4))
    assert math.isnan(distinct_n([], 1))


def test_distinct_of_token_ids_equals_that_of_words() -> None:
    assert distinct_n([[1, 2, 1], [1, 2]], 2) == 2 / 3


def test_self_bleu_by_hand() -> None:
    # "a b c" against "a b d": unigrams 2/3, bigrams 1/2, same length, no penalty.
    assert self_bleu(["a b c", "a b d"], 2) == pytest.approx(math.sqrt(2 / 3 * 1 / 2), abs=1e-12)
    # "a" against "a b": precision 1, penalty exp(1 - 2); "a b" against "a": precision 1/2.
    assert self_bleu(["a", "a b"], 1) == pytest.approx((math.exp(-1) + 1 / 2) / 2, abs=1e-12)


def test_clipping_uses_the_second_largest_count_for_the_holder() -> None:
    # "a a a" may match 2 of its 3 (the best other text has two); "a a" both; "a" its one.
    texts = ["a a a", "a a", "a"]
    expected = (2 / 3 + 1 + math.exp(1 - 2)) / 3
    assert self_bleu(texts, 1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 4, 5])
@pytest.mark.parametrize("seed", range(40))
def test_self_bleu_equals_nltk(seed: int, n: int) -> None:
    texts = random_corpus(seed)
    assert self_bleu(texts, n) == pytest.approx(nltk_self_bleu(texts, n), abs=1e-9)


def test_extremes() -> None:
    assert self_bleu(["a b c d e"] * 3) == pytest.approx(1.0, abs=1e-12)
    assert self_bleu(["a b", "c d"], 2) == 0.0
    assert self_bleu(["", "", "a"], 2) == 0.0
    assert math.isnan(self_bleu(["a b c"]))
    assert math.isnan(self_bleu([]))


def test_a_subset_equals_the_corpus_of_the_subset() -> None:
    for seed in range(20):
        texts = random_corpus(seed)
        keep = np.random.default_rng(seed).random(len(texts)) < 0.6
        if keep.sum() < 2:
            continue
        kept = [text for text, kept in zip(texts, keep, strict=True) if kept]
        corpus = Corpus(texts, 4)
        assert corpus.self_bleu(4, keep) == pytest.approx(self_bleu(kept), abs=1e-12)
        assert corpus.distinct(2, keep) == pytest.approx(distinct_n(kept, 2), nan_ok=True)


# shared/data/README.md; the published figures have three digits and were cut rather than rounded.
@pytest.mark.parametrize(
    ("model", "published"),
    [("mle", (0.916, 0.769, 0.583, 0.408)), ("textgan", (0.942, 0.931, 0.804, 0.746))],
)
def test_published_texygen_values(
    real_data: Path, model: str, published: tuple[float, ...]
) -> None:
    with gzip.open(real_data / "texygen" / f"{model}.txt.gz", "rt") as lines:
        corpus = Corpus(lines.read().splitlines(), 5)
    assert len(corpus.lengths) == 9984
    measured = [corpus.self_bleu(n) for n in (2, 3, 4, 5)]
    assert measured == pytest.approx(published, abs=1.05e-3)
