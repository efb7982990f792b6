"""Cold run, second run and `--help`: wall seconds and peak memory, as a Markdown table.

    python benchmarks/default_run.py [RECIPE] [--keep DIR]

Memory is the sum of the proportional set sizes of the command and its workers, sampled five times
a second: pages that processes share count once. `--help` is the median of five starts.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch

ALIGNBENCH = [sys.executable, "-m", "alignbench"]


def memory(root: psutil.Process) -> int:
    """Bytes of the process and its descendants now."""
    total = 0
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total


def measure(*arguments: str) -> tuple[float, int]:
    """Wall seconds and peak bytes of one alignbench command, which must succeed."""
    started, peak = time.monotonic(), 0
    with subprocess.Popen([*ALIGNBENCH, *arguments], stdout=subprocess.DEVNULL) as child:
        root = psutil.Process(child.pid)
        while child.poll() is None:
            with contextlib.suppress(psutil.Error):
                peak = max(peak, memory(root))
            time.sleep(0.2)
    if child.returncode:
        sys.exit(f"alignbench {' '.join(arguments)}: exit code {child.returncode}")
    return time.monotonic() - started, peak


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", nargs="?", default="recipes/gpt2_all.yaml")
    parser.add_argument("--keep", type=Path, help="run there instead of in a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = (options.keep or Path(temporary)) / "run"
        cold, cold_peak = measure("run", options.recipe, "--out", str(out))
        warm, warm_peak = measure("run", options.recipe, "--out", str(out))
    helps = [measure("--help")[0] for _ in range(5)]
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    print(
        f"Machine: {psutil.cpu_count()} cores ({model}), "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, Python {platform.python_version()}, "
        f"torch {torch.__version__}\n"
    )
    print("| what | wall seconds | peak memory |\n|---|---|---|")
    print(f"| cold run of {options.recipe} | {cold:.0f} | {cold_peak / 2**30:.2f} GiB |")
    print(f"| second run | {warm:.1f} | {warm_peak / 2**30:.2f} GiB |")
    print(f"| `alignbench --help`, median of 5 | {statistics.median(helps):.2f} | |")


if __name__ == "__main__":
    main()
