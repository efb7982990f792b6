"""What the meter costs: step time with it over step time without it.

    python benchmarks/meter_overhead.py [--pairs 200] [--threads 1] [--clock wall|cpu] [--quick]

Two kinds of step on the shipped sandbox model (0.7M parameters, little work to hide a cost in): one
that samples, and trains on the samples as GRPO does, and one of DPO. The learning rate is 0 and the
seed fixed, so every step does the same work. Pairs come in ABBA order, which cancels drift; the
result is the median of the pairs' ratios with a 95 % bootstrap interval. One JSON line and one
Markdown row each. On a busy machine ask for CPU time, which leaves out waiting. Steps are bare: a
trainer around them would only dilute the meter's share.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from alignbench.metering.budget import Budget
from alignbench.metering.meter import Meter
from alignbench.metering.watch import watch
from alignbench.models.decode import Decoding, sample
from alignbench.models.load import load_policy
from alignbench.models.logprobs import padded_logprobs
from alignbench.models.padding import left_pad, right_pad
from alignbench.pretrained import FOLDER

PROMPTS, SAMPLES, NEW_TOKENS = 8, 4, 48

Step = Callable[[], None]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def steps() -> dict[str, Step]:
    """The two steps; calling one does it."""
    policy, tokenizer = load_policy(FOLDER / "model")
    reference = load_policy(FOLDER / "model")[0].requires_grad_(False)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=0.0, fused=True)
    prompts = torch.randint(2, 1536, (PROMPTS, 16), generator=torch.Generator().manual_seed(0))
    repeated = [row for row in prompts.tolist() for _ in range(SAMPLES)]

    def batch(completions: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, int]:
        left, left_mask = left_pad([tuple(row) for row in repeated], policy.device)
        right, right_mask = right_pad(completions, policy.device)
        return torch.cat([left, right], 1), torch.cat([left_mask, right_mask], 1), right.shape[1]

    def update(loss: torch.Tensor) -> None:
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def grpo() -> None:
        decoding = Decoding(NEW_TOKENS, 1.0)
        done = sample(policy, tokenizer, repeated, decoding, 0, len(repeated))
        ids, mask, keep = batch([completion.ids for completion in done])
        logprobs, _ = padded_logprobs(policy, ids, mask, keep)
        update(-(logprobs * mask[:, -keep:]).mean())

    answers = torch.randint(
        2, 1536, (len(repeated), NEW_TOKENS), generator=torch.Generator().manual_seed(1)
    )
    pairs = batch(answers.tolist())

    def dpo() -> None:
        ids, mask, keep = pairs
        with torch.no_grad():
            frozen = padded_logprobs(reference, ids, mask, keep)[0].sum(1)
        margin = padded_logprobs(policy, ids, mask, keep)[0].sum(1) - frozen
        update(-logsigmoid(0.1 * (margin[::2] - margin[1::2])).mean())

    return {"GRPO": grpo, "DPO": dpo}


def seconds(step: Step, clock: Callable[[], float], meter: Meter, metered: bool) -> float:
    """One step's time; hooks are put in and taken out off the clock."""
    around: AbstractContextManager[None] = watch(meter) if metered else nullcontext()
    with around:
        began = clock()
        step()
        return clock() - began


def ratios(step: Step, pairs: int, clock: Callable[[], float]) -> tuple[np.ndarray, float]:
    """Ratio of each pair, and the median milliseconds of a step without the meter."""
    meter = Meter(Budget(flops=1e18))  # a limit, so that it is compared with after each forward
    for metered in (True, False) * 3:
        seconds(step, clock, meter, metered)
    gc.collect()
    gc.disable()  # a collection costs as much as a step and would hit one of a pair
    found, plain = [], []
    for number in range(pairs):
        order = (False, True) if number % 2 else (True, False)
        times = {metered: seconds(step, clock, meter, metered) for metered in order}
        found.append(times[True] / times[False])
        plain.append(times[False])
        if number % 20 == 19:
            gc.collect()
    gc.enable()
    return np.array(found), 1000 * float(np.median(plain))


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    draws = np.random.default_rng(0).integers(len(values), size=(4000, len(values)))
    low, high = np.quantile(np.median(values[draws], axis=1), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--quick", action="store_true", help="10 pairs: only to see it work")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name, step in steps().items():
        pairs = 10 if options.quick else options.pairs
        found, plain = ratios(step, pairs, CLOCKS[options.clock])
        low, high = interval(found)
        result = {
            "step": name,
            "pairs": len(found),
            "threads": options.threads,
            "clock": options.clock,
            "plain_ms": round(plain, 1),
            "ratio": round(float(np.median(found)), 4),
            "interval": [round(low, 4), round(high, 4)],
            "torch": torch.__version__,
            "machine": platform.machine(),
        }
        print(json.dumps(result))
        print(
            f"| {name} step, meter on / off ({len(found)} pairs) | {plain:.0f} ms | "
            f"{result['ratio']:.3f} ({low:.3f} to {high:.3f}) |"
        )


if __name__ == "__main__":
    main()
