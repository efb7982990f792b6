"""The samplers of a stage, by the engine that its config names; what is open is closed with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from alignbench.engines.sampler import Sampler, Samplers, TransformersSampler
from alignbench.engines.settings import Settings
from alignbench.models.load import load_policy
from alignbench.stage import StageContext

ROLLOUT_ROWS = 128
"""Completions under way at once beside a training."""
ALONE, BESIDE = 0.85, 0.3
"""Shares of a GPU's memory that vLLM takes: alone in its stage, and beside a training."""


@contextmanager
def fixed_sampler(
    ctx: StageContext, folder: Path, tokenizer: Any, longest: int, batch_size: int
) -> Iterator[Sampler]:
    """A sampler of the model in a folder, whose weights stay; in fp32.

    Args:
        ctx: whose config names the engine.
        longest: tokens of the longest prompt and its completion.
        batch_size: completions under way at once.

    Raises:
        UserError: the engine cannot be had on this machine, or not with this model.
    """
    engine = _engine_of(ctx.config)
    if engine == "transformers":
        yield TransformersSampler(load_policy(folder)[0], tokenizer, batch_size, ctx.note)
        return
    settings = Settings(folder, "fp32", longest, batch_size, ALONE)
    with ExitStack() as stack:
        yield stack.enter_context(_vllm(ctx, engine, settings, tokenizer))


@contextmanager
def policy_samplers(
    ctx: StageContext, start: Path, precision: str, longest: int
) -> Iterator[Samplers]:
    """What makes samplers of the policy in memory, with its weights as they are at that moment.

    vLLM is started for the first of them, from `start`, and given the weights for each; so ask for
    one a rollout. The start is on the clock, and so is the loading; neither is in the FLOPs.

    Args:
        ctx: whose config names the engine.
        start: folder of the start model.
        precision: of vLLM's weights; transformers samples from the policy itself.
        longest: as in `fixed_sampler`, for all that is going to be sampled.
    """
    engine = _engine_of(ctx.config)
    if engine == "transformers":
        own: dict[tuple[int, int | None], Sampler] = {}

        def here(model: Any, tokenizer: Any, batch_size: int | None = None) -> Sampler:
            # The same one for each rollout: it knows how many rows there is memory for.
            key = id(model), batch_size
            if key not in own:
                own[key] = TransformersSampler(model, tokenizer, batch_size, ctx.note)
            return own[key]

        yield here
        return
    with ExitStack() as stack:
        running: list[Any] = []

        def of(model: Any, tokenizer: Any, batch_size: int | None = None) -> Sampler:
            if not running:
                settings = Settings(start, precision, longest, ROLLOUT_ROWS, BESIDE)
                running.append(stack.enter_context(_vllm(ctx, engine, settings, tokenizer)))
            running[0].update(model)
            sampler: Sampler = running[0]
            return sampler

        yield of


def _vllm(ctx: StageContext, engine: str, settings: Settings, tokenizer: Any) -> Any:
    eos = int(tokenizer.eos_token_id)
    if engine == "vllm":
        from alignbench.engines.in_process import VllmSampler

        return VllmSampler(settings, eos)
    from alignbench.engines.server import VllmServer

    return VllmServer(
        settings, eos, lambda seconds, limit: ctx.progress(seconds, limit, waiting="vLLM's server")
    )


def _engine_of(config: Mapping[str, Any]) -> str:
    """The engine in a stage's config; without one, transformers."""
    return str(config.get("engine", "transformers"))
