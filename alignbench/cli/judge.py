"""``alignbench judge audit``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignbench.cli.common import make_console, say, show_table, warn

if TYPE_CHECKING:
    from alignbench.judges.base import Judge
    from alignbench.scoring.labelled import LabelledPair

RESAMPLES, CONFIDENCE = 2000, 0.95


@click.group("judge")
def command() -> None:
    """Whether a judge is to be trusted."""


@command.command("audit")
@click.argument("pairs", type=click.Path(path_type=Path))
@click.option(
    "--judge", required=True, metavar="YAML", help="As in a recipe: '{kind: local, ...}'."
)
@click.option("--limit", type=click.IntRange(min=1), help="The first so many pairs only.")
@click.option("--repeats", type=click.IntRange(min=0), default=1, help="Ask again so often [1].")
@click.option("--out", type=click.Path(path_type=Path), help="Write the figures here, as JSON.")
def audit_command(
    pairs: Path, judge: str, limit: int | None, repeats: int, out: Path | None
) -> None:
    """Ask a judge about labelled pairs, and print its accuracy and its biases.

    PAIRS has a prompt and either chosen and rejected, or output_1, output_2 and label (1, 2, tie):
    JSON, JSON lines, CSV or Parquet, also .gz. Every pair is asked in both orders. Beside the
    judge stand two trivial ones: the longer answer, and a coin.
    """
    from alignbench.files import write_atomic
    from alignbench.judges.make import make_judge
    from alignbench.report.judge import judge_section
    from alignbench.run_folder import store_root
    from alignbench.scoring.labelled import read_pairs

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # there is a bar of ours
    labelled = read_pairs(pairs)[:limit]
    cache = store_root(Path("runs") / "judge") / "cache"
    section = _section(judge)
    asked = make_judge(section, cache, lambda kind, message: warn(f"{kind}: {message}"))
    figures, bill = _audit(asked, labelled, repeats, section.model_dump())
    shown: dict[str, Any] = {
        "judge": {
            "name": asked.name,
            "identity": asked.identity,
            "simulated": asked.simulated,
            "deterministic": asked.deterministic,
            "bill": bill,
        },
        "judge_audit": {**figures, "truth": [f"the labels of {pairs.name}"]},
    }
    table = judge_section(shown)
    assert table is not None
    console = make_console()
    say(
        console,
        f"Judge: {asked.name}. {figures['pairs']} pairs, {figures['unanswered']} unanswered",
    )
    rows = [
        (line["label"], line["value"], line["bounds"], str(line["n"]), line["meaning"])
        for line in table["figures"]
    ]
    show_table(console, ("", "share", f"{CONFIDENCE:.0%} interval", "of", ""), rows)
    say(console, f"Asked: {', '.join(table['bill'])}")
    if out is not None:
        write_atomic(out, json.dumps(shown, indent=1, sort_keys=True) + "\n")
        say(console, f"Figures: {out}")


def _section(text: str) -> Any:
    """The judge's section of a recipe, validated by the recipe's rules.

    Raises:
        UserError: with everything that is wrong.
    """
    from pydantic import ValidationError

    from alignbench.recipe.check import report
    from alignbench.recipe.document import Node, Problems, parse_value
    from alignbench.recipe.schema import JudgeSection
    from alignbench.recipe.section import Section

    class Asked(Section):
        judge: JudgeSection

    problems = Problems()
    node = Node({"judge": parse_value(text, "--judge", problems)}, "--judge")
    section: Any = None
    try:
        section = Asked.model_validate(node.plain()).judge
        if section.kind in ("sandbox", "none"):
            problems.add("--judge", ("kind",), "there is nobody to audit; write local or openai")
    except ValidationError as error:
        report(error, Asked, node, (), problems)
    problems.stop()
    return section


def _audit(
    judge: Judge, labelled: list[LabelledPair], repeats: int, prices: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Figures of `judges.audit`, and what they took."""
    from rich.progress import Progress as Bar

    from alignbench.judges.audit import JudgedPair, audit
    from alignbench.judges.base import Pair
    from alignbench.judges.bill import Bill

    pairs = [Pair(each.prompt, each.first, each.second) for each in labelled]
    times = 0 if judge.deterministic else repeats
    with Bar(transient=True) as bar:
        task = bar.add_task("asking", total=(2 + times) * len(pairs))
        bill = Bill(lambda done, _: bar.update(task, completed=done), (2 + times) * len(pairs))
        ab = bill.add(judge.compare(pairs, bill.progress()))
        ba = bill.add(judge.compare([pair.swapped() for pair in pairs], bill.progress()))
        again = [
            (each.prompt, first.value, reply.value)
            for repeat in range(1, times + 1)
            for each, first, reply in zip(
                labelled, ab, bill.add(judge.compare(pairs, bill.progress(), repeat)), strict=True
            )
        ]
    judged = [
        JudgedPair(each.prompt, one.value, two.value, len(each.first), len(each.second), each.truth)
        for each, one, two in zip(labelled, ab, ba, strict=True)
    ]
    return audit(judged, again, RESAMPLES, CONFIDENCE), bill.took(prices)
