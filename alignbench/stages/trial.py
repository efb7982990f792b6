"""Stage `trial/<row>/<k>`: one setting of a row's options, trained and scored for selection.

Reads what the stage `train/<row>/<seed>` reads, `scorer` (a reward model, unless the sandbox's
rule scores) and the earlier trials as `trial_0`, `trial_1`... Writes trial.json, the training's
log.jsonl and cost.json. No weights are kept: the best setting is trained again with each seed.
"""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Sequence
from typing import Any, cast

import torch
from pydantic import ValidationError

from alignbench.engines.sampler import TransformersSampler
from alignbench.errors import UserError
from alignbench.files import read_jsonl
from alignbench.metering.meter import BudgetExhausted, Meter
from alignbench.metering.watch import watch
from alignbench.methods.base import Inputs, Method, Policy
from alignbench.methods.registry import resolve
from alignbench.models.decode import Completion, Decoding, sample
from alignbench.models.reward import RewardScorer
from alignbench.models.text import decode_response, encode_prompt
from alignbench.stage import StageContext
from alignbench.stages.method import Trained, train_row
from alignbench.training.common import write_json
from alignbench.tuning.select import FILE, read_trials
from alignbench.tuning.space import flattened, parse, replaced
from alignbench.tuning.study import Tried, propose

Record = dict[str, Any]
SCORERS = {"reward_proxy": "proxy reward model", "reward_gold": "gold reward model"}
RULE = "sandbox rule"


def run(ctx: StageContext) -> None:
    """Propose, train, score and record one trial.

    Config: that of `stages.method`, and ``number``, ``search`` (option -> choices or range),
    ``search_seed``, ``metric``, ``judge`` ("sandbox": its rule scores), ``evaluation`` (decoding),
    ``sampling_seed``, ``optuna`` (its version, for the key).

    A training that diverges is a failed trial, and the next ones learn from it.
    """
    config = ctx.config
    params = _propose(ctx)
    record: Record = {
        "row": config["row"],
        "number": config["number"],
        "params": params,
        "state": "complete",
        "reason": None,
        "metric": config["metric"],
        "scorer": RULE if config["judge"] else SCORERS[config["metric"]],
        "saw_gold": config["metric"] == "reward_gold",
        "floor": 1.0 if config["judge"] else 0.0,
        "value": None,
        "standard_error": None,
        "consumed": Meter().bill(),
        "validation": Meter().bill(),
    }
    try:
        method = resolve(config["row"], replaced(config["options"], params))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        record.update(state="failed", reason=f"refused by the method: {problem}")
    else:
        _train_and_score(ctx, method, record)
    if record["state"] == "failed":
        ctx.note("warning", f"trial {record['number']} of {record['row']}: {record['reason']}")
    write_json(ctx.out / FILE, record)


def _propose(ctx: StageContext) -> Record:
    config = ctx.config
    folders = [ctx.inputs[f"trial_{k}"] for k in range(config["number"])]
    tried = [Tried(trial["params"], trial["value"]) for trial in read_trials(folders)]
    space = {name: parse(written) for name, written in config["search"].items()}
    return propose(space, dict(flattened(config["options"])), tried, config["search_seed"])


class _Watched:
    """A method whose divergence ends its training and not the stage.

    Everything else is the method's own. With half the batch it is watched too.

    Attributes:
        reasons: why it ended, if it diverged; shared with those of half its batch.
    """

    def __init__(self, method: Method, reasons: list[str]) -> None:
        self.method = method
        self.reasons = reasons

    def __getattr__(self, name: str) -> Any:
        return getattr(self.method, name)

    def with_half_batch(self) -> _Watched | None:
        """The method's own, watched like this one."""
        smaller = self.method.with_half_batch()
        return None if smaller is None else _Watched(smaller, self.reasons)

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        """Train; weights that are not finite, or an error that comes of them, are a reason."""
        try:
            self.method.train(policy, inputs, meter)
        except BudgetExhausted:
            raise
        except Exception as error:  # anything may follow from NaN; what does not is raised again
            if _finite(policy) and not isinstance(error, FloatingPointError):
                raise
            reason = f"diverged: {type(error).__name__}: {str(error).strip()[:200]}"
            self.reasons.append(reason)
            meter.finished_early(reason)


