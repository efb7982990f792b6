"""How far each built-in method goes beyond a limit in each currency, in the conformance world.

    python benchmarks/budget_overshoot.py [--methods dpo,grpo]

A limit lies within a step (at 55 % of what the method would spend). The overshoot is given as a
share of the dearest step, which is the most that the budget allows to be exceeded by. Prints a
Markdown table.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from itertools import pairwise
from pathlib import Path

from alignbench.worker import environment

os.environ.update(environment(offline=True))

from alignbench.conformance.options import tiny_options
from alignbench.conformance.trial import Bench
from alignbench.metering.currencies import LABELS, WORK
from alignbench.methods.registry import BUILTIN, method_class

DATA = ("prompts", "human_labels", "ai_labels")


def measure(name: str) -> dict[str, str]:
    """Currency -> overshoot in steps, or "–" where the method spends nothing of it."""
    cls = method_class(name, {})
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(cls, tiny_options(cls, {}), Path(folder).resolve())
        main = bench.main
        assert main.error is None, main.says()
        for currency in WORK:
            bills = bench.observer.bills
            spent = main.bill[currency]
            if not spent or len(bills) < 2:
                found[currency] = "–"
                continue
            dearest = max(
                b[currency] - a[currency]
                for a, b in pairwise([dict.fromkeys(main.bill, 0), *bills])
            )
            limit = 0.55 * spent
            run = bench.run(currency, budget={currency: limit})
            assert run.error is None, run.says()
            over = max(0.0, run.bill[currency] - limit)
            found[currency] = f"{over / dearest:.2f}"
        for currency in DATA:
            spent = main.bill[currency]
            if spent < 2:
                found[currency] = "–"
                continue
            limits = {currency: spent // 2, "optimizer_steps": max(2, bench.steps)}
            run = bench.run(currency, budget=limits)
            found[currency] = (
                "0" if run.error is None and run.bill[currency] <= spent // 2 else "refused"
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--methods", default=",".join(sorted(BUILTIN)))
    names = parser.parse_args().methods.split(",")
    columns = (*WORK, *DATA)
    print("| method |", " | ".join(LABELS[c].lower() for c in columns), "|")
    print("|---" * (len(columns) + 1), "|", sep="")
    for name in names:
        found = measure(name)
        print(f"| {name} |", " | ".join(found[c] for c in columns), "|", flush=True)


if __name__ == "__main__":
    main()
