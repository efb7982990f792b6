"""The items of the world: for each, its requests and all sentences a response may be built from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from alignbench.sandbox.content import facts, honesty, phrases, safety, tasks

FAMILIES = (
    "facts",
    "how_to",
    "writing",
    "arithmetic",
    "clarify",
    "unanswerable",
    "false_premise",
    "harmful",
    "benign_lookalike",
)


@dataclass(frozen=True)
class Item:
    """One thing that can be asked about, and the grammar of answers to it.

    All strings are whole sentences.

    Attributes:
        family: one of `FAMILIES`.
        key: unique name, e.g. ``facts/capital/France``.
        requests: the same request in different words.
        right: one tuple of alternatives per step; a full answer has a sentence of each step.
            For harmful requests the right answer is a polite refusal.
        vague: honest but insufficient answers (for harmful requests, a curt refusal).
        wrong: false, invented, off-topic or complying answers.
        support: true sentences that add value to a right answer.
    """

    family: str
    key: str
    requests: tuple[str, ...]
    right: tuple[tuple[str, ...], ...]
    vague: tuple[str, ...]
    wrong: tuple[str, ...]
    support: tuple[str, ...]


def _sentence(clause: str) -> str:
    return clause[0].upper() + clause[1:] + "."


def _fill(template: str, **words: str) -> str:
    """Fill ``{x}`` with a word and ``{a x}`` with the word after its indefinite article."""

    def slot(match: re.Match[str]) -> str:
        article, name = match.group(1), match.group(2)
        word = words[name]
        if not article:
            return word
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"

    return re.sub(r"\{(a )?(\w+)\}", slot, template)


def _fill_all(templates: tuple[str, ...], **words: str) -> tuple[str, ...]:
    return tuple(_fill(template, **words) for template in templates)


def _clauses(relation: facts.Relation, subject: str, value: str) -> tuple[str, ...]:
    return _fill_all(relation.statements, s=subject, v=value)


def _fact_support(relation: facts.Relation, subject: str, value: str) -> tuple[str, ...]:
    return _fill_all(relation.support, s=subject, v=value)


def _facts() -> Iterator[Item]:
    for relation in facts.RELATIONS:
        for subject, value in relation.pairs.items():
            others = [v for v in relation.values if v != value]
            yield Item(
                "facts",
                f"facts/{relation.name}/{subject}",
                _fill_all(relation.questions, s=subject),
                (tuple(map(_sentence, _clauses(relation, subject, value))),),
                relation.vague,
                tuple(_sentence(c) for v in others for c in _clauses(relation, subject, v)),
                _fact_support(relation, subject, value),
            )


def _how_to() -> Iterator[Item]:
    for craft in tasks.CRAFTS:
        others = [other for other in tasks.CRAFTS if other is not craft]
        for topic in craft.topics:
            yield Item(
                "how_to",
                f"how_to/{craft.verb}/{topic}",
                _fill_all(tasks.REQUESTS, p=f"{craft.verb} {topic}"),
                (_fill_all(craft.first, t=topic), _fill_all(craft.then, t=topic)),
                _fill_all(tasks.HOW_TO_VAGUE, verb=craft.verb, t=topic),
                tuple(
                    sentence
                    for other in others
                    for sentence in _fill_all(other.first + other.then, t=topic)
                ),
                _fill_all(craft.support, t=topic),
            )


def _writing() -> Iterator[Item]:
    for form, topic in product(tasks.FORMS, tasks.WRITING_TOPICS):
        other_forms = [other for other in tasks.FORMS if other is not form]
        other_topics = [other for other in tasks.WRITING_TOPICS if other != topic]
        yield Item(
            "writing",
            f"writing/{form.name}/{topic}",
            _fill_all(tasks.WRITING_REQUESTS, f=form.name, t=topic),
            (_fill_all(form.start, t=topic), _fill_all(form.end, t=topic)),
            _fill_all(tasks.WRITING_VAGUE, t=topic),
            tuple(
                sentence
                for start_end in (
                    *((other.start + other.end, topic) for other in other_forms),
                    *((form.start + form.end, other) for other in other_topics),
                )
                for sentence in _fill_all(start_end[0], t=start_end[1])
            ),
            _fill_all(form.support, t=topic),
        )


def _arithmetic() -> Iterator[Item]:
    terms = range(1, tasks.LARGEST_TERM + 1)
    cases = [("plus", a, b, a + b) for a, b in product(terms, terms)]
    cases += [("minus", a, b, a - b) for a, b in product(terms, terms) if b <= a]
    for sign, a, b, result in cases:
        first, second = tasks.NUMBERS[a], tasks.NUMBERS[b]
        expression = f"{first} {sign} {second}"
        words = {"e": expression, "a": first, "b": second}
        yield Item(
            "arithmetic",
            f"arithmetic/{first}_{sign}_{second}",
            _fill_all(tasks.ARITHMETIC_REQUESTS, **words),
            (_fill_all(tasks.ARITHMETIC_RIGHT, v=tasks.NUMBERS[result], **words),),
            tasks.ARITHMETIC_VAGUE,
            tuple(
                sentence
                for number, name in enumerate(tasks.NUMBERS)
                if number != result
                for sentence in _fill_all(tasks.ARITHMETIC_RIGHT, v=name, **words)
            ),
            _fill_all(tasks.ARITHMETIC_SUPPORT[sign], **words),
        )


def _clarify() -> Iterator[Item]:
    for verb in honesty.CLARIFY_VERBS:
        yield Item(
            "clarify",
            f"clarify/{verb}",
            _fill_all(honesty.CLARIFY_REQUESTS, v=verb),
            (_fill_all(honesty.CLARIFY_RIGHT, v=verb),),
            honesty.CLARIFY_VAGUE,
            _fill_all(honesty.CLARIFY_WRONG, v=verb),
            _fill_all(honesty.CLARIFY_SUPPORT, v=verb),
        )


def _unanswerable() -> Iterator[Item]:
    for mystery in honesty.MYSTERIES:
        for subject in mystery.subjects:
            yield Item(
                "unanswerable",
                f"unanswerable/{mystery.name}/{subject}",
                _fill_all(mystery.requests, x=subject),
                (_fill_all(mystery.right, x=subject),),
                honesty.UNANSWERABLE_VAGUE,
                _fill_all(mystery.wrong, x=subject),
                _fill_all(mystery.support, x=subject),
            )


def _false_premise() -> Iterator[Item]:
    for relation in facts.RELATIONS:
        if not relation.premise:
            continue
        for i, (subject, value) in enumerate(relation.pairs.items()):
            others = [v for v in relation.values if v != value]
            false = others[i % len(others)]
            claim = _clauses(relation, subject, false)[0]
            truth = _clauses(relation, subject, value)[0]
            lies = [_clauses(relation, subject, v)[0] for v in others]
            yield Item(
                "false_premise",
                f"false_premise/{relation.name}/{subject}",
                _fill_all(honesty.PREMISE_REQUESTS, c=claim),
                (_fill_all(honesty.PREMISE_RIGHT, c=truth),),
                (*honesty.PREMISE_VAGUE, _sentence(truth)),
                (
                    *_fill_all(honesty.PREMISE_WRONG, c=claim),
                    *(s for lie in lies for s in _fill_all(honesty.PREMISE_RIGHT, c=lie)),
                    *map(_sentence, lies),
                ),
                _fact_support(relation, subject, value),
            )


def _harmful() -> Iterator[Item]:
    for harm in safety.HARMS:
        for phrase in harm.requests:
            yield Item(
                "harmful",
                f"harmful/{harm.name}/{phrase}",
                _fill_all(tasks.REQUESTS, p=phrase),
                (phrases.POLITE_REFUSAL,),
                phrases.CURT_REFUSAL,
                phrases.COMPLIANCE,
                (harm.reason, harm.alternative, *phrases.REASON, *phrases.ALTERNATIVE),
            )


def _benign_lookalike() -> Iterator[Item]:
    for look in safety.LOOK_ALIKES:
        others = [other for other in safety.LOOK_ALIKES if other is not look]
        for phrase in look.requests:
            yield Item(
                "benign_lookalike",
                f"benign_lookalike/{look.name}/{phrase}",
                _fill_all(tasks.REQUESTS, p=phrase),
                (_fill_all(look.help, p=phrase),),
                safety.LOOK_ALIKE_VAGUE,
                tuple(s for other in others for s in _fill_all(other.help, p=phrase)),
                look.support,
            )


_BUILDERS: dict[str, Callable[[], Iterator[Item]]] = {
    "facts": _facts,
    "how_to": _how_to,
    "writing": _writing,
    "arithmetic": _arithmetic,
    "clarify": _clarify,
    "unanswerable": _unanswerable,
    "false_premise": _false_premise,
    "harmful": _harmful,
    "benign_lookalike": _benign_lookalike,
}


@cache
def family_items(family: str) -> tuple[Item, ...]:
    """All items of a family, in a fixed order."""
    return tuple(_BUILDERS[family]())


@cache
def all_items() -> tuple[Item, ...]:
    """All items of the world, family by family."""
    return tuple(item for family in FAMILIES for item in family_items(family))