def _finite(policy: Policy) -> bool:
    return all(bool(torch.isfinite(weight).all()) for weight in policy.model.parameters())


def _train_and_score(ctx: StageContext, method: Method, record: Record) -> None:
    reasons: list[str] = []
    trained = train_row(ctx, cast(Method, _Watched(method, reasons)))
    shutil.rmtree(ctx.out / "snapshots", ignore_errors=True)
    record["consumed"] = trained.metrics["consumed"]
    for name in ("seed", "weights_digest", "budget", "ended", "spent_fraction", "overshoot"):
        record[name] = trained.metrics[name]
    if not reasons and not _finite(trained.policy):
        reasons.append("diverged: weights are not finite")
    if not reasons:
        meter = Meter()
        with watch(meter):
            values = _values(ctx, method, trained)
        record["validation"] = meter.bill()
        trained.cost["validation_seconds"] = meter.seconds()
        _summarise(values, record)
    else:
        record.update(state="failed", reason=reasons[0])
    write_json(ctx.out / "cost.json", trained.cost)


def _summarise(values: Sequence[Sequence[float]], record: Record) -> None:
    """Mean over prompts, and its standard error; samples of one prompt are not independent."""
    means = [statistics.fmean(part) for part in values]
    record["value"] = statistics.fmean(means)
    record["prompts"], record["samples_per_prompt"] = len(values), len(values[0])
    if len(means) > 1:
        record["standard_error"] = statistics.stdev(means) / math.sqrt(len(means))


def _values(ctx: StageContext, method: Method, trained: Trained) -> list[list[float]]:
    """(prompts, samples) scores of answers to the validation prompts, higher is better.

    Raises:
        UserError: no validation prompt is short enough.
    """
    config, tokenizer = ctx.config, trained.policy.tokenizer
    texts = [row["prompt"] for row in read_jsonl(ctx.inputs["data"] / "valid_prompts.jsonl")]
    encoded = [(text, encode_prompt(tokenizer, text)) for text in texts]
    prompts = [(text, ids) for text, ids in encoded if len(ids) <= config["max_prompt_tokens"]]
    if len(prompts) < len(texts):
        left_out = len(texts) - len(prompts)
        ctx.note("warning", f"valid_prompts: {left_out} prompts too long, left out")
    if not prompts:
        raise UserError("valid_prompts: all prompts are too long; raise max_prompt_tokens")
    k = config["evaluation"]["samples_per_prompt"]
    repeated = [ids for _, ids in prompts for _ in range(k)]
    completions = _answers(ctx, method, trained.policy, repeated)
    if config["judge"]:
        scores = _rule([text for text, _ in prompts for _ in range(k)], completions, tokenizer)
    else:
        scorer = RewardScorer.load(ctx.inputs["scorer"], batch_size=64)
        scores = scorer.calibrated(scorer.score_ids(repeated, [c.ids for c in completions]))
    return [scores[start : start + k] for start in range(0, len(scores), k)]


def _rule(prompts: Sequence[str], completions: Sequence[Completion], tokenizer: Any) -> list[float]:
    from alignbench.sandbox import gold

    return [
        gold.score(prompt, decode_response(tokenizer, completion.ids)).overall
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


def _answers(
    ctx: StageContext, method: Method, policy: Policy, prompts: Sequence[list[int]]
) -> list[Completion]:
    """One completion a prompt, decoded as the final evaluation decodes (`stages.generate`)."""
    config = ctx.config
    evaluation = config["evaluation"]
    decoding = Decoding(
        config["max_response_tokens"], evaluation["temperature"], evaluation["top_p"]
    )
    seed, batch = config["sampling_seed"], evaluation["batch_size"]
    decoder = method.decoder()
    if decoder is None:
        return sample(
            policy.model, policy.tokenizer, prompts, decoding, seed, batch, progress=ctx.progress
        )
    from alignbench.models.best_of_n import best_of

    scorer = RewardScorer.load(ctx.inputs["reward"], batch_size=batch)
    sampler = TransformersSampler(policy.model, policy.tokenizer, batch)
    return best_of(sampler, prompts, decoding, seed, decoder["best_of"], scorer)
