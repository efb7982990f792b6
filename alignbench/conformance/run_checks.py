"""Checks of how a method's runs end: equal, resumable, sound, and cleanly where they fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pydantic import ValidationError

from alignbench.conformance.trial import Bench
from alignbench.conformance.verdict import Finding, failed, not_applicable, passed
from alignbench.errors import UserError
from alignbench.models.load import load_policy, weights_digest


def same_seed_same_weights(bench: Bench) -> Finding:
    """Two equal runs end in equal weights and bills; where it samples, the seed matters."""
    again = bench.again
    if again.error is not None:
        return failed(f"the second run failed: {again.says()}")
    if again.digest != bench.main.digest:
        return failed("two runs with one seed end in different weights; draw all from inputs.seed")
    if again.bill != bench.main.bill:
        differ = [name for name, value in again.bill.items() if bench.main.bill[name] != value]
        return failed(f"two runs with one seed differ in {', '.join(differ)}")
    if bench.other_seed.error is not None:
        return failed(f"seed 1 fails: {bench.other_seed.says()}")
    if bench.other_seed.digest != bench.main.digest:
        return passed("equal weights and bills; seed 1 gives other weights")
    if bench.moved and any(batch.heat for batch in bench.observer.sampled):
        return failed("it samples, and seeds 0 and 1 give the same weights: use inputs.seed")
    return passed("equal weights and bills; seed 1 gives the same weights")


def snapshots(bench: Bench) -> Finding:
    """Snapshots are taken, can be loaded, and change nothing."""
    if not bench.steps:
        return not_applicable("no optimizer step, so nothing to keep")
    run = bench.snapshots
    if run.error is not None:
        return failed(f"the run with snapshots failed: {run.says()}")
    if run.digest != bench.again.digest:
        if bench.again.digest != bench.main.digest:
            return not_applicable("equal runs differ already")
        return failed("taking snapshots changes the result")
    taken = [line for line in run.metrics["snapshots"] if line["folder"] != "."]
    if not taken:
        if run.metrics["spent_fraction"] < 0.34:
            return not_applicable("ends before the first snapshot is due")
        return failed("no snapshot was taken on the way")
    digests = []
    for line in taken:
        try:
            digests.append(weights_digest(load_policy(run.out / line["folder"] / "model")[0]))
        except Exception as error:  # however it fails to load, it does
            return failed(f"the snapshot at {line['asked']:.0%} does not load: {error}")
    if run.metrics["start_digest"] in digests:
        return failed("a snapshot on the way has the start weights")
    at = ", ".join(f"{line['fraction']:.0%}" for line in taken)
    return passed(f"taken at {at} of the budget; loadable; the result is the same")


def resume(bench: Bench) -> Finding:
    """A run that broke, started again, ends as the unbroken one."""
    if not bench.steps:
        return not_applicable("no optimizer step at which to break it")
    if not bench.broken.probe.failed:
        return not_applicable("the second run had no such step")
    run = bench.resumed
    if run.error is not None:
        return failed(f"started again after a broken run: {run.says()}")
    if run.digest != bench.again.digest:
        if bench.again.digest != bench.main.digest:
            return not_applicable("equal runs differ already")
        return failed("started again after a broken run, it ends in other weights")
    return passed("broken off half-way and run again: the weights of the unbroken run")


def inputs_untouched(bench: Bench) -> Finding:
    """Data, start checkpoint and reward model's files are as they were."""
    if bench.main.touched:
        return failed(f"changed: {', '.join(bench.main.touched[:3])}")
    seen = bench.observer
    if seen.inputs is not None and seen.inputs.reward is not None:
        calibration = type(seen.inputs.reward).load(bench.world.reward).calibration
        if seen.inputs.reward.calibration != calibration:
            return failed("changed: the calibration of inputs.reward")
    return passed(f"{len(bench.untouched)} files byte for byte")


def sound_result(bench: Bench) -> Finding:
    """The run ends; its model is finite, trainable, of the start's shape, and loads."""
    run = bench.main
    if run.error is not None:
        return failed(f"the plain run fails: {run.says()}")
    start = load_policy(bench.world.sft / "model")[0]
    try:
        model = load_policy(run.out / "model")[0]
    except Exception as error:  # however it fails to load, it does
        return failed(f"the saved model does not load: {error}")
    weights, before = model.state_dict(), start.state_dict()
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in before.items()}:
        return failed("the saved model has other parameters than the start model")
    bad = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if bad:
        return failed(f"not finite: {bad[0]}")
    if weights_digest(model) != run.digest:
        return failed("the saved weights are not those in memory")
    frozen = [name for name, p in bench.observer.trained.named_parameters() if not p.requires_grad]
    if frozen:
        return failed(f"left frozen: {frozen[0]}; restore requires_grad")
    steps = f"{bench.steps} optimizer steps" if bench.steps else "no training"
    return passed(f"finite, trainable, loadable ({steps})")


def clean_failure(bench: Bench) -> Finding:
    """Wrong options are named, failures come through, and nothing is left lying about."""
    problem = _options_refused(bench) or _failures_come_through(bench)
    if problem is not None:
        return failed(problem)
    runs = [bench.main, bench.again, bench.starved]
    stray = next((run.stray for run in runs if run.stray), None)
    if stray:
        return failed(f"left outside inputs.scratch: {', '.join(stray[:3])}")
    return passed("bad options are named; errors come through; nothing left behind")


def _options_refused(bench: Bench) -> str | None:
    for name, value in _bad_options(bench):
        try:
            bench.cls.model_validate({**bench.options, name: value})
        except ValidationError as error:
            if not any(name in map(str, found["loc"]) for found in error.errors()):
                return f"the error for option {name}={value!r} does not name it"
        except Exception as error:  # anything else is a traceback for the user
            return f"option {name}={value!r}: {type(error).__name__} in place of a ValidationError"
        else:
            return f"option {name}={value!r} is accepted"
    return None


def _bad_options(bench: Bench) -> Iterator[tuple[str, Any]]:
    """An unknown option, and NaN and a wrong type for each number (that may not be a list too)."""
    yield "no_such_option", 1
    for name, schema in bench.cls.model_json_schema().get("properties", {}).items():
        kinds = {part.get("type") for part in (schema, *schema.get("anyOf", ()))}
        if kinds & {"number", "integer"}:
            yield name, float("nan")
            if "array" not in kinds:
                yield name, ["nonsense"]


def _failures_come_through(bench: Bench) -> str | None:
    if bench.steps and bench.broken.probe.failed and bench.broken.error is None:
        return "an error at an optimizer step was swallowed: the run ended as if it were sound"
    starved = bench.starved
    if starved.error is not None and not isinstance(starved.error, UserError):
        return f"without data: {starved.says()}; raise alignbench.errors.UserError"
    return None
