"""OpenAssistant Conversations (Köpf et al. 2023, arXiv:2304.07327): trees of ranked replies.

A file of trees holds ``{"message_tree_id", "prompt": {..., "replies": [...]}}`` a line; the hub's
oasst1 holds the same messages flat, a row each with ``parent_id``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from alignbench.data.found import Found, Malformed, Unusable, comparison, example
from alignbench.data.messages import Message, finite, kind, prompt_of, text
from alignbench.data.reading import each
from alignbench.errors import UserError, printable

FORM = (
    '{"prompt": {"message_id": …, "text": …, "role": "prompter", "replies": […]}} '
    'or {"message_id": …, "parent_id": …, "text": …, "role": …, "rank": …}'
)
SIDES = {"prompter": "user", "assistant": "assistant"}


@dataclass
class Node:
    """A message and its replies; `rank` counts from 0, the best, among its siblings."""

    id: str
    parent: str | None
    text: str
    role: str
    rank: float | None
    lang: str | None
    dropped: str
    synthetic: bool
    replies: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class _Step:
    """A node with what was said up to and with it; `best`: by the best answer at every step."""

    node: Node
    said: tuple[Message, ...]
    best: bool


def find(path: str, lang: str | None = None) -> Found:
    """All pairs of differently ranked answers to one message, and the examples on best paths.

    K ranked siblings give K (K - 1) / 2 pairs. An example is the best answer (lowest rank; the
    only one where none is ranked) to a message that was reached by the best answer at every step.

    Args:
        path: as `reading.read_lines` takes it.
        lang: only trees whose first message is in this language.

    Raises:
        UserError: unreadable data, malformed records, or rows whose tree has no beginning.
    """
    roots: list[Node] = []
    rows: list[Node] = []

    def take(values: dict[str, Any]) -> None:
        if isinstance(values.get("prompt"), dict):
            roots.append(_tree(values["prompt"]))
        else:
            rows.append(_node(values))

    each(path, FORM, take)
    found = Found()
    roots += _planted(rows, found.skipped)
    if lang is not None:
        kept = [root for root in roots if root.lang == lang]
        if not kept:
            known = ", ".join(sorted({printable(str(root.lang)) for root in roots}))
            raise UserError(f"data.lang: no tree in {printable(lang)}; there are: {known}")
        found.skipped["trees in another language"] += len(roots) - len(kept)
        roots = kept
    counts: Counter[str] = Counter(trees=len(roots))
    for root in roots:
        _read_tree(root, found, counts)
    names = ("trees", "messages", "ranked nodes", "ranked pairs", "without synthetic side")
    found.facts = {name: counts[name] for name in names}
    found.skipped = +found.skipped
    return found


def _node(values: dict[str, Any]) -> Node:
    for key in ("message_id", "text", "role"):
        text(values, key)
    if values["role"] not in SIDES:
        raise Malformed('"role" must be prompter or assistant')
    parent, rank, lang = (values.get(key) for key in ("parent_id", "rank", "lang"))
    if rank is not None and not finite(rank):
        raise Malformed(f'"rank" must be a number; found {kind(rank)}')
    if parent is not None and not isinstance(parent, str):
        raise Malformed(f'"parent_id" must be text; found {kind(parent)}')
    dropped = ""
    if values.get("deleted"):
        dropped = "deleted messages"
    elif values.get("review_result") is False:
        dropped = "messages that did not pass the review"
    return Node(
        values["message_id"], parent, values["text"], SIDES[values["role"]], rank, lang, dropped,
        bool(values.get("synthetic")),
    )  # fmt: skip


def _tree(values: dict[str, Any]) -> Node:
    """A tree as nodes, without recursion: a file may nest deeper than Python calls."""
    root = _node(values)
    waiting = [(root, values)]
    while waiting:
        node, own = waiting.pop()
        replies = own.get("replies") or []
        if not isinstance(replies, list) or not all(isinstance(reply, dict) for reply in replies):
            raise Malformed(f'"replies" must be a list of messages; found {kind(replies)}')
        node.replies = [_node(reply) for reply in replies]
        waiting += zip(node.replies, replies, strict=True)
    return root


def _planted(rows: Sequence[Node], skipped: Counter[str]) -> list[Node]:
    """Flat rows as trees, in the order of the rows."""
    nodes: dict[str, Node] = {}
    for row in rows:
        if row.id in nodes:
            skipped["repeated message_id"] += 1
        else:
            nodes[row.id] = row
    roots = []
    for node in nodes.values():
        if node.parent is None:
            roots.append(node)
        elif (parent := nodes.get(node.parent)) is not None:
            parent.replies.append(node)
    reached = sum(1 for root in roots for _ in _walk(root))
    # Messages whose parents are missing, or that are their own ancestors.
    skipped["messages without a path to a first message"] += len(nodes) - reached
    return roots


def _walk(root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.replies


def _read_tree(root: Node, found: Found, counts: Counter[str]) -> None:
    waiting = [_Step(root, (), True)]
    while waiting:
        node, said, best = (step := waiting.pop()).node, step.said, step.best
        counts["messages"] += 1
        if node.dropped:
            found.skipped[node.dropped] += 1
            found.skipped["messages below those"] += sum(1 for _ in _walk(node)) - 1
            counts["messages"] += sum(1 for _ in _walk(node)) - 1
            continue
        said = (*said, {"role": node.role, "content": node.text})
        answers = [n for n in node.replies if n.role == "assistant" and not n.dropped]
        first = _best(answers)
        if answers and node.role == "user":
            _take(said, answers, first if best else None, found, counts)
            if best and first is None:
                found.skipped["several answers and no ranks (no example)"] += 1
        for reply in reversed(node.replies):
            chosen = best and (reply.role != "assistant" or reply is first)
            waiting.append(_Step(reply, said, chosen))


def _best(answers: Sequence[Node]) -> Node | None:
    """The answer of the lowest rank; the only one, ranked or not; else nobody knows."""
    ranked = [answer for answer in answers if answer.rank is not None]
    if ranked:
        return min(ranked, key=lambda answer: answer.rank or 0)
    return answers[0] if len(answers) == 1 else None


def _take(
    said: Sequence[Message],
    answers: Sequence[Node],
    best: Node | None,
    found: Found,
    counts: Counter[str],
) -> None:
    """Pairs of the answers to the last of `said`, and the example that `best` is."""
    ranked = sorted(
        (answer for answer in answers if answer.rank is not None), key=lambda a: a.rank or 0
    )
    if len(answers) > 1:
        found.skipped["answers without a rank (no pair)"] += len(answers) - len(ranked)
    counts["ranked nodes"] += len(ranked) > 1
    try:
        prompt = prompt_of(said)
    except Unusable as error:
        found.skipped[str(error)] += 1
        return
    for better, worse in combinations(ranked, 2):
        try:
            if better.rank == worse.rank:
                raise Unusable("tied ranks")
            found.comparisons.append(comparison(prompt, better.text, worse.text))
        except Unusable as error:
            found.skipped[str(error)] += 1
            continue
        counts["ranked pairs"] += 1
        counts["without synthetic side"] += not (better.synthetic or worse.synthetic)
    if best is not None:
        try:
            found.examples.append(example(prompt, best.text))
        except Unusable as error:
            found.skipped[str(error)] += 1
