"""What a leaderboard entry holds, and reading and writing one.

An entry is read strictly: who wrote it is unknown. Every field is declared, every text is printable
and names no place of a machine, and the digest at its end is that of all the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from alignbench.compare import check
from alignbench.digest import sha256_json
from alignbench.errors import UserError, printable
from alignbench.files import write_atomic
from alignbench.leaderboard.consistency import contradictions
from alignbench.leaderboard.schema import Entry
from alignbench.leaderboard.texts import problem_of
from alignbench.results.metrics import METRIC
from alignbench.results.schema import rounded_floats

SCHEMA_VERSION = 1
LARGEST = 32 * 2**20
DEEPEST = 40
SHOWN_PROBLEMS = 10
DIGITS = 12
"""Of the certificate's digest, in a file's name."""

Record = dict[str, Any]


def load(path: Path) -> Entry:
    """Read and check an entry.

    Raises:
        UserError: naming the file and every field (the first ten) that is wrong.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path}: has {path.stat().st_size} bytes, too many for an entry")
        record = json.loads(
            path.read_text(encoding="utf-8"),
            object_pairs_hook=_no_key_twice,
            parse_constant=_no_constant,
        )
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({printable(str(error))})") from error
    entry = validated(record, str(path))
    expected = file_name(record)
    if path.name != expected:
        raise UserError(f"{path}: its name must be {expected}, by its recipe and certificate")
    return entry


def validated(record: Any, where: str) -> Entry:
    """An entry as read from JSON, checked.

    Args:
        record: the parsed JSON.
        where: what to call it in messages.

    Raises:
        UserError: see `load`.
    """
    if not isinstance(record, dict) or "schema_version" not in record:
        raise UserError(f'{where}: no entry of a leaderboard (no "schema_version")')
    version = record["schema_version"]
    if isinstance(version, bool) or version != SCHEMA_VERSION:
        shown = printable(repr(version)[:40])
        raise UserError(
            f"{where}: schema_version: is {shown}, this alignbench reads {SCHEMA_VERSION}"
        )
    problems = [f"{where}: {place}: {what}" for place, what in _texts(record)]
    if problems:
        raise UserError(*problems[:SHOWN_PROBLEMS])
    try:
        entry = Entry.model_validate(record)
        check(record["certificate"])
    except ValidationError as error:
        lines = [
            f"{where}: {printable('.'.join(map(str, one['loc'])))}: {one['msg']}"
            for one in error.errors()[:SHOWN_PROBLEMS]
        ]
        raise UserError(*lines) from error
    except UserError as error:
        raise UserError(*(f"{where}: {line}" for line in error.problems)) from error
    found = list(_contradictions(entry, record)) or contradictions(entry)
    problems = [f"{where}: {problem}" for problem in found]
    if problems:
        raise UserError(*problems[:SHOWN_PROBLEMS])
    return entry


def save(record: Mapping[str, Any], folder: Path) -> Path:
    """Write an entry into `folder`; equal entries are equal files.

    Args:
        record: an entry without its digest.

    Raises:
        UserError: it is no entry, by field; or the folder cannot be written.
    """
    plain = rounded_floats(record)
    sealed = {**plain, "digest": sha256_json(plain)}
    name = file_name(sealed)
    validated(json.loads(json.dumps(sealed)), name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / name, text_of(sealed))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from error
    return folder / name


def file_name(record: Mapping[str, Any]) -> str:
    """``<recipe>-<profile>-<certificate>.json``."""
    recipe, certified = record["recipe"], sha256_json(record["certificate"])[:DIGITS]
    return f"{recipe['name']}-{recipe['profile']}-{certified}.json"


def text_of(record: Mapping[str, Any]) -> str:
    """JSON with sorted keys, an item of each section on a line of its own (diffs stay readable)."""
    return "{\n" + ",\n".join(_section(key, record[key]) for key in sorted(record)) + "\n}\n"


def _section(key: str, value: Any) -> str:
    def compact(item: Any) -> str:
        return json.dumps(item, sort_keys=True, allow_nan=False, separators=(", ", ": "))

    if isinstance(value, list) and value:
        return f" {compact(key)}: [\n" + ",\n".join(f"  {compact(v)}" for v in value) + "\n ]"
    if isinstance(value, Mapping) and value:
        lines = ",\n".join(f"  {compact(k)}: {compact(value[k])}" for k in sorted(value))
        return f" {compact(key)}: {{\n{lines}\n }}"
    return f" {compact(key)}: {compact(value)}"


def _no_key_twice(pairs: list[tuple[str, Any]]) -> Record:
    found: Record = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f'the key "{key}" is there twice')
        found[key] = value
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _texts(value: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """What is wrong with texts anywhere in a record, keys included, by place."""
    if depth > DEEPEST:
        yield place, f"nested more than {DEEPEST} levels"
    elif isinstance(value, str):
        if (problem := problem_of(value)) is not None:
            yield place, problem
    elif isinstance(value, dict):
        for key, item in value.items():
            below = f"{place}.{printable(key)[:80]}".lstrip(".")
            yield from _texts(key, f"{below} (the key)", depth + 1)
            yield from _texts(item, below, depth + 1)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, f"{place}.{number}", depth + 1)


def _contradictions(entry: Entry, record: Mapping[str, Any]) -> Iterator[str]:
    """Fields that do not agree with each other."""
    if entry.digest != sha256_json({k: v for k, v in record.items() if k != "digest"}):
        yield "digest: is not that of the other fields: the entry was changed after it was written"
    if entry.certificate.get("profile") != entry.recipe.profile:
        yield "certificate.profile: is not recipe.profile"
    seen: set[tuple[str, str]] = set()
    for number, cell in enumerate(entry.rows):
        where = f"rows.{number}"
        if cell.model not in entry.models:
            yield f'{where}.model: "{cell.model}" is not in models'
        if cell.metric not in METRIC:
            yield f'{where}.metric: "{cell.metric}" is no metric'
        if (cell.model, cell.metric) in seen:
            yield f"{where}: {cell.metric} of {cell.model} is there twice"
        seen.add((cell.model, cell.metric))
        if (cell.low is None) != (cell.high is None):
            yield f"{where}: an interval has two bounds or none"
        elif cell.low is not None and cell.high is not None and cell.low > cell.high:
            yield f"{where}.low: is above high"
    yield from _observed(entry)
    yield from _trained(entry)


def _observed(entry: Entry) -> Iterator[str]:
    if entry.observations is None:
        return
    prompts = len(entry.observations.prompts)
    for row, seen in entry.observations.rows.items():
        where = f"observations.rows.{row}"
        if row not in entry.models:
            yield f"{where}: is not in models"
        for metric, means in seen.means.items():
            if len(means) != len(seen.seeds):
                yield f"{where}.means.{metric}: must have a value for each seed"
        for metric, cells in seen.prompts.items():
            if len(cells) != len(seen.seeds) or any(len(c) != prompts for c in cells):
                yield f"{where}.prompts.{metric}: must have a value for each seed and prompt"


def _trained(entry: Entry) -> Iterator[str]:
    for row, trained in (entry.training or {}).items():
        where = f"training.{row}"
        if row not in entry.models:
            yield f"{where}: is not in models"
        lists = {f"spent.{name}": amounts for name, amounts in trained.spent.items()}
        for name, signal in trained.quantities.items():
            for key, values in signal:
                lists[f"quantities.{name}.{key}"] = values
        for name, values in lists.items():
            if len(values) != len(trained.seeds):
                yield f"{where}.{name}: must have a value for each seed"
