"""Settings of a recipe that are each valid but do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from alignbench.recipe.data_sections import AlpacaData, ShareGptData, sft_only

if TYPE_CHECKING:
    from alignbench.recipe.schema import Recipe


class Inconsistent(ValueError):
    """The contradictions of one recipe, each as (key path, message)."""

    def __init__(self, problems: Sequence[tuple[tuple[str, ...], str]]) -> None:
        super().__init__("; ".join(f"{'.'.join(path)}: {message}" for path, message in problems))
        self.problems = problems


def inconsistencies(recipe: Recipe) -> Iterator[tuple[tuple[str, ...], str]]:
    """(key path, message) of settings that are each valid but do not go together."""
    model, data = recipe.model, recipe.data
    if model.source == "scratch":
        if recipe.pretrain is None:
            yield ("pretrain",), "required with model.source scratch: it has no weights yet"
        elif recipe.pretrain.block_size > model.n_positions:
            limit = f"must be at most model.n_positions ({model.n_positions})"
            yield ("pretrain", "block_size"), f"{limit}; found {recipe.pretrain.block_size}"
        if data.source != "sandbox":
            yield ("model", "source"), f"data.source {data.source} has no corpus to pre-train on"
        if model.n_embd % model.n_head:
            yield (
                ("model", "n_embd"),
                f"must be a multiple of model.n_head ({model.n_head}); found {model.n_embd}",
            )
        longest = recipe.max_prompt_tokens + recipe.max_response_tokens
        if longest > model.n_positions:
            yield (
                ("model", "n_positions"),
                f"must be at least max_prompt_tokens + max_response_tokens ({longest}); "
                f"found {model.n_positions}",
            )
    elif recipe.pretrain is not None:
        message = f"only for model.source scratch, and this one is {model.source}"
        yield ("pretrain",), f"{message}; move it into the profile that needs it, or write null"
    if isinstance(data, ShareGptData | AlpacaData):
        yield ("data", "source"), sft_only(data.source)
    if recipe.judge.kind == "sandbox" and data.source != "sandbox":
        message = f"the sandbox judge knows no answers to the prompts of {data.source}; write none"
        yield ("judge", "kind"), message
    if recipe.labeller is not None and recipe.labeller.kind == "sandbox" != data.source:
        message = f"the sandbox labeller knows no answers to the prompts of {data.source}"
        yield ("labeller", "kind"), f"{message}; write reward_model"
    yield from _snapshots(recipe)
    if len(set(recipe.seeds)) < len(recipe.seeds):
        yield ("seeds",), f"every seed once; found {list(recipe.seeds)}"
    if recipe.reward_model.seed == recipe.reward_model.gold_seed:
        message = "must differ from reward_model.seed: gold is to be another model than proxy"
        yield ("reward_model", "gold_seed"), message


def _snapshots(recipe: Recipe) -> Iterator[tuple[tuple[str, ...], str]]:
    shares = recipe.snapshots
    if shares and (recipe.budget is None or not recipe.budget.ends()):
        message = "are shares of a budget; add one that ends the methods, such as {flops: 1.0e+12}"
        yield ("snapshots",), message
    if sorted(set(shares)) != shares:
        yield ("snapshots",), f"rising, every share once; found {shares}"
    if len({round(100 * share) for share in shares}) < len(shares):
        yield ("snapshots",), f"shares in whole percents, no two alike; found {shares}"
