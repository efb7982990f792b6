"""Whether two entries were made on the same terms, and may be compared at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alignbench.compare import Line, compare
from alignbench.errors import UserError
from alignbench.leaderboard.schema import Entry

MADE: Mapping[str, tuple[str, ...]] = {
    "base_weights": ("model", "pretrain"),
    "start_weights": ("model", "pretrain", "sft", "training", "precision"),
    "reward_models": ("model", "pretrain", "sft", "reward_model", "training", "precision"),
}
"""Fields of the certificate that a run makes itself, and the sections of its recipe that decide
them (with the data, whose digests must agree anyway). Rounding differs between machines, so equal
settings give other digests there."""


def check_terms(baseline: Entry, run: Entry, retrained: bool) -> list[str]:
    """Sentences on what differs and does no harm.

    Args:
        baseline: A of the certificates' comparison.
        run: B.
        retrained: accept weights that each of the two made by the same settings.

    Raises:
        UserError: every field that keeps them from being compared.
    """
    found = compare(baseline.certificate, run.certificate)
    problems, notes = [], []
    for line in (*found.refusals, *_other_rows(found.lines)):
        what = line.status if line.unknown_in is None else f"is unknown in {_named(line)}"
        made = next((name for name in MADE if line.field.split(".")[0] == name), None)
        if made is None or line.unknown_in is not None:
            problems.append(f"certificate.{line.field} {what}: {line.reason}")
        elif changed := _changed(MADE[made], baseline, run):
            problems.append(
                f"certificate.{line.field} {what}: {line.reason}; other settings in "
                f"{', '.join(changed)}"
            )
        elif not retrained:
            problems.append(
                f"certificate.{line.field} {what}: {line.reason}; if the run made them anew by "
                "the same settings (another machine, changed code), add --retrained"
            )
        else:
            notes.append(f"{line.field} differs: made anew by the same settings")
    if problems:
        raise UserError("The run and the baseline cannot be compared:", *problems)
    options = [line.field for line in found.lines if _are_options(line)]
    return notes + [f"{name} differs from the baseline's" for name in options]


def _other_rows(lines: Any) -> Iterator[Line]:
    """Rows that are another thing under the same name."""
    for line in lines:
        if line.rule == "apart" and line.status != "agrees":
            yield line


def _are_options(line: Line) -> bool:
    return line.field.startswith("rows.") and line.rule == "free" and line.status == "differs"


def _named(line: Line) -> str:
    names = {"A": "the baseline", "B": "the run", "A and B": "both"}
    return names[line.unknown_in or "A and B"]


def _changed(sections: tuple[str, ...], baseline: Entry, run: Entry) -> list[str]:
    mine, theirs = run.recipe.settings, baseline.recipe.settings
    return [name for name in sections if mine.get(name) != theirs.get(name)]
