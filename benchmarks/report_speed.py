"""How long a large report takes to build and to open, and how large it is.

    python benchmarks/report_speed.py [--methods 10] [--seeds 3] [--prompts 1000] [--samples 4]
                                      [--resamples 200] [--out FILE]

The run is made up (the tests' fake run: no model). Building is reading results, answers, scores
and verdicts, choosing samples, drawing and writing, in this process after imports and without; a
page is open when its load event has fired and the first frame is painted, in headless Chromium
with a cold cache. Both are the median of three. Prints one JSON line and one Markdown row.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from alignbench.results import load
from alignbench.results.schema import save
from alignbench.stages import results
from tests.fake_run import FakeRun
from tests.report.sections import with_sections

REPEATS = 3
#: What `alignbench report` does with a finished run, timed from a cold start.
BUILD = """
import json, sys, time
began = time.perf_counter()
from pathlib import Path
from alignbench.report.html import write_report
from alignbench.report.samples import read_samples
from alignbench.results import load
folders = {name: Path(path) for name, path in json.loads(Path(sys.argv[1]).read_text()).items()}
imported = time.perf_counter()
found = load(Path(sys.argv[2]))
samples = read_samples(folders, found["models"])
read = time.perf_counter()
write_report(found, samples, Path(sys.argv[3]))
done = time.perf_counter()
print(json.dumps({"build": done - began, "imports": imported - began, "read": read - imported,
                  "render": done - read, "cpu": time.process_time(), "shown": len(samples)}))
"""


def made_up(root: Path, options: argparse.Namespace) -> tuple[Path, Path]:
    """A run of that size: a file with its stages' folders, and its results.json."""
    names = ["ppo", "dpo", "reinforce", "grpo", "rlaif", "ipo", "kto", "orpo", "simpo", "rloo"]
    names = (names + [f"method_{n}" for n in range(options.methods)])[: options.methods]
    effects = {"base": -1.5, "sft": 0.0, "sft_copy": 0.0}
    effects |= {name: 0.3 + 0.15 * number for number, name in enumerate(names)}
    fake = FakeRun(
        root / "stages", effects, options.seeds, options.prompts, options.samples, respond=None
    )
    results.run(fake.context(root / "out", resamples=options.resamples))
    found = load(root / "out" / "results.json")
    save(with_sections(found, root / "more", rows=names), root / "out")
    folders = root / "folders.json"
    folders.write_text(json.dumps({name: str(path) for name, path in fake.inputs.items()}))
    return folders, root / "out" / "results.json"


def build(folders: Path, found: Path, page: Path) -> dict[str, Any]:
    """Times of one build in a process of its own."""
    command = [sys.executable, "-c", BUILD, str(folders), str(found), str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def opened(page: Path) -> float:
    """Seconds until the page is loaded and painted."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        began = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="load")
        tab.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        took = time.perf_counter() - began
        browser.close()
    return took


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("methods", 10), ("seeds", 3), ("prompts", 1000), ("samples", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--out", type=Path, help="keep the page there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        folders, found = made_up(root, options)
        page = root / "report.html"
        times = [build(folders, found, page) for _ in range(REPEATS)]
        opens = [opened(page) for _ in range(REPEATS)]
        size = page.stat().st_size
        if options.out is not None:
            shutil.copyfile(page, options.out)
    middle = {name: round(statistics.median(t[name] for t in times), 2) for name in times[0]}
    seconds = round(statistics.median(opens), 2)
    given = {name: getattr(options, name) for name in ("methods", "seeds", "prompts", "samples")}
    print(json.dumps({**given, **middle, "open": seconds, "bytes": size}))
    print(
        f"| {options.methods} methods x {options.seeds} seeds x {options.prompts} prompts x "
        f"{options.samples} samples | built in {middle['build']} s | opened in {seconds} s | "
        f"{size / 1e6:.2f} MB | {middle['shown']:.0f} of {options.prompts} prompts |"
    )


if __name__ == "__main__":
    main()
