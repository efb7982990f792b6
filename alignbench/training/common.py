"""What every TRL / transformers trainer here is given, and how it reports.

(Used by SFT, reward models, DPO and the on-policy loop. Change it for all of them or for none.)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, TrainerCallback

from alignbench.errors import UserError
from alignbench.metering.meter import Meter

# Trainers log these too; they differ between equal runs, and log.jsonl must not.
_TIMES = ("runtime", "per_second", "step_time", "total_flos", "profiling")


UNLIMITED_STEPS = 1_000_000
"""Stands for "until the budget ends" where a trainer wants a number of steps or epochs."""
Schedule = Literal["constant", "linear", "cosine"]


def trainer_arguments(
    folder: Path, precision: str, seed: int, checkpointing: bool = False
) -> dict[str, Any]:
    """Arguments on which no trainer's default can be relied upon (trl-notes, "CPU").

    Args:
        folder: where the trainer may write; nothing of it is kept.
        precision: ``fp32``, ``bf16`` or ``fp16`` (mixed precision: weights stay fp32).
        seed: of data order and everything else the trainer draws.
        checkpointing: recompute activations in the backward pass.

    Raises:
        UserError: fp16 without a CUDA device.
    """
    if precision == "fp16" and not torch.cuda.is_available():
        raise UserError(
            "precision: fp16 needs a CUDA device, and there is none here. Use "
            "`--set precision=fp32` (or bf16), or `--profile cpu`."
        )
    return {
        "output_dir": str(folder),
        "use_cpu": not torch.cuda.is_available(),
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "gradient_checkpointing": checkpointing,
        # The other kind finds nothing to differentiate where only an adapter is trained.
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if checkpointing else None,
        "optim": "adamw_torch_fused",
        "report_to": [],
        "save_strategy": "no",
        "logging_strategy": "steps",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "seed": seed,
        "data_seed": seed,
    }


def grouped_by_length() -> dict[str, Any]:
    """Arguments for batches of rows of similar length, which pad less.

    The dataset has a column `length`; it must survive until the sampler, hence no pruning.
    """
    return {"train_sampling_strategy": "group_by_length", "remove_unused_columns": False}


@contextmanager
def json_log(path: Path) -> Iterator[Callable[..., None]]:
    """A function ``log(step, **values)`` that writes one JSON line each, readable at once."""
    with path.open("w", encoding="utf-8") as file:

        def log(step: int, **values: Any) -> None:
            file.write(json.dumps({"step": step, **values}, sort_keys=True) + "\n")
            file.flush()

        yield log


def write_json(path: Path, value: Any) -> None:
    """Indented JSON with sorted keys, so that equal values make equal files; no NaN."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


class LogCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """Passes what a trainer logs to a log writer and its steps to a progress function.

    Args:
        log: ``log(step, **values)``.
        progress: ``progress(done, total, **last_values)``.
        meter: of a method; what is spent is logged with each line, and where a budget may end the
            training, progress is its share.
    """

    def __init__(
        self,
        log: Callable[..., None],
        progress: Callable[..., None],
        meter: Meter | None = None,
    ) -> None:
        self.log, self.progress, self.meter = log, progress, meter
        self.last: dict[str, float] = {}

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Write all finite numbers but times."""
        values = {
            key.replace("/", "_"): value
            for key, value in (logs or {}).items()
            if isinstance(value, (int, float))
            and math.isfinite(value)
            and not any(part in key for part in _TIMES)
        }
        if self.meter is not None:
            values["flops"] = self.meter.bill()["flops"]
            if self.meter.limits:
                values["spent_fraction"] = self.meter.fraction()
        self.log(state.global_step, **values)
        self.last = {k: v for k, v in values.items() if k in ("loss", "reward", "sequence_kl")}

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report the step."""
        share = self.meter.fraction() if self.meter is not None else 0.0
        if share > state.global_step / state.max_steps:
            self.progress(min(share, 1.0), 1.0, **self.last)
        else:
            self.progress(state.global_step, state.max_steps, **self.last)


def attach(trainer: Any, *callbacks: TrainerCallback) -> None:
    """Add callbacks, and take out the one that prints every log line to stdout."""
    trainer.remove_callback(PrinterCallback)
    for callback in callbacks:
        trainer.add_callback(callback)


class BudgetCallback(TrainerCallback):  # type: ignore[misc]
    """Ends a trainer at the optimizer step at which the budget is spent."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for the stop; the harness would enforce it at the next step."""
        if self.meter.exhausted() is not None:
            control.should_training_stop = True


def learning_rate_factor(kind: Schedule, warmup: float, x: float) -> float:
    """Factor of the learning rate at share `x` of the training; 0 at its end unless constant.

    The shapes of transformers' schedules, over shares in place of steps.

    Args:
        kind: what follows the warm-up.
        warmup: share of the training over which the factor rises from 0 to 1.
        x: in [0, 1]; beyond 1 it is taken as 1.
    """
    if x < warmup:
        return x / warmup
    left = (1 - min(x, 1.0)) / (1 - warmup)
    return {"constant": 1.0, "linear": left, "cosine": 0.5 * (1 - math.cos(math.pi * left))}[kind]


def budget_schedule(
    optimizer: torch.optim.Optimizer,
    kind: Schedule,
    warmup_fraction: float,
    meter: Meter,
    total_steps: int | None,
) -> LambdaLR:
    """A schedule that ends where the training ends, be it the budget or the steps asked for.

    It follows the share of the budget that is spent and not a number of steps planned from it, so
    it cannot miss the end, whatever a step turns out to cost. What was spent before it is made
    (sampling and labelling, say) does not shorten it.

    Args:
        total_steps: where the training ends without a budget; None: never.
    """
    before = min(meter.fraction(), 1.0)

    def factor(step: int) -> float:
        spent = (meter.fraction() - before) / (1 - before) if before < 1 else 1.0
        done = step / total_steps if total_steps else 0.0
        return learning_rate_factor(kind, warmup_fraction, max(spent, done))

    return LambdaLR(optimizer, factor)
