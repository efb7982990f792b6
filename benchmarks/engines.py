"""Tokens per second of generation by each engine, in one process and one run.

    python benchmarks/engines.py --model DIR [--prompts 8,32,128] [--tokens 64]
        [--precision fp32,bf16] [--rounds 3] [--engines generate,transformers,vllm]

in an environment with vLLM and alignbench; without vLLM leave it out of ``--engines``.

`generate` is transformers' own, batched and padded to the left; `transformers` is
`models.decode`; `vllm` is vLLM in this process, off the clock until it is loaded. Each prompt is
different and each row draws ``--tokens`` tokens, as no token ends it (for vLLM one that is hardly
ever drawn), so that all do the same work; counted is what was drawn. The order of the engines
turns from round to round, so that drift of the machine falls on all; each has a pass off the clock
before, and reported is the median over rounds, with the slowest and the fastest. A Markdown table
on standard output, JSON on standard error.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from alignbench.engines.in_process import VllmSampler
from alignbench.engines.sampler import Sampler, TransformersSampler
from alignbench.engines.settings import Settings
from alignbench.models.decode import Decoding
from alignbench.models.load import load_policy
from alignbench.models.padding import left_pad
from alignbench.models.text import encode_prompt

ENGINES = ("generate", "transformers", "vllm")
TOPICS = ("the sea", "bread", "a lost key", "winter", "chess", "an old map", "trains", "honey")


def main() -> None:
    options = _options()
    counts = [int(count) for count in options.prompts.split(",")]
    rows = []
    for precision in options.precision.split(","):
        with ExitStack() as stack:
            model, tokenizer = load_policy(options.model, precision)
            ids = [encode_prompt(tokenizer, _question(i)) for i in range(max(counts))]
            settings = Settings(
                options.model, precision, max(map(len, ids)) + options.tokens, max(counts), 0.85
            )
            engines = {
                name: _engine(name, stack, model, settings, options.tokens)
                for name in options.engines.split(",")
            }
            for count in counts:
                rows += _measure(engines, ids[:count], precision, options)
    _show(rows, options)


def _engine(
    name: str, stack: ExitStack, model: Any, settings: Settings, tokens: int
) -> Callable[[list[list[int]]], int]:
    """What draws `tokens` tokens for each prompt and returns how many there are."""
    if name == "generate":
        return lambda ids: _generate(model, ids, tokens)
    sampler: Sampler = TransformersSampler(model, _Endless())
    if name == "vllm":
        # It wants a token that exists: the last one, which is hardly ever drawn.
        last = model.config.get_text_config().vocab_size - 1
        sampler = stack.enter_context(VllmSampler(settings, last))
    return lambda ids: sum(len(c.ids) for c in sampler.sample(ids, Decoding(tokens, 1.0), 0))


class _Endless:
    """A tokenizer as far as `models.decode` needs one: no token ends a row."""

    eos_token_id = -1


def _question(number: int) -> str:
    return f"Tell me story number {number} about {TOPICS[number % len(TOPICS)]}."


@torch.inference_mode()
def _generate(model: Any, ids: list[list[int]], tokens: int) -> int:
    padded, mask = left_pad(ids, model.device)
    made = model.generate(
        padded,
        attention_mask=mask,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        pad_token_id=0,
    )
    return int(made[:, padded.shape[1] :].numel())


def _measure(
    engines: dict[str, Callable[[list[list[int]]], int]],
    ids: list[list[int]],
    precision: str,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    speeds: dict[str, list[float]] = {name: [] for name in engines}
    names = list(engines)
    for number in range(options.rounds + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            began = time.perf_counter()
            tokens = engines[name](ids)
            seconds = time.perf_counter() - began
            if number:  # the first pass warms up
                speeds[name].append(tokens / seconds)
    return [
        {"precision": precision, "prompts": len(ids), "engine": name, "tokens_per_second": found}
        for name, found in speeds.items()
    ]


def _show(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    print("| precision | prompts | engine | tokens/s | slowest to fastest |")
    print("|---|---|---|---|---|")
    for row in rows:
        found = row["tokens_per_second"]
        print(
            f"| {row['precision']} | {row['prompts']} | {row['engine']} "
            f"| {statistics.median(found):.0f} | {min(found):.0f} to {max(found):.0f} |"
        )
    facts = {"threads": torch.get_num_threads(), "torch": torch.__version__, **vars(options)}
    print(json.dumps({"options": facts, "rows": rows}, default=str), file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="a transformers folder")
    parser.add_argument("--prompts", default="8,32,128")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--precision", default="fp32,bf16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", default=",".join(ENGINES))
    return parser.parse_args()


if __name__ == "__main__":
    main()
