"""The results on a terminal: metrics as rows, models as columns, targets and notes below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alignbench.errors import printable
from alignbench.metering.currencies import LABELS
from alignbench.results.metrics import METRIC, METRICS, Metric, label, simulated

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

UNKNOWN = "–"
SYMBOLS = {"met": "✓", "missed": "✗", "not separable": "≈", "unknown": UNKNOWN}
GROUPS = {
    "Reward": ("reward_proxy", "reward_gold", "reward_gold_rm", "reward_model"),
    "Language": (
        *("perplexity", "perplexity_reference"),
        *("distinct_1", "distinct_2", "distinct_3", "self_bleu"),
    ),
    "Ratings": ("helpful", "harmless", "honest"),
    "Win rate": ("win_rate_vs_base", "win_rate_vs_sft", "win_rate_vs_baseline"),
    "Length and drift": ("length", "characters", "kl_from_sft"),
    "Safety": ("refusal_rate", "over_refusal_rate", "harmful_rate"),
}
"""Heading -> its metrics, in the table on a terminal; any other metric comes last."""
_ASCII = str.maketrans(
    {"–": "-", "±": "~", "✓": "+", "✗": "x", "≈": "?", "≥": ">", "≤": "<", "…": "."}
)
Line = tuple[str, Mapping[str, str] | None]
"""Label and model -> cell; a heading has no cells."""


def render_table(console: Console, results: Mapping[str, Any]) -> None:
    """Print a results.json (as `load` returns it).

    Fits any width from 80 columns on: when the models do not fit side by side, the table comes in
    blocks of equally many. A terminal without Unicode gets ASCII signs.
    """
    from rich.text import Text

    def say(text: str, style: str = "") -> None:
        console.print(Text(_for(console, text)), style=style)

    confidence = f"{100 * results['statistics']['confidence']:.0f} %"
    for flag in results["flags"]:
        say(
            f"{flag['level'].upper()}: {flag['message']}",
            "bold red" if flag["level"] == "error" else "yellow",
        )
    cells = {(row["model"], row["metric"]): row for row in results["rows"]}
    lines = _metric_lines(results, cells)
    title = f"{results['recipe']['name']} (profile {results['profile']})"
    _print_blocks(console, title, results["models"], lines)
    say(f"±: half of the {confidence} interval.  *: better than every other model, separably.")
    if any(simulated(metric, results) for metric in METRICS):
        say("s: by the sandbox's exact rule, no person and no model.")
    say(f"Judge: {results['judge']['name']}.")
    methods = list(dict.fromkeys(target["model"] for target in results["targets"]))
    if methods:
        _print_blocks(console, "Targets", methods, _target_lines(results["targets"]))
        say(
            f"✓ met, ✗ missed, ≈ the {confidence} interval includes the threshold "
            "(! = reached by the value alone)."
        )
    for sentence in results["verdict"]:
        say(sentence)
    for sentence in _beside_the_table(results):
        say(sentence)
    for note in results["notes"]:
        say(f"{note['kind']}: {note['message']}", "dim")


def _metric_lines(
    results: Mapping[str, Any], cells: Mapping[tuple[str, str], Mapping[str, Any]]
) -> list[Line]:
    """The measured metrics, every group below its heading."""
    best = results["statistics"]["best"]
    measured = {name for _, name in cells}
    grouped = {name for names in GROUPS.values() for name in names}
    others = tuple(metric.name for metric in METRICS if metric.name not in grouped)
    lines: list[Line] = []
    for heading, names in {**GROUPS, "Other": others}.items():
        found = [METRIC[name] for name in names if name in measured]
        lines += [(heading, None)] if found else []
        lines += [
            (
                f" {_label(metric, results)}",
                {
                    model: _cell(cells.get((model, metric.name)), metric, best)
                    for model in results["models"]
                },
            )
            for metric in found
        ]
    return lines


def _beside_the_table(results: Mapping[str, Any]) -> Iterator[str]:
    """Lines on budget curves, bills and health, where the run has them; the report has the rest."""
    for finding in (results.get("budget_curves") or {"findings": ()})["findings"]:
        if finding.get("kind") == "observed peak":
            yield f"{finding['row']}: {finding['message']}"
    parts = [part for part in (results.get("bills"), results["costs"].get("bills")) if part]
    flips = [flip["currency"] for part in parts for flip in part["order_flips"]]
    if flips:
        labels = ", ".join(LABELS.get(currency, currency) for currency in dict.fromkeys(flips))
        yield f"The marginal and the end-to-end bill order methods differently in: {labels}."
    if health := results.get("health"):
        errors = sum(finding["level"] == "error" for finding in health)
        yield f"Health: {len(health)} findings, {errors} of them errors; see the report."


def _label(metric: Metric, results: Mapping[str, Any]) -> str:
    return f"{label(metric, results)} s" if simulated(metric, results) else label(metric, results)


def _cell(row: Mapping[str, Any] | None, metric: Metric, best: Mapping[str, str | None]) -> str:
    if row is None or row["value"] is None:
        return UNKNOWN
    star = "*" if best.get(metric.name) == row["model"] else " "
    text = f"{row['value']:.{metric.decimals}f}{star}"
    if row["low"] is None:
        return f"{text}±{UNKNOWN}"
    return f"{text}±{(row['high'] - row['low']) / 2:.{metric.decimals}f}"


def _target_lines(targets: Sequence[Mapping[str, Any]]) -> list[Line]:
    lines: dict[str, dict[str, str]] = {}
    for target in targets:
        lines.setdefault(target["target"], {})[target["model"]] = _target_cell(target)
    return [*lines.items()]


def _target_cell(target: Mapping[str, Any]) -> str:
    """Sign, value and, where only the value reaches the target, an exclamation mark."""
    if target["value"] is None:
        return UNKNOWN
    only_value = "!" if target["status"] == "not separable" and target["met"] else ""
    sign = "+" if target["against"] is not None else ""
    return f"{SYMBOLS[target['status']]}{only_value} {target['value']:{sign}.1f} %"


def _print_blocks(
    console: Console, title: str, models: Sequence[str], lines: Sequence[Line]
) -> None:
    label = max(len(text) for text, _ in lines)
    widest = max(8, console.width - label - 4)
    heads = {model: _shortened(printable(model), widest) for model in models}
    figures = (text for _, texts in lines if texts for text in texts.values())
    cell = max(len(text) for text in (*heads.values(), *figures))
    fit = max(1, (console.width - label - 2) // (cell + 2))
    for number, block in enumerate(_blocks(models, fit)):
        heading = _for(console, title) if number == 0 else None
        table = _table(heading, [_for(console, heads[model]) for model in block])
        for text, texts in lines:
            row = [text, *("" if texts is None else texts.get(m, UNKNOWN) for m in block)]
            style = "bold" if texts is None else ""
            table.add_row(*(_escaped(_for(console, entry)) for entry in row), style=style)
        console.print(table)


def _shortened(name: str, width: int) -> str:
    """A name without its middle where it is longer than `width`: numbers are never cut for it."""
    if len(name) <= width:
        return name
    return f"{name[: width - width // 2 - 1]}…{name[len(name) - width // 2 :]}"


def _table(title: str | None, heads: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=None if title is None else _escaped(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("", no_wrap=True)
    for head in heads:
        table.add_column(_escaped(head), justify="right", no_wrap=True)
    return table


def _blocks(models: Sequence[str], fit: int) -> Iterator[Sequence[str]]:
    """The models in as few blocks as fit, of sizes that differ as little as possible."""
    blocks = -(-len(models) // fit)
    size = -(-len(models) // blocks)
    for start in range(0, len(models), size):
        yield models[start : start + size]


def _for(console: Console, text: str) -> str:
    encoding = console.encoding
    if "utf" in encoding.lower():
        return text
    return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
