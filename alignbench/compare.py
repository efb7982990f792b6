"""Whether the rows of two runs may share a table, by their certificates, field by field.

What must agree, and why, is declared in `results.certificate.FIELDS`. A field that must agree and
is unknown in either run refuses like one that differs: what nobody knows, nobody can certify.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from alignbench.digest import canonical_json
from alignbench.errors import UserError
from alignbench.results.certificate import FIELDS, ROW_FIELDS, Field, Rule

Status = Literal["agrees", "differs", "unknown"]
NEWER = "this version of alignbench does not know what it means"
DEEPEST = 50
_PROMPTS = "eval_prompts"
_ABSENT = object()


@dataclass(frozen=True)
class Line:
    """One field of two certificates.

    Attributes:
        field: its path, dotted.
        rule: as in `Field`.
        status: "unknown" where at least one run does not say.
        unknown_in: "A", "B" or "A and B"; None where both say.
        a: its value in A, and `b` in B; None also where there is none.
        reason: why the rule is what it is, to follow "because".
    """

    field: str
    rule: Rule
    status: Status
    unknown_in: str | None
    a: Any
    b: Any
    reason: str

    @property
    def refuses(self) -> bool:
        """Whether this field alone keeps the runs out of one table."""
        return self.rule == "equal" and self.status != "agrees"


@dataclass(frozen=True)
class PromptDifference:
    """An evaluation prompt that is not the same in both runs.

    Attributes:
        id: its id.
        a: digest of its text in A, None where A has no such prompt; `b` likewise.
    """

    id: str
    a: str | None
    b: str | None


@dataclass(frozen=True)
class Apart:
    """A row that must stand apart in a shared table, and why."""

    row: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """All that two certificates say about each other."""

    lines: Sequence[Line]
    prompts: Sequence[PromptDifference]
    apart: Sequence[Apart]

    @property
    def refusals(self) -> list[Line]:
        """The fields that keep the runs out of one table; none: they may share one."""
        return [line for line in self.lines if line.refuses]


def check(certificate: Any) -> Mapping[str, Any]:
    """A certificate as read from a file, if `compare` can read it.

    Raises:
        UserError: it is not of the shape of a certificate, with the field.
    """
    if not isinstance(certificate, Mapping):
        raise UserError("certificate: not a mapping")
    if _is_deep(certificate):
        raise UserError(f"certificate: nested more than {DEEPEST} levels")
    try:
        canonical_json(certificate)
    except ValueError as error:
        raise UserError(f"certificate: holds what JSON does not ({error})") from error
    prompts = certificate.get(_PROMPTS, [])
    if not isinstance(prompts, list) or not all(_is_prompt(prompt) for prompt in prompts):
        raise UserError(f"certificate.{_PROMPTS}: must be a list of id and sha256")
    if len({prompt["id"] for prompt in prompts}) < len(prompts):
        raise UserError(f"certificate.{_PROMPTS}: an id is there twice")
    rows = certificate.get("rows", {})
    if not isinstance(rows, Mapping) or not all(isinstance(r, Mapping) for r in rows.values()):
        raise UserError("certificate.rows: must be a mapping of rows to their fields")
    return certificate


def _is_deep(value: Any) -> bool:
    """Whether a value is nested deeper than any certificate; asked before anything recurs."""
    level = [value]
    for _ in range(DEEPEST):
        inner = [each for each in level if isinstance(each, Mapping | list) and each]
        level = [v for e in inner for v in (e.values() if isinstance(e, Mapping) else e)]
    return bool(level)


def _is_prompt(prompt: Any) -> bool:
    return (
        isinstance(prompt, Mapping)
        and isinstance(prompt.get("id"), str)
        and isinstance(prompt.get("sha256"), str)
    )


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> Comparison:
    """Compare two certificates that `check` let pass."""
    fields = (*FIELDS, *_other_fields(a, b), *_row_fields(a, b))
    lines = [line for field in fields for line in _lines(field, a, b)]
    prompts = list(_prompt_differences(a.get(_PROMPTS, []), b.get(_PROMPTS, [])))
    if _PROMPTS not in a or _PROMPTS not in b:
        prompts = []
    return Comparison(lines, prompts, list(_apart(a, b)))


def _other_fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Field]:
    """Fields of another version of alignbench: they must agree, since nobody here knows better."""
    known = {field.path for field in FIELDS}
    sections = {path.partition(".")[0] for path in known if "." in path}
    for name in sorted((a.keys() | b.keys()) - known - {"rows"}):
        if name not in sections:
            yield Field(name, "equal", NEWER)
            continue
        entries = [section for c in (a, b) if isinstance(section := c.get(name), Mapping)]
        for key in sorted({str(key) for entry in entries for key in entry}):
            if f"{name}.{key}" not in known:
                yield Field(f"{name}.{key}", "equal", NEWER)


def _row_fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Field]:
    """The fields of every row that both runs have, where at least one says something."""
    rows_a, rows_b = a.get("rows", {}), b.get("rows", {})
    for row in sorted(rows_a.keys() & rows_b.keys()):
        for field in ROW_FIELDS:
            if field.path in rows_a[row] or field.path in rows_b[row]:
                yield replace(field, path=f"rows.{row}.{field.path}")


def _lines(field: Field, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Line]:
    values = _value(a, field.path), _value(b, field.path)
    sections = [value or {} for value in values if value is None or isinstance(value, Mapping)]
    if len(sections) < 2 or not any(sections):
        yield _line(field, field.path, *values)
        return
    for key in sorted(sections[0].keys() | sections[1].keys()):
        yield _line(field, f"{field.path}.{key}", sections[0].get(key), sections[1].get(key))


def _line(field: Field, path: str, a: Any, b: Any) -> Line:
    unknown = " and ".join(name for name, value in (("A", a), ("B", b)) if value is _ABSENT)
    status: Status = "unknown" if unknown else "agrees" if same(a, b) else "differs"
    value_a, value_b = (None if value is _ABSENT else value for value in (a, b))
    return Line(path, field.rule, status, unknown or None, value_a, value_b, field.reason)


def _value(certificate: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, `_ABSENT` where the certificate does not say."""
    value: Any = certificate
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def same(a: Any, b: Any) -> bool:
    """Equality of JSON values: 1 and 1.0 are one number, and true is none."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _prompt_differences(
    a: Sequence[Mapping[str, str]], b: Sequence[Mapping[str, str]]
) -> Iterator[PromptDifference]:
    """Prompts whose text the other run does not have, in A's order and then B's.

    Texts decide, not ids: ids are numbers, which all shift where one prompt is left out. Two such
    prompts of one id are one difference.
    """
    texts_a, texts_b = ({prompt["sha256"] for prompt in prompts} for prompts in (a, b))
    only_a = {prompt["id"]: prompt["sha256"] for prompt in a if prompt["sha256"] not in texts_b}
    only_b = {prompt["id"]: prompt["sha256"] for prompt in b if prompt["sha256"] not in texts_a}
    for name, digest in only_a.items():
        yield PromptDifference(name, digest, only_b.get(name))
    for name, digest in only_b.items():
        if name not in only_a:
            yield PromptDifference(name, None, digest)


def _apart(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Apart]:
    """Rows that do not stand on the terms of the others, within a run or between the two."""
    rows_a, rows_b = a.get("rows", {}), b.get("rows", {})
    for row in sorted(rows_a.keys() | rows_b.keys()):
        for name, rows in (("A", rows_a), ("B", rows_b)):
            fields = rows.get(row, {})
            if fields.get("budget"):
                yield Apart(row, f"has a budget of its own in {name}: {_short(fields['budget'])}")
            if fields.get("tuned") is False:
                yield Apart(row, f"is not tuned in {name}, where others are")
        if row in rows_a and row in rows_b:
            for field in ROW_FIELDS:
                line = _line(
                    field, field.path, *(r[row].get(field.path, _ABSENT) for r in (rows_a, rows_b))
                )
                if line.rule == "apart" and line.status == "differs":
                    values = f"{_short(line.a)} in A, {_short(line.b)} in B"
                    yield Apart(row, f"{field.reason}: {values}")


def _short(value: Any) -> str:
    """A value in a few words."""
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
