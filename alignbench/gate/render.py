"""An outcome as a table, Markdown, JUnit XML and JSON."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from alignbench.errors import printable
from alignbench.gate.check import Outcome
from alignbench.gate.samples import Finding

HEADERS = ("verdict", "row", "what", "baseline", "run", "difference", "interval", "tolerance")
SHOWN_IN_MARKDOWN = 200
"""A job page of GitHub takes a megabyte."""


def row(finding: Finding) -> tuple[str, ...]:
    """One line of the table; unknown is a dash."""
    interval = "–"
    if finding.low is not None and finding.high is not None:
        interval = f"{number(finding.low)} to {number(finding.high)}"
    return (
        finding.word + (" (identical)" if finding.identical else ""),
        finding.row,
        finding.name,
        number(finding.baseline),
        number(finding.run),
        number(finding.difference),
        interval,
        number(finding.tolerance),
    )


def number(value: float | None) -> str:
    """Four digits, or a dash for unknown."""
    return "–" if value is None else f"{value:.4g}"


def important(outcome: Outcome) -> list[Finding]:
    """What a reader must see: all that is worse or better, and deciding metrics that moved."""
    return [
        finding
        for finding in outcome.findings
        if finding.verdict in ("worse", "better")
        or (finding.name in outcome.deciding and not finding.identical)
    ]


def explanation(outcome: Outcome) -> list[str]:
    """Sentences under the table."""
    changed = [f for f in outcome.worse if not f.directed]
    lines = []
    if changed:
        lines.append(
            "changed: beyond noise and tolerance, in a number of which no direction is better; "
            "taken as a regression until somebody has looked. If it is meant, update the baseline."
        )
    lines += [f"Undecided: {line}." for line in outcome.undecided]
    lines += [f"Note: {line}." for line in outcome.notes]
    lines.append(
        f"Intervals of {100 * outcome.level:.5g} % each, set so that with no change all "
        "comparisons that have an interval of noise together call anything worse in at most 1 of "
        "100 checks, as far as seeds are normal (benchmarks/RESULTS.md has what was measured). "
        "(One of width 0 is that of a number in which nothing is drawn; the tolerance covers its "
        "rounding.) The difference of a root mean square (rms) is that of logarithms."
    )
    return lines


def markdown(outcome: Outcome) -> str:
    """For a CI job page: the sentence, what matters in a table, the rest folded."""
    shown = important(outcome)
    rest = [finding for finding in outcome.findings if finding not in shown]
    parts = [
        f"### alignbench check: {outcome.sentence}",
        f"Run {_code(outcome.run)} against {_code(outcome.baseline)}.",
    ]
    if shown:
        parts.append(_table(shown))
    parts.append("\n".join(f"- {_plain(line)}" for line in explanation(outcome)))
    if rest:
        more = len(rest) - SHOWN_IN_MARKDOWN
        cut = f"\n\nand {more} more (`--json` has all)" if more > 0 else ""
        parts.append(
            f"<details><summary>{len(rest)} other comparisons</summary>\n\n"
            f"{_table(rest[:SHOWN_IN_MARKDOWN])}{cut}\n\n</details>"
        )
    return "\n\n".join(parts) + "\n"


def junit(outcome: Outcome) -> str:
    """One test case for each comparison: worse fails, inconclusive is skipped."""
    suite = ElementTree.Element(
        "testsuite",
        name="alignbench check",
        tests=str(len(outcome.findings) + len(outcome.undecided)),
        failures=str(len(outcome.worse)),
        errors="0",
        skipped=str(outcome.count("inconclusive") + len(outcome.undecided)),
    )
    for finding in outcome.findings:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"alignbench.{finding.row}", name=finding.name, time="0"
        )
        if finding.verdict in ("worse", "inconclusive"):
            tag = "failure" if finding.verdict == "worse" else "skipped"
            said = "; ".join(f"{h} {v}" for h, v in zip(HEADERS, row(finding), strict=True))
            ElementTree.SubElement(case, tag, message=said)
    for line in outcome.undecided:
        case = ElementTree.SubElement(
            suite, "testcase", classname="alignbench.undecided", name=line, time="0"
        )
        ElementTree.SubElement(case, "skipped", message="must be decided, and could not be")
    return _document(suite)


def _document(suite: ElementTree.Element) -> str:
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def error_junit(problem: str) -> str:
    """For a check that could not be made: one test case, which is an error."""
    suite = ElementTree.Element(
        "testsuite", name="alignbench check", tests="1", failures="0", errors="1", skipped="0"
    )
    case = ElementTree.SubElement(suite, "testcase", classname="alignbench", name="check", time="0")
    ElementTree.SubElement(case, "error", message=_lines(problem))
    return _document(suite)


def error_markdown(problem: str) -> str:
    """The same for a CI job page, in a line."""
    return f"### alignbench check: no check: {_plain('; '.join(_lines(problem).splitlines()))}\n"


def plain(outcome: Outcome) -> dict[str, Any]:
    """For machines."""
    return {
        "baseline": outcome.baseline,
        "run": outcome.run,
        "outcome": outcome.exit_code.name.lower(),
        "exit_code": int(outcome.exit_code),
        "sentence": outcome.sentence,
        "undecided": list(outcome.undecided),
        "notes": list(outcome.notes),
        "deciding": list(outcome.deciding),
        "confidence": outcome.level,
        "findings": [asdict(finding) for finding in outcome.findings],
    }


def _lines(problem: str) -> str:
    """A message that may quote anything: XML knows no control characters."""
    return "\n".join(printable(line.strip()) for line in problem.splitlines())


def _table(findings: Iterable[Finding]) -> str:
    lines: list[Sequence[str]] = [HEADERS, ["---"] * 3 + ["--:"] * 5]
    for finding in findings:
        verdict, name, what, *values = row(finding)
        lines.append([verdict, _code(name), _code(what), *values])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(text: str) -> str:
    """Text that somebody else wrote, as code: nothing in it is markup."""
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"


def _plain(text: str) -> str:
    """Text without markup: HTML escaped, Markdown's signs too."""
    escaped = html.escape(text, quote=False)
    return "".join(f"\\{char}" if char in "\\`*_[]!|#" else char for char in escaped)
