"""Words and numbers of a terminal line: durations, shares, and text cut to a width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from alignbench.errors import printable
from alignbench.metering.currencies import LABELS
from alignbench.terminal.snapshot import Said, Spent, StageView

if TYPE_CHECKING:
    from rich.console import Console

ASCII = str.maketrans(
    {"–": "-", "±": "~", "✓": "+", "✗": "x", "≈": "?", "≥": ">", "≤": "<", "…": ".", "×": "x"}
    | {"▶": ">", "·": ".", "━": "#", "╌": "-"}
)


def duration(seconds: float) -> str:
    """``4.2 s``, ``3 min 05 s`` or ``2 h 07 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def percent(share: float) -> str:
    """``46 %``; rounded down, so that only what is done is 100 %."""
    return f"{int(100 * share)} %"


def budget(spent: Spent) -> str:
    """``budget 46 % of FLOPs``."""
    text = f"budget {percent(spent.share)}"
    if spent.currency is None:
        return text
    label = LABELS.get(spent.currency, printable(spent.currency))
    return f"{text} of {label if label == LABELS['flops'] else label.lower()}"


def metric_cells(metrics: Mapping[str, float | str]) -> dict[str, str]:
    """Name -> ``loss 0.0312``."""
    return {
        name: printable(f"{name} {value if isinstance(value, str) else format(value, '.3g')}")
        for name, value in metrics.items()
    }


def progress_line(stage: StageView) -> str:
    """One line for a log: how far a running stage is."""
    parts = []
    if stage.share is not None:
        parts.append(f"{percent(stage.share)} done")
    if stage.seconds is not None:
        parts.append(f"running for {duration(stage.seconds)}")
    if stage.left is not None:
        parts.append(f"ETA {duration(stage.left)}")
    if stage.spent is not None:
        parts.append(budget(stage.spent))
    parts += metric_cells(stage.metrics).values()
    return f"{printable(stage.name)}: {', '.join(parts) or 'running'}"


def said_line(said: Said) -> str:
    """One note with who told it: ``warning: 3 stages (train/dpo/0, ...): 61 prompts too long``."""
    who = printable(said.stages[0] if said.stages else "run")
    if len(said.stages) > 1:
        who = f"{len(said.stages)} stages ({who}, …)"
    return f"{printable(said.kind)}: {who}: {printable(said.message)}"


def fitted(text: str, width: int) -> str:
    """`text` in at most `width` columns of a terminal, "…" where it is cut."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    return f"{set_cell_size(text, width - 1).rstrip()}…" if width > 1 else "…"[:width]


def encodable(text: str, encoding: str) -> str:
    """`text` for a terminal of this encoding: signs as ASCII, other characters as escapes."""
    if "utf" in encoding.lower():
        return text
    return text.translate(ASCII).encode(encoding, "backslashreplace").decode(encoding)


def tell(console: Console, text: str) -> None:
    """Print a sentence, whatever characters it has: wrapped at words on a terminal, else a line."""
    shown = encodable(printable(text), console.encoding)
    console.print(shown, markup=False, highlight=False, soft_wrap=not console.is_terminal)
