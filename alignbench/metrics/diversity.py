"""Distinct-N and Self-BLEU of a corpus, in time linear in its number of tokens.

Distinct-N (Li et al. 2016, arXiv:1510.03055) is the share of unique n-grams. Self-BLEU (Zhu et al.
2018, Texygen, arXiv:1802.01886) is the mean BLEU of each text with all other texts as references;
it equals NLTK's ``sentence_bleu`` with smoothing method 1 and uniform weights.

Self-BLEU needs no pairwise comparison: the largest count of an n-gram among the *other* texts is
the largest count in the corpus, or the second largest where this text is the one that holds the
largest, and the closest reference length is found in the histogram of lengths. Both follow from
one n-gram table, which `Corpus` builds once and can re-evaluate on any subset of the texts; the
jackknife intervals of `alignbench.stats.jackknife` rest on that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tokens = Sequence[str] | Sequence[int]
Text = str | Tokens
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Chen and Cherry (2014), method 1: what replaces a zero numerator. NLTK's default.
EPSILON = 0.1


@dataclass(frozen=True)
class _Order:
    """All (text, n-gram) entries of one order, sorted by n-gram, then by falling count."""

    text: Ints
    gram: Ints
    count: Ints


class Corpus:
    """The n-gram table of a list of texts.

    Args:
        texts: strings (split at white space) or lists of tokens.
        max_order: largest n that will be asked for.
    """

    def __init__(self, texts: Sequence[Text], max_order: int) -> None:
        tokens: list[Tokens] = [text.split() if isinstance(text, str) else text for text in texts]
        self.lengths: Ints = np.array([len(text) for text in tokens], dtype=np.int64)
        self._orders = [_table(tokens, n) for n in range(1, max_order + 1)]

    def distinct(self, n: int, keep: Bools | None = None) -> float:
        """Distinct-n of the texts in `keep` (bool, shape (texts,); default all); nan if empty."""
        order = self._orders[n - 1]
        chosen = slice(None) if keep is None else keep[order.text]
        gram, total = order.gram[chosen], int(order.count[chosen].sum())
        unique = 1 + int((gram[1:] != gram[:-1]).sum())  # the table is sorted by n-gram
        return unique / total if total else float("nan")

    def self_bleu(self, n: int, keep: Bools | None = None) -> float:
        """Self-BLEU-n of the texts in `keep`, each against all other kept ones; nan if under 2."""
        if keep is None:
            keep = np.ones(len(self.lengths), dtype=np.bool_)
        if keep.sum() < 2:
            return float("nan")
        log_precision = np.zeros(len(keep))
        for order, table in enumerate(self._orders[:n], start=1):
            matches = _clipped_matches(table, keep)
            if order == 1:
                matched = matches > 0  # NLTK: no shared unigram, no score
            numerator = np.where(matches == 0, EPSILON, matches)
            log_precision += np.log(numerator / np.maximum(1, self.lengths - order + 1))
        penalty = _brevity_penalty(self.lengths, keep)
        bleu = np.where(matched, penalty * np.exp(log_precision / n), 0.0)
        return float(bleu[keep].mean())


def distinct_n(texts: Sequence[Text], n: int) -> float:
    """Number of unique n-grams over number of n-grams, n-grams never crossing texts.

    Args:
        texts: strings (split at white space) or token lists.
        n: order of the n-grams, at least 1.

    Returns:
        A share in (0, 1]; nan when no text has n tokens.
    """
    return Corpus(texts, n).distinct(n)


def self_bleu(texts: Sequence[Text], n: int = 4) -> float:
    """Mean BLEU-n of each text against all others, smoothing method 1, uniform weights.

    Args:
        texts: strings (split at white space) or token lists. An empty text scores 0.
        n: highest n-gram order, at least 1.

    Returns:
        A share in [0, 1], higher = less diverse; nan for fewer than two texts.
    """
    return Corpus(texts, n).self_bleu(n)


def _table(tokens: Sequence[Tokens], n: int) -> _Order:
    identifiers: dict[tuple[str | int, ...], int] = {}
    text_ids: list[int] = []
    gram_ids: list[int] = []
    counts: list[int] = []
    for index, text in enumerate(tokens):
        grams = Counter(zip(*(text[start:] for start in range(n)), strict=False))
        for gram, count in grams.items():
            text_ids.append(index)
            gram_ids.append(identifiers.setdefault(gram, len(identifiers)))
            counts.append(count)
    columns = np.array([text_ids, gram_ids, counts], dtype=np.int64)
    text, gram, count = columns[:, np.lexsort((-columns[2], columns[1]))]
    return _Order(text, gram, count)


def _clipped_matches(table: _Order, keep: Bools) -> Ints:
    """Per text: sum over its n-grams of min(own count, largest count in another kept text)."""
    chosen = keep[table.text]
    text, gram, count = table.text[chosen], table.gram[chosen], table.count[chosen]
    if not len(text):
        return np.zeros(len(keep), dtype=np.int64)
    first = np.flatnonzero(np.r_[True, gram[1:] != gram[:-1]])
    holders = np.diff(np.r_[first, len(gram)])
    second = np.where(holders > 1, count[np.minimum(first + 1, len(count) - 1)], 0)
    limit = np.repeat(count[first], holders)
    limit[first] = second
    clipped = np.bincount(text, weights=np.minimum(count, limit), minlength=len(keep))
    return clipped.astype(np.int64)


def _brevity_penalty(lengths: Ints, keep: Bools) -> NDArray[np.float64]:
    """Per text: exp(1 - r / c), r the closest length of another kept text (ties: the shorter)."""
    kept, copies = np.unique(lengths[keep], return_counts=True)
    closest = np.zeros(len(lengths), dtype=np.int64)
    for position, length in enumerate(kept):
        if copies[position] > 1:
            nearest = length
        else:
            near = [kept[i] for i in (position - 1, position + 1) if 0 <= i < len(kept)]
            nearest = min(near, key=lambda other: (abs(other - length), other))
        closest[lengths == length] = nearest
    shorter = lengths < closest
    return np.where(shorter, np.exp(1 - closest / np.maximum(1, lengths)), 1.0)
