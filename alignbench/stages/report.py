"""Stage `report`: report.html from `results` and what was answered and scored.

Inputs: ``generate/<row>/<seed>``, ``score/<row>/<seed>`` and ``judge/<row>/<seed>``.
"""

from __future__ import annotations

from alignbench.report.html import write_report
from alignbench.report.samples import read_samples
from alignbench.results.schema import load
from alignbench.stage import StageContext


def run(ctx: StageContext) -> None:
    """Write report.html."""
    results = load(ctx.inputs["results"] / "results.json")
    write_report(results, read_samples(ctx.inputs, results["models"]), ctx.out / "report.html")
