"""One self-contained HTML file from a results.json and some sampled responses.

See `report.page` for what makes it safe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignbench.files import write_atomic
from alignbench.leaderboard.texts import cleaned
from alignbench.report.cost import cost_section
from alignbench.report.drawing import CONFIG, library
from alignbench.report.health import health_section
from alignbench.report.judge import judge_section
from alignbench.report.page import inline, policy_of, render, script
from alignbench.report.quality import quality_section
from alignbench.report.ranking import (
    choices_section,
    effect_section,
    ranking_section,
    stability_rows,
)
from alignbench.report.samples import distance
from alignbench.report.table import table_section
from alignbench.report.training import training_charts
from alignbench.report.tuning import tuning_section
from alignbench.results.reproduce import commands

Record = dict[str, Any]
CODE = ("state.js", "tables.js", "terms.js", "figures.js", "samples.js")
"""The page's own scripts, which run as one."""


def write_report(
    results: Mapping[str, Any], samples: Sequence[Mapping[str, Any]] | None, path: Path
) -> None:
    """Write the report, whole or not at all.

    Args:
        results: as `alignbench.results.load` returns it.
        samples: for the sample browser, as `report.samples.read_samples` returns them, or None.
        path: of the HTML file.
    """
    write_atomic(path, render_report(results, samples))


def render_report(results: Mapping[str, Any], samples: Sequence[Mapping[str, Any]] | None) -> str:
    """The HTML text; see `write_report`."""
    scripts = {
        "theme": script("theme.js"),
        "library": inline(library()),
        "code": script(*CODE),
    }
    reference = results.get("reference", "sft")
    return render(
        "report.html.jinja",
        policy=policy_of(*scripts.values()),
        scripts=scripts,
        chart_config=CONFIG,
        results=results,
        confidence=f"{100 * results['statistics']['confidence']:.0f} %",
        table=table_section(results),
        ranking=ranking_section(results),
        choices=choices_section(results),
        cost=cost_section(results),
        effect=effect_section(results),
        stability=stability_rows(results),
        quality=quality_section(results),
        judge=judge_section(results),
        reference="SFT" if reference == "sft" else reference,
        between="win rate" if "reference" in results else "gold reward",
        health=health_section(results),
        tuning=tuning_section(results),
        training=training_charts(results),
        samples=_browser(samples or (), results["models"]),
        environment=_environment(results),
        commands=_commands(results),
        recipe=json.dumps(cleaned(results["recipe"]), indent=1, ensure_ascii=False),
        certificate=cleaned(results["certificate"]),
    )


def _browser(samples: Sequence[Mapping[str, Any]], models: Sequence[str]) -> Record | None:
    """What the sample browser's script needs; None without samples."""
    if not samples:
        return None
    return {
        "shown": len(samples),
        "of": samples[0]["of"],
        "opponent": next(
            (a["opponent"] for s in samples for a in s["responses"] if a.get("opponent")), None
        ),
        "data": {
            "models": [m for m in models if any(a["model"] == m for a in samples[0]["responses"])],
            "prompts": [
                {
                    **{name: sample[name] for name in ("prompt_id", "family", "prompt", "picked")},
                    "responses": [_answer(answer) for answer in sample["responses"]],
                }
                for sample in samples
            ],
        },
    }


def _answer(answer: Mapping[str, Any]) -> Record:
    apart = distance(answer)
    return {
        "model": answer["model"],
        "response": answer["response"],
        "finished": answer["finished"],
        "scores": {name: round(value, 2) for name, value in answer["scores"].items()},
        "ratings": {name: round(value, 2) for name, value in answer["ratings"].items()},
        "against": answer["against"],
        "length": answer.get("length"),
        "apart": None if apart is None else round(apart, 2),
    }


def _environment(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of the machine that trained; each library is an entry of its own."""
    found = (results["costs"].get("bills") or {}).get("environment")
    known: Mapping[str, Any] = cleaned(found or {})
    lines = [(name.replace("_", " "), _text(v)) for name, v in known.items() if name != "libraries"]
    return [*lines, *((name, _text(v)) for name, v in (known.get("libraries") or {}).items())]


def _text(value: object) -> str:
    return "–" if value is None else str(value)


def _commands(results: Mapping[str, Any]) -> list[str]:
    """How to make the results again: of a recipe's run, or the command that was typed."""
    if results.get("command"):
        return [results["command"]]
    return commands(results["recipe"])
