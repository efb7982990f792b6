"""One run of the real harness in the tiny world, and all that a conformance asks to be run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignbench.conformance import world as worlds
from alignbench.conformance.instruments import Counting, Starved, Ticking
from alignbench.conformance.observe import Observer
from alignbench.conformance.probe import Probe, Runaway, patched_train
from alignbench.conformance.world import World
from alignbench.digest import FileDigest, sha256_tree
from alignbench.methods.base import Method
from alignbench.stage import StageContext
from alignbench.stages import method as stage

STEPS = 4
"""Optimizer steps of a run, where the method does not end sooner."""
SECONDS = 60.0
"""Of one run, before it is broken off; most take less than one."""
Bill = Mapping[str, int]


@dataclass
class Outcome:
    """How one run went.

    Attributes:
        name: what the run was for.
        out: the stage's output folder.
        probe: the instruments it ran under.
        error: what came out of the harness in place of an end.
        metrics: the stage's metrics.json; empty after an error.
        notes: what the stage told the user.
        touched: files of the inputs that changed; `stray`: files left where none belong.
    """

    name: str
    out: Path
    probe: Probe
    error: BaseException | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str | None:
        """Digest of the final weights."""
        return self.metrics.get("weights_digest")

    @property
    def bill(self) -> Bill:
        """What was consumed in all."""
        bill: Bill = self.metrics.get("consumed", {})
        return bill

    def says(self) -> str:
        """The error in one line."""
        text = str(self.error).strip() or "(no message)"
        return f"{type(self.error).__name__}: {text.splitlines()[0]}"


class Bench:
    """Runs of one method, each made when a check first asks for it.

    Args:
        cls: the method's class, found at ``cls.__module__:cls.__qualname__``.
        options: its options, valid.
        root: an empty folder to work in.
    """

    def __init__(self, cls: type[Method], options: Mapping[str, Any], root: Path) -> None:
        self.cls, self.options, self.root = cls, dict(options), root
        self.method = cls.model_validate(self.options)
        self.world: World = worlds.build(root / "world")
        self.untouched = self._files()
        self._runs = 0

    @cached_property
    def main(self) -> Outcome:
        """Within `STEPS` optimizer steps, under the observer."""
        return self.run("main", Observer())

    @property
    def observer(self) -> Observer:
        """The instruments of `main`."""
        assert isinstance(self.main.probe, Observer)
        return self.main.probe

    @cached_property
    def again(self) -> Outcome:
        """The same run once more, without instruments."""
        return self.run("again")

    @cached_property
    def counted(self) -> Outcome:
        """The same with its matrix products counted (which changes the last bits of some)."""
        return self.run("counted", Counting())

    @cached_property
    def other_seed(self) -> Outcome:
        """The same with another seed."""
        return self.run("other seed", seed=1)

    @cached_property
    def snapshots(self) -> Outcome:
        """The same with snapshots on the way."""
        return self.run("snapshots", snapshots=(0.34, 0.67, 1.0))

    @cached_property
    def broken(self) -> Outcome:
        """The same, broken off by an error at an optimizer step in the middle."""
        return self.run("broken", Probe(fail_at=max(1, len(self.observer.bills) // 2)))

    @cached_property
    def resumed(self) -> Outcome:
        """The unbroken run after the broken one."""
        assert self.broken.probe.failed
        return self.run("resumed")

    @cached_property
    def starved(self) -> Outcome:
        """Without data."""
        return self.run("starved", Starved())

    def timed(self, seconds: float) -> Outcome:
        """With so much time, by a clock on which an optimizer step takes a second."""
        return self.run("wall_hours", Ticking(), budget={"wall_hours": seconds / 3600})

    @property
    def steps(self) -> int:
        """Optimizer steps of the policy in `main`, counted by hooks."""
        return len(self.observer.bills)

    @property
    def moved(self) -> bool:
        """Whether `main` changed the weights."""
        return self.main.digest != self.main.metrics.get("start_digest")

    def run(
        self,
        name: str,
        probe: Probe | None = None,
        seed: int = 0,
        budget: Mapping[str, float] | None = None,
        snapshots: Sequence[float] = (),
    ) -> Outcome:
        """Run the method stage as a worker does, and look at what it left behind."""
        self._runs += 1
        place = self.root / f"run{self._runs}"
        out, elsewhere = place / "out", place / "elsewhere"
        out.mkdir(parents=True)
        elsewhere.mkdir()
        outcome = Outcome(name, out, probe if probe is not None else Probe())
        self._disturb()
        with (
            _within(elsewhere),
            outcome.probe.around_stage(),
            patched_train(self.cls, outcome.probe),
        ):
            try:
                with _time_limit(SECONDS):
                    stage.run(self._context(outcome, seed, budget, snapshots))
            except (Exception, Runaway) as error:  # any way of failing is a finding
                outcome.error = error
            else:
                outcome.metrics = json.loads((out / "metrics.json").read_text())
        files = self._files()
        outcome.touched = sorted(
            name
            for name in {*files, *self.untouched}
            if files.get(name) != self.untouched.get(name)
        )
        outcome.stray = self._stray(outcome, elsewhere)
        if outcome.touched:  # the next run shall not suffer from it
            shutil.rmtree(self.world.root)
            self.world = worlds.build(self.world.root)
        return outcome

    def _context(
        self,
        outcome: Outcome,
        seed: int,
        budget: Mapping[str, float] | None,
        snapshots: Sequence[float],
    ) -> StageContext:
        config = {
            "row": "conformance",
            "options": {"uses": f"{self.cls.__module__}:{self.cls.__qualname__}", **self.options},
            "seed": seed,
            "budget": dict(budget if budget is not None else {"optimizer_steps": STEPS}),
            "budget_override": False,
            "snapshots": list(snapshots),
            "max_prompt_tokens": worlds.MAX_PROMPT,
            "max_response_tokens": worlds.MAX_RESPONSE,
            "precision": "fp32",
            "labeller": "reward_model",
        }
        return StageContext(
            outcome.out,
            config,
            self.world.inputs(),
            progress=lambda done, total, **_: None,
            note=lambda kind, message: outcome.notes.append(message),
        )

    def _disturb(self) -> None:
        """Another state of the global random numbers before each run: none may rely on it."""
        random.seed(self._runs)
        np.random.seed(self._runs)
        torch.manual_seed(self._runs)

    def _files(self) -> dict[str, FileDigest]:
        return sha256_tree(self.world.root)

    def _stray(self, outcome: Outcome, elsewhere: Path) -> list[str]:
        """Files in the current or temporary folder, or unknown ones in the stage's output."""
        known = {"model", "snapshots", "log.jsonl", "metrics.json", "cost.json", "decoder.json"}
        if outcome.error is not None:
            known.add("scratch")  # the store drops it with the rest of a failed stage
        stray = [
            f"the output folder: {p.name}" for p in outcome.out.iterdir() if p.name not in known
        ]
        stray += [
            f"the {name} folder: {path.name}"
            for name in ("current", "temporary")
            for path in (elsewhere / name).iterdir()
        ]
        return sorted(stray)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """`Runaway` comes out of what takes longer, in the main thread of systems with SIGALRM."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() != threading.main_thread():
        yield
        return

    def ring(*_: Any) -> None:
        raise Runaway(f"not done after {seconds:g} s")

    handler, started = signal.signal(signal.SIGALRM, ring), time.monotonic()
    # Again and again, for those who swallow it.
    before, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 5.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if before:
            left = max(before - (time.monotonic() - started), 0.001)
            signal.setitimer(signal.ITIMER_REAL, left, interval)


@contextmanager
def _within(folder: Path) -> Iterator[None]:
    """Current and temporary folder below `folder`, so that what is left there is seen."""
    (folder / "current").mkdir()
    (folder / "temporary").mkdir()
    before, directory, given = Path.cwd(), tempfile.tempdir, os.environ.get("TMPDIR")
    os.chdir(folder / "current")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder / "temporary")
    try:
        with contextlib.redirect_stdout(None):
            yield
    finally:
        os.chdir(before)
        tempfile.tempdir = directory
        if given is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = given
