"""``alignbench data collect``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from alignbench.cli.common import make_console, say, warn

NOBODY = "none"


@click.command("collect")
@click.option("--model", type=click.Path(path_type=Path), help="Folder of the model that answers.")
@click.option("--prompts", type=click.Path(path_type=Path), help="Text (one a line) or data file.")
@click.option("--labeller", help="sandbox, reward:FOLDER, judge:FILE.yaml, or none: for people.")
@click.option("--ranked", type=click.Path(path_type=Path), help="Answers that people have ranked.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to be written.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
@click.option("--samples", type=click.IntRange(2, 100), default=4, show_default=True)
@click.option("--temperature", type=click.FloatRange(0, min_open=True), default=1.0)
@click.option("--max-prompt-tokens", type=click.IntRange(min=1), default=512, show_default=True)
@click.option("--max-response-tokens", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="The first so many prompts only.")
def command(
    model: Path | None,
    prompts: Path | None,
    labeller: str | None,
    ranked: Path | None,
    out: Path,
    overwrite: bool,
    limit: int | None,
    **sampling: Any,
) -> None:
    """Sample answers, have them ranked, and write all pairs, for source `preference`.

    \b
    alignbench data collect --model DIR --prompts p.txt --labeller reward:DIR --out pairs.jsonl
    alignbench data collect --model DIR --prompts p.txt --labeller none --out to_rank.jsonl
    alignbench data collect --ranked to_rank.jsonl --out pairs.jsonl

    With --labeller none people put a rank (1 = best) in place of every null, and --ranked makes
    pairs of their file. FILE.meta.json records the model and the labeller.
    """
    _check(model, prompts, labeller, ranked, out, overwrite)
    if ranked is not None:
        _from_people(ranked, out)
        return
    assert model is not None
    assert prompts is not None
    assert labeller is not None
    _from_model(model, prompts, labeller, out, limit, sampling)


def _check(
    model: Path | None,
    prompts: Path | None,
    labeller: str | None,
    ranked: Path | None,
    out: Path,
    overwrite: bool,
) -> None:
    """Everything that is wrong with the options, before anything is loaded.

    Raises:
        UserError: with all of it.
    """
    from alignbench.errors import UserError

    given = {"--model": model, "--prompts": prompts, "--labeller": labeller}
    problems = []
    if ranked is not None:
        extra = [name for name, value in given.items() if value is not None]
        if extra:
            problems.append(f"--ranked makes pairs of what is there; remove {', '.join(extra)}")
        if not ranked.is_file():
            problems.append(f"--ranked: there is no file {ranked}")
    else:
        problems += [f"{name} is required" for name, value in given.items() if value is None]
        if model is not None and not model.is_dir():
            problems.append(f"--model: there is no folder {model}")
        if prompts is not None and not prompts.is_file():
            problems.append(f"--prompts: there is no file {prompts}")
    if not out.name.endswith(".jsonl"):
        problems.append(f"--out: JSON lines are written; name it {out.name}.jsonl")
    if not out.parent.is_dir():
        problems.append(f"--out: there is no folder {out.parent}")
    elif out.exists() and not overwrite:
        problems.append(f"--out: {out} is there; name another file, or add --overwrite")
    if problems:
        raise UserError(*problems)


def _from_people(ranked: Path, out: Path) -> None:
    from alignbench.data import collect
    from alignbench.data import ranked as reading
    from alignbench.digest import sha256_file
    from alignbench.errors import UserError

    rows, left_out, annotators = reading.read(ranked)
    if not rows:
        raise UserError(f"{ranked}: no pair in it ({_told(left_out) or 'no answers'})")
    labelled_by = {"kind": "people", "annotators_at_most": annotators}
    source = {"path": str(ranked), "sha256": sha256_file(ranked)}
    collect.write(
        out, rows, {"labeller": labelled_by, "ranked": source, "left_out": dict(left_out)}
    )
    _say(out, len(rows), "pairs", left_out)


def _from_model(
    model: Path,
    prompts: Path,
    labeller: str,
    out: Path,
    limit: int | None,
    sampling: dict[str, Any],
) -> None:
    from alignbench.data import collect, labellers
    from alignbench.errors import UserError

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # there is a bar of ours
    how = collect.Sampling(**sampling)
    questions, left_out = collect.read_prompts(prompts, limit)
    ranks = (
        None
        if labeller == NOBODY
        else labellers.make(labeller, how.seed, lambda kind, text: warn(f"{kind}: {text}"))
    )
    with _bar("sampling") as progress:
        asked, lost, digest = collect.sample(model, questions, how, progress)
    left_out += lost
    meta = collect.about(model, digest, how)
    if ranks is None:
        rows = collect.to_rank(asked)
        identity: Any = {"kind": NOBODY}
    else:
        with _bar("ranking") as progress:
            rows, lost = collect.pairs(asked, ranks, progress)
        left_out += lost
        identity = ranks.identity
        if not rows:
            raise UserError(f"--labeller: it made no pair ({_told(left_out)})")
    by = {"model": digest, **({} if ranks is None else {"labeller": ranks.name})}
    rows = [{**row, **by} for row in rows]
    collect.write(out, rows, {**meta, "labeller": identity, "left_out": dict(left_out)})
    _say(out, len(rows), "prompts to rank" if ranks is None else "pairs", left_out)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time to go on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _told(left_out: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())


def _say(out: Path, count: int, what: str, left_out: Counter[str]) -> None:
    console = make_console()
    say(console, f"{out}: {count:,} {what}")
    if left_out:
        say(console, f"Left out: {_told(left_out)}")
