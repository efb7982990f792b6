"""A run as a tree of phases, groups and running stages, in a width and a height.

Words say everything; signs and colours repeat it. Where the height is short, finished and waiting
parts are drawn together first, then groups in which nothing goes on, then the last metrics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alignbench.errors import printable
from alignbench.terminal.snapshot import Said, Snapshot, Spent, StageView, is_done
from alignbench.terminal.text import (
    budget,
    duration,
    encodable,
    fitted,
    metric_cells,
    percent,
    said_line,
)

if TYPE_CHECKING:
    from rich.console import Console

PHASES = {
    "reward": "reward models",
    **dict.fromkeys(("trial", "train"), "methods"),
    **dict.fromkeys(("generate", "score", "judge", "matches", "curve", "human"), "evaluation"),
    **dict.fromkeys(("results", "cards", "report"), "results"),
}
"""Kind of stage -> phase; any other kind is a phase of its own."""
MARKS = {"done": "✓", "running": "▶", "partly": "·", "waiting": "·", "failed": "✗"}
STYLES = {"done": "green", "running": "bold", "partly": "", "waiting": "dim", "failed": "bold red"}
LEAST_DETAIL = 3


@dataclass(frozen=True)
class Line:
    """One line, of at most the width that was asked for."""

    text: str
    style: str = ""


def print_tree(console: Console, snapshot: Snapshot) -> None:
    """Print the whole tree, without notes."""
    for line in tree_lines(snapshot, console.width):
        text = encodable(line.text, console.encoding)
        console.print(text, style=line.style, markup=False, highlight=False, soft_wrap=True)


def tree_lines(snapshot: Snapshot, width: int, height: int | None = None) -> list[Line]:
    """The lines of a run.

    Args:
        width: columns that no line exceeds.
        height: lines at most, of which the last notes take a few; None: all there is, no notes.
    """
    if height is None:
        return _Tree(snapshot, width, 0).lines()
    for detail, most in ((0, 4), (1, 4), (1, 2), (2, 4), (LEAST_DETAIL, 2)):
        lines = _Tree(snapshot, width, detail).lines()
        notes = _note_lines(snapshot.notes, width, min(most, height - len(lines)))
        if len(lines) + min(most, len(snapshot.notes)) <= height:
            return [*lines, *notes]
    if len(lines) > height:
        more = Line(fitted(f"… {len(lines) - height + 1} more lines", width), "dim")
        lines = [*lines[: height - 1], more]
    return [*lines, *notes]


def _note_lines(notes: Sequence[Said], width: int, room: int) -> list[Line]:
    """The last notes that fit, health errors before all others."""
    if not notes or room < 1:
        return []
    ranked = sorted(notes, key=lambda said: said.kind == "health error")
    kept = ranked if len(notes) <= room else ranked[len(notes) - room + 1 :]
    styles = {"health error": "bold red", "substitution": "dim"}
    lines = [
        Line(fitted(f"! {said_line(said)}", width), styles.get(said.kind, "yellow"))
        for said in reversed(kept)
    ]
    hidden = len(notes) - len(kept)
    return [*lines, Line(fitted(f"  … {hidden} more notes", width), "dim")] if hidden else lines


@dataclass(frozen=True)
class _Tree:
    """Draws a run with less and less: `detail` 0 is everything."""

    snapshot: Snapshot
    width: int
    detail: int

    def lines(self) -> list[Line]:
        drawn = [Line(fitted(self._header(), self.width), "bold")]
        merged: list[tuple[str, list[StageView]]] = []
        for phase, stages in _by(self.snapshot.stages, lambda s: PHASES.get(_kind(s), _kind(s))):
            state = _state(stages)
            if merged and (self.detail == 0 or _state(merged[-1][1]) != state):
                drawn.append(self._merged(merged))
                merged = []
            if state in ("done", "waiting") and (self.detail or phase != "methods"):
                merged.append((phase, stages))
            else:
                if merged:
                    drawn.append(self._merged(merged))
                    merged = []
                drawn += self._phase(phase, stages)
        return [*drawn, self._merged(merged)] if merged else drawn

    def _header(self) -> str:
        run = self.snapshot
        text = f"{run.done} of {len(run.stages)} stages finished"
        if run.elapsed is not None:
            text += f"  {duration(run.elapsed)}"
        if any(stage.state == "running" for stage in run.stages):
            text += f"  ETA {'–' if run.left is None else duration(run.left)}"
        return text

    def _merged(self, phases: Sequence[tuple[str, list[StageView]]]) -> Line:
        """One line for phases that are all finished, or all waiting."""
        stages = [stage for _, found in phases for stage in found]
        return self._summary(", ".join(name for name, _ in phases), 0, stages)

    def _phase(self, phase: str, stages: list[StageView]) -> Iterator[Line]:
        if len(stages) == 1 and stages[0].name == phase:
            yield from self._stage(phase, 0, stages[0])
            return
        yield self._summary(phase, 0, stages)
        if self.detail and phase != "methods" and _state(stages) == "partly":
            return
        quiet: list[StageView] = []
        for name, found in self._groups(phase, stages):
            if self.detail >= 2 and _state(found) not in ("running", "failed"):
                quiet += found
            elif len(found) == 1 and name == found[0].name:
                yield from self._stage(name, 1, found[0])
            else:
                yield self._summary(name, 1, found)
                for stage in found:
                    if stage.state in ("running", "failed"):
                        yield from self._stage(_within_group(stage), 2, stage)
        if quiet and len(quiet) < len(stages):
            yield self._summary("others", 1, quiet)

    def _groups(self, phase: str, stages: list[StageView]) -> list[tuple[str, list[StageView]]]:
        if phase == "methods":
            return _by(stages, _row)
        if phase == "evaluation":
            return _by(stages, _kind)
        return [(stage.name, [stage]) for stage in stages]

    def _summary(self, label: str, indent: int, stages: Sequence[StageView]) -> Line:
        """A line for several stages: how many are in which state, time and budget."""
        state = _state(stages)
        parts = [_counts(stages)]
        took = [stage.seconds or 0.0 for stage in stages if stage.state == "finished"]
        if took:
            parts.append(duration(sum(took)))
        if indent and (spent := _dearest(stages)) is not None:
            parts.append(budget(spent))
        return self._line(label, indent, state, "  ".join(parts))

    def _stage(self, label: str, indent: int, stage: StageView) -> Iterator[Line]:
        state = "done" if is_done(stage) else stage.state
        if state != "running":
            yield self._summary(label, indent, [stage])
            return
        parts = [] if stage.seconds is None else [duration(stage.seconds)]
        if stage.left is not None:
            parts.append(f"ETA {duration(stage.left)}")
        text = f"{self._bar(stage)}{', '.join(parts)}"
        yield self._line(label, indent, state, text or "running")
        told = self._metrics(stage)
        if told and self.detail < LEAST_DETAIL:
            yield Line(fitted(" " * (2 * indent + 4) + told, self.width))

    def _bar(self, stage: StageView) -> str:
        if stage.share is None:
            return "running  "
        columns = min(14, max(4, self.width - self._label_width() - 36))
        full = int(columns * stage.share)
        return f"{'━' * full}{'╌' * (columns - full)} {percent(stage.share):>5}  "

    def _metrics(self, stage: StageView) -> str:
        """Budget and last values of a running stage; what several have stands in columns."""
        rows = {
            each.name: {
                **({"budget": budget(each.spent)} if each.spent is not None else {}),
                **metric_cells(each.metrics),
            }
            for each in self.snapshot.stages
            if each.state == "running"
        }
        have = Counter(name for cells in rows.values() for name in cells)
        own = rows[stage.name]
        shared = {
            name: max(len(cells.get(name, "")) for cells in rows.values())
            for name, number in have.items()
            if number > 1
        }
        columns = [own.get(name, "").ljust(size) for name, size in shared.items()]
        alone = [text for name, text in own.items() if name not in shared]
        return "  ".join([*columns, *alone]).rstrip()

    def _label_width(self) -> int:
        return max(14, min(24, 3 * self.width // 10))

    def _line(self, label: str, indent: int, state: str, text: str) -> Line:
        head = f"{'  ' * indent}{MARKS[state]} {printable(label)}"
        size = self._label_width()
        if state != "running" and len(head) > size:  # there is room: no bar follows
            size = max(size, min(len(head), self.width - len(text) - 1))
        line = f"{fitted(head, size):<{size}} {text}"
        return Line(fitted(line.rstrip(), self.width), STYLES[state])


def _kind(stage: StageView) -> str:
    return stage.name.partition("/")[0]


def _row(stage: StageView) -> str:
    return stage.name.partition("/")[2].partition("/")[0] or stage.name


def _within_group(stage: StageView) -> str:
    kind, _, rest = stage.name.partition("/")
    names = {"train": "seed", "trial": "trial"}
    return f"{names[kind]} {rest.rpartition('/')[2]}" if kind in names else rest


def _by(
    stages: Iterable[StageView], key: Callable[[StageView], str]
) -> list[tuple[str, list[StageView]]]:
    """Stages of the same key together, in the order of the first of each."""
    found: dict[str, list[StageView]] = {}
    for stage in stages:
        found.setdefault(key(stage), []).append(stage)
    return list(found.items())


def _state(stages: Sequence[StageView]) -> str:
    states = {stage.state for stage in stages}
    for state in ("failed", "running"):
        if state in states:
            return state
    if states <= {"finished", "stored"}:
        return "done"
    return "waiting" if states == {"waiting"} else "partly"


def _counts(stages: Sequence[StageView]) -> str:
    """``2/3 done, 1 running``; a word alone for a single stage."""
    numbers = {
        word: sum(stage.state == state for stage in stages)
        for word, state in (("running", "running"), ("failed", "failed"), ("in store", "stored"))
    }
    done = sum(is_done(stage) for stage in stages)
    if len(stages) == 1:
        word = next((word for word, number in numbers.items() if number), None)
        return word or ("done" if done else "waiting")
    parts = [f"{done}/{len(stages)} done"]
    parts += [f"{number} {word}" for word, number in numbers.items() if number]
    return ", ".join(parts) if len(parts) > 1 or done else f"0/{len(stages)} waiting"


def _dearest(stages: Iterable[StageView]) -> Spent | None:
    """The largest share of a budget that one of the finished stages spent."""
    found = [stage.spent for stage in stages if is_done(stage) and stage.spent is not None]
    return max(found, key=lambda spent: spent.share, default=None)
