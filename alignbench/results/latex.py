"""The table of a run for a paper: booktabs, plain columns, compiles with pdflatex."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from alignbench.leaderboard.texts import cleaned, places_in
from alignbench.results.metrics import METRICS, Metric, label, simulated

UNKNOWN = "--"
#: More models than this do not fit beside the metrics: the table is then scaled to the text width.
WIDE = 3
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≈": r"$\approx$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": r"$-$",
    "°": r"$^\circ$",
    "·": r"$\cdot$",
    "\u00a0": "~",
}
#: What would become one sign: two hyphens a dash, two commas a quotation mark.
_LIGATURE = re.compile(r"([-,])(?=\1)")
_DROPPED = ("Mn", "Me")


def latex(results: Mapping[str, Any]) -> str:
    r"""A ``table`` environment that says in its caption whose numbers these are.

    Needs ``\usepackage[T1]{fontenc}``, ``booktabs``, ``graphicx`` and ``textcomp`` (in every LaTeX
    since 2020). ``±`` is half of the interval, as on the terminal. Bold only where a row is
    separably better than every other.

    Args:
        results: as `results.load` returns it.
    """
    clean = cleaned(dict(results), places_in(results["recipe"]))
    models = clean["models"]
    lines = [
        r"% \usepackage[T1]{fontenc}, \usepackage{booktabs}, \usepackage{graphicx}",
        r"\begin{table}",
        r"\centering",
        *([r"\resizebox{\textwidth}{!}{%"] if len(models) > WIDE else []),
        rf"\begin{{tabular}}{{l{'r' * len(models)}}}",
        r"\toprule",
        " & ".join(["Metric", *map(escaped, models)]) + r" \\",
        r"\midrule",
        *(_line(metric, clean) for metric in METRICS if _measured(metric, clean)),
        r"\bottomrule",
        r"\end{tabular}" + ("}" if len(models) > WIDE else ""),
        rf"\caption{{{_caption(clean)}}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text that LaTeX typesets as it is; what pdflatex has no letter for, as its code point.

    Letters with accents become their letter: pdflatex knows few of them.
    """
    return _LIGATURE.sub(r"\1{}", "".join(map(_character, " ".join(text.split()))))


def _character(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if " " <= char <= "~":
        return char
    base = [
        c for c in unicodedata.normalize("NFKD", char) if unicodedata.category(c) not in _DROPPED
    ]
    if base and all(" " <= c <= "~" for c in base):
        return "".join(_ESCAPES.get(c, c) for c in base)
    return rf"\texttt{{U+{ord(char):04X}}}"


def _measured(metric: Metric, results: Mapping[str, Any]) -> bool:
    return any(row["metric"] == metric.name for row in results["rows"])


def _line(metric: Metric, results: Mapping[str, Any]) -> str:
    cells = {row["model"]: row for row in results["rows"] if row["metric"] == metric.name}
    best = results["statistics"]["best"].get(metric.name)
    arrow = {"higher": r" $\uparrow$", "lower": r" $\downarrow$", None: ""}[metric.better]
    mark = r"$^{s}$" if simulated(metric, results) else ""
    name = f"{escaped(label(metric, results))}{mark}{arrow}"
    texts = [_cell(cells.get(model), metric, model == best) for model in results["models"]]
    return " & ".join([name, *texts]) + r" \\"


def _cell(row: Mapping[str, Any] | None, metric: Metric, best: bool) -> str:
    if row is None or row["value"] is None:
        return UNKNOWN
    value = f"{row['value']:.{metric.decimals}f}".replace("-", "$-$")
    half = UNKNOWN
    if row["low"] is not None:
        half = f"{(row['high'] - row['low']) / 2:.{metric.decimals}f}"
    text = rf"\textbf{{{value}}}" if best else value
    return rf"{text} {{\scriptsize $\pm$ {half}}}"


def _caption(results: Mapping[str, Any]) -> str:
    confidence = f"{100 * results['statistics']['confidence']:g}"
    parts = [
        f"{escaped(results['recipe']['name'])}, profile {escaped(results['profile'])}.",
        rf"$\pm$: half the width of the {confidence}\,\% interval; {UNKNOWN}: unknown.",
        "Bold: separably better than every other model.",
        f"Judge: {escaped(results['judge']['name'])}.",
    ]
    if any(simulated(metric, results) for metric in METRICS):
        parts.append("$^{s}$: by the exact rule of the sandbox, no person and no model.")
    flags = sorted(results["flags"], key=lambda flag: flag["level"] != "error")
    parts += [
        rf"\textbf{{{escaped(flag['level'].capitalize())}:}} {escaped(flag['message'])}"
        for flag in flags
    ]
    return " ".join(parts)
