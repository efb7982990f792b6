"""How often `alignbench check` is wrong on the smoke recipe, with no change and with real bugs.

    python benchmarks/gate_error_rates.py [--folder DIR] [--clean 20] [--runs 10] [--bugs A,B]
                                          [--baseline-seeds 8] [--baselines 20] [--jobs N]

A *run* is the smoke recipe with two seeds that no other run has. Trained are `--clean` runs of the
code as it is, and `--runs` of each bug of `tests/gate/bugs.py`, each bug in a stage store of its
own; what is trained stays in `--folder`, and the same command goes on from there. A *check*
compares one run with a baseline: the seeds of as many other clean runs as make `--baseline-seeds`,
drawn at random, as if they had been one run with so many seeds. Each clean run meets `--baselines`
of them, and each run with a bug one.

The last lines are a Markdown table: checks that failed, the exact (Clopper-Pearson) 95 % interval,
and which comparisons failed most. Checks that share runs are not independent: the interval of "no
change" is too narrow by that, so runs that failed at least once are counted too. A minute or two a
run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from alignbench.gate import Outcome, compare_entries
from alignbench.leaderboard.schema import Cell, Entry, Observations, Seen, Signal, Trained
from alignbench.stats.rates import rate_interval

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.gate.bugs import BUGS, VARIABLE  # noqa: E402

RECIPE = ROOT / "recipes" / "smoke.yaml"
SEEDS = 2
FIRST_SEED = 1000
UNHARMED = ("data", "base")
"""Stages that no bug touches: stores of bugs begin with them."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path("runs/gate_error_rates"))
    parser.add_argument("--clean", type=int, default=20)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--bugs", default=",".join(BUGS))
    parser.add_argument("--baseline-seeds", type=int, default=8)
    parser.add_argument("--baselines", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    if given.clean < 1 + given.baseline_seeds // SEEDS:
        parser.error("--clean: too few runs for one baseline and a run beside it")
    clean = trained("", given.clean, given.folder, given.jobs)
    print(f"| change | checks that failed | rate, 95 % | runs | most often |\n|{'---|' * 5}")
    draw = random.Random(0)
    checks = []
    for run in clean:
        others = [other for other in clean if other is not run]
        picks = (draw.sample(others, given.baseline_seeds // SEEDS) for _ in range(given.baselines))
        checks.append([check(pick, run) for pick in picks])
    failed = sum(any(map(fails, own)) for own in checks)
    report("none", [each for own in checks for each in own], f"{failed} of {len(clean)}")
    for bug in given.bugs.split(",") if given.bugs else ():
        runs = trained(bug, given.runs, given.folder, given.jobs)
        found = [check(draw.sample(clean, given.baseline_seeds // SEEDS), run) for run in runs]
        report(bug, found, f"{sum(map(fails, found))} of {len(runs)}")


def check(baseline: Sequence[Entry], run: Entry) -> Outcome:
    return compare_entries(merged(baseline), run, deciding=(), retrained=True)


def fails(outcome: Outcome) -> bool:
    return bool(outcome.worse)


def report(change: str, outcomes: Sequence[Outcome], runs: str) -> None:
    count = sum(map(fails, outcomes))
    interval = rate_interval(count, len(outcomes))
    often = Counter(f"{f.row} {f.name}" for each in outcomes for f in each.worse).most_common(3)
    told = "; ".join(f"{name} ({times})" for name, times in often) or "–"
    bounds = "–" if interval.low is None else f"{interval.low:.1%} to {interval.high:.1%}"
    print(f"| {change} | {count} of {len(outcomes)} | {bounds} | {runs} | {told} |", flush=True)


def trained(bug: str, runs: int, folder: Path, jobs: int) -> list[Entry]:
    """Entries of `runs` runs with a bug ("" for none), trained where they are not there yet."""
    name = bug or "clean"
    store = folder / "stores" / name
    if bug and not store.exists():
        adopt(folder / "stores" / "clean", store)
    offset = FIRST_SEED * (1 + list(BUGS).index(bug)) if bug else 0
    return [
        train(bug, offset + SEEDS * n, folder / name / str(n), store, jobs) for n in range(runs)
    ]


def adopt(clean: Path, store: Path) -> None:
    store.mkdir(parents=True)
    for stage in clean.iterdir():
        if stage.name.partition("-")[0] in UNHARMED:
            shutil.copytree(stage, store / stage.name)


def train(bug: str, first: int, out: Path, store: Path, jobs: int) -> Entry:
    saved = out.with_suffix(".json")
    if not saved.exists():
        seeds = ",".join(str(first + n) for n in range(SEEDS))
        command = [sys.executable, "-m", "alignbench", "run", str(RECIPE), "--seeds", seeds]
        command += ["--out", str(out), "--jobs", str(jobs), "--tracker", "none"]
        with tempfile.TemporaryDirectory() as site:
            Path(site, "sitecustomize.py").write_text(
                "from tests.gate.bugs import install\n\ninstall()\n"
            )
            path = os.pathsep.join([site, str(ROOT)])
            settings = {VARIABLE: bug, "ALIGNBENCH_STORE": str(store), "PYTHONPATH": path}
            done = subprocess.run(
                command, env={**os.environ, **settings}, capture_output=True, text=True
            )
        if done.returncode:
            sys.exit(f"{bug or 'clean'}, seeds {seeds}: exit {done.returncode}\n{done.stderr}")
        os.environ["ALIGNBENCH_STORE"] = str(store)
        from alignbench.gate.source import load_run

        saved.write_text(load_run(str(out)).entry.model_dump_json())
        print(f"trained {bug or 'clean'}, seeds {seeds}", file=sys.stderr, flush=True)
    return Entry.model_validate(json.loads(saved.read_text()))


def merged(entries: Sequence[Entry]) -> Entry:
    """One entry with the seeds of all; of sets of texts, which do not add up, it says nothing."""
    first = entries[0]
    assert first.observations is not None
    rows = first.certificate["rows"]
    seen = {row: joined_scores(entries, row, row in rows) for row in first.models}
    observations = Observations(prompts=first.observations.prompts, rows=seen)
    training = {
        row: joined_training([e.training[row] for e in entries if e.training], row in rows)
        for row in first.training or {}
    }
    cells = list(known(first.rows, seen))
    changes = {"rows": cells, "observations": observations, "training": training}
    return first.model_copy(update=changes)


def known(cells: Sequence[Cell], seen: dict[str, Seen]) -> Iterator[Cell]:
    for cell in cells:
        values = [v for v in seen[cell.model].means.get(cell.metric, []) if v is not None]
        if values:
            mean = sum(values) / len(values)
            yield cell.model_copy(update={"value": mean, "n_seeds": len(values)})


def joined_scores(entries: Sequence[Entry], row: str, has_seeds: bool) -> Seen:
    parts = [e.observations.rows[row] for e in entries if e.observations is not None]
    if not has_seeds:
        return parts[0]
    return Seen(
        seeds=[seed for part in parts for seed in part.seeds],
        means={name: [v for p in parts for v in p.means[name]] for name in parts[0].means},
        prompts={name: [v for p in parts for v in p.prompts[name]] for name in parts[0].prompts},
    )


def joined_training(parts: Sequence[Trained], has_seeds: bool) -> Trained:
    if not has_seeds:
        return parts[0]
    quantities = {}
    for name in dict.fromkeys(name for part in parts for name in part.quantities):
        signals = [part.quantities.get(name, nothing(len(part.seeds))) for part in parts]
        quantities[name] = Signal(
            first=[v for s in signals for v in s.first],
            mean=[v for s in signals for v in s.mean],
            rms=[v for s in signals for v in s.rms],
        )
    currencies = dict.fromkeys(name for part in parts for name in part.spent)
    return Trained(
        seeds=[seed for part in parts for seed in part.seeds],
        quantities=quantities,
        spent={
            name: [v for p in parts for v in p.spent.get(name, [None] * len(p.seeds))]
            for name in currencies
        },
    )


def nothing(seeds: int) -> Signal:
    return Signal(first=[None] * seeds, mean=[None] * seeds, rms=[None] * seeds)


if __name__ == "__main__":
    main()
