"""Stage `train/<row>/<seed>`: one method, one seed, from the certified start checkpoint.

Writes ``model/``, ``log.jsonl``, ``metrics.json``, ``cost.json`` and, where asked for,
``snapshots/<percent>/model/``; ``decoder.json`` where answers are not drawn by plain sampling.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from alignbench.engines.opening import policy_samplers
from alignbench.engines.sampler import Samplers
from alignbench.errors import UserError
from alignbench.files import read_jsonl
from alignbench.metering.budget import Budget
from alignbench.metering.data import Metered, MeteredLabeller
from alignbench.metering.meter import BudgetExhausted, Meter, MethodMeter
from alignbench.metering.watch import watch
from alignbench.methods.base import Inputs, Labeller, Method, Need, Pair, Policy
from alignbench.methods.registry import resolve
from alignbench.models.load import load_policy, save_model, weights_digest
from alignbench.models.lora import WithoutAdapter, add_lora
from alignbench.models.reward import RewardScorer
from alignbench.models.text import encode_prompt
from alignbench.recipe.schema import Training
from alignbench.stage import StageContext
from alignbench.training.common import json_log, write_json
from alignbench.training.memory import free_memory, is_out_of_memory

Record = dict[str, Any]


class RewardModelLabeller:
    """An AI labeller for data without one of its own: the proxy reward model's score."""

    name = "proxy reward model"

    def __init__(self, scorer: RewardScorer) -> None:
        self.scorer = scorer

    def utilities(self, prompt: str, responses: Sequence[str]) -> list[float]:
        """Raw reward-model scores."""
        return self.scorer.score([prompt] * len(responses), responses)


@dataclass
class Trained:
    """A policy after its method, and what the harness recorded of it."""

    policy: Policy
    metrics: Record
    cost: Record


def run(ctx: StageContext) -> None:
    """Train and save the model of one row; see `alignbench.methods.base` for the contract.

    Config: ``row``, ``options``, ``seed``, ``budget`` (limits or None), ``budget_override``,
    ``snapshots``, the limits of tokens, ``precision``, ``labeller``. Inputs ``trial_<k>`` are the
    row's tuning trials; the best one's options are taken.
    """
    options, tuned = dict(ctx.config["options"]), None
    trials = {role: folder for role, folder in ctx.inputs.items() if role.startswith("trial_")}
    if trials:
        from alignbench.tuning.select import best_options

        folders = [trials[f"trial_{k}"] for k in range(len(trials))]
        options, tuned = best_options(options, folders)
    method = resolve(ctx.config["row"], options)
    trained = train_row(ctx, method)
    policy = trained.policy
    save_model(policy.model, policy.tokenizer, ctx.out / "model")
    if (decoder := method.decoder()) is not None:
        write_json(ctx.out / "decoder.json", dict(decoder))
    if tuned is not None:
        trained.metrics["tuned"] = tuned
    write_json(ctx.out / "metrics.json", trained.metrics)
    # Times and memory apart, so that metrics.json is equal in equal runs.
    write_json(ctx.out / "cost.json", trained.cost)


def train_row(ctx: StageContext, method: Method) -> Trained:
    """Train one method under the meter: from the certified start, within its budget.

    Where memory does not suffice, it begins again with half the micro-batch and twice the
    accumulation: the same effective batch, the same budget.

    Raises:
        RuntimeError: the start checkpoint is not the certified one.
    """
    halvings = 0
    while True:
        try:
            trained = _attempt(ctx, method)
            trained.metrics["micro_batch_halvings"] = halvings
            return trained
        except (RuntimeError, MemoryError) as error:
            smaller = method.with_half_batch() if is_out_of_memory(error) else None
            if smaller is None:
                raise
        free_memory()
        method, halvings = smaller, halvings + 1
        shutil.rmtree(ctx.out)
        ctx.out.mkdir()
        ctx.note(
            "substitution",
            f"out of memory: begun again with a micro-batch {2**halvings} times smaller and as "
            "much more accumulation (the effective batch is the same)",
        )


def _attempt(ctx: StageContext, method: Method) -> Trained:
    config = ctx.config
    start = ctx.inputs["sft"] / "model"
    model, tokenizer = load_policy(start)
    policy = Policy(model, tokenizer, start, weights_digest(model))
    certified = json.loads((ctx.inputs["sft"] / "metrics.json").read_text())["weights_digest"]
    if policy.digest != certified:
        raise RuntimeError("the start checkpoint is not the certified one (weights digests differ)")
    training = Training.model_validate(config.get("training", {}))
    if training.lora is not None:
        add_lora(model, training.lora, config["seed"])
    limits = config.get("budget")
    budget = None if limits is None else Budget.model_validate(limits)
    scratch = ctx.out / "scratch"
    scratch.mkdir()
    longest = config["max_prompt_tokens"] + config["max_response_tokens"]
    engine = policy_samplers(ctx, start, config["precision"], longest)
    with json_log(ctx.out / "log.jsonl") as log, engine as sampler:
        meter = Meter(budget, config.get("snapshots", ()))
        snapshots = _Snapshots(ctx.out, policy, meter)
        inputs = _inputs(ctx, method, policy, scratch, log, meter, training, sampler)
        _bill_reference(ctx, meter)
        stopped_in: str | None = None
        with watch(meter, model, snapshots.take):
            try:
                method.train(policy, inputs, cast(Meter, MethodMeter(meter)))
            except BudgetExhausted as end:
                stopped_in = end.currency
            cost = meter.measured()
            spent, overshoot = meter.fraction(), meter.overshoot()
            ended = _ending(ctx, meter, stopped_in)
    shutil.rmtree(scratch, ignore_errors=True)
    model.eval()
    if training.lora is not None and weights_digest(WithoutAdapter(model)) != certified:
        raise RuntimeError(f"{method.name}: it changed weights outside the adapter")
    metrics = {
        **_facts(ctx, inputs.facts),  # first: a method cannot overwrite what the harness saw
        "method": method.name,
        "row": config["row"],
        "seed": config["seed"],
        "start_digest": certified,
        "weights_digest": weights_digest(model),
        "consumed": meter.bill(),
        "budget": {"limits": dict(meter.limits), "override": bool(config.get("budget_override"))},
        "ended": ended,
        "spent_fraction": spent,
        "overshoot": overshoot,
        "snapshots": snapshots.record(spent),
    }
    return Trained(policy, metrics, cost)


def _ending(ctx: StageContext, meter: Meter, stopped_in: str | None) -> Record:
    """Who ended the training, and why; a method that leaves budget unspent must say it."""
    currency = stopped_in or meter.exhausted()
    if meter.fraction() > 1 + meter.grace():
        share = 100 * meter.fraction()
        ctx.note("warning", f"spent {share:.0f} % of its budget: it did not let itself be stopped")
    if currency is not None:
        return {"by": "budget", "currency": currency, "reason": None}
    if meter.early_reason is None and meter.fraction() > 0:
        share = 100 * meter.fraction()
        ctx.note("warning", f"ended at {share:.0f} % of its budget without saying why")
    return {"by": "method", "currency": None, "reason": meter.early_reason}


def _facts(ctx: StageContext, facts: Record) -> Record:
    """What the method wants recorded, as far as it is JSON and no name of the harness's."""
    kept = {}
    for name, value in facts.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            ctx.note("warning", f"the fact {name!r} cannot be recorded: {error}")
        else:
            if name != "tuned":
                kept[name] = value
    return kept


class _Snapshots:
    """Keeps the policy at shares of the budget, at the first optimizer step that passes each."""

    def __init__(self, out: Path, policy: Policy, meter: Meter) -> None:
        self.out, self.policy, self.meter = out, policy, meter
        # At the end of the budget the snapshot is the result itself.
        self.waiting = [share for share in meter.snapshots if share < 1]
        self.taken: list[Record] = []

    def take(self) -> None:
        """At an optimizer step: save the policy if a share has been passed."""
        fraction = self.meter.fraction()
        passed = [share for share in self.waiting if share <= fraction]
        if not passed or fraction >= 1:
            return
        self.waiting = self.waiting[len(passed) :]
        folder = f"snapshots/{round(100 * passed[-1])}"
        config = self.policy.model.config
        before = config._name_or_path, config.use_cache  # saving sets them, and training goes on
        save_model(self.policy.model, self.policy.tokenizer, self.out / folder / "model")
        config._name_or_path, config.use_cache = before
        self.taken += [self._line(share, fraction, folder) for share in passed]

    def record(self, spent: float) -> list[Record]:
        """All snapshots, the final model last (folder ``.``)."""
        return [*self.taken, self._line(1.0, spent, ".")] if self.meter.snapshots else []

    def _line(self, asked: float, fraction: float, folder: str) -> Record:
        bill = self.meter.bill()
        return {
            "asked": asked,
            "fraction": fraction,
            "step": bill["optimizer_steps"],
            "consumed": bill,
            "folder": folder,
        }


def _inputs(
    ctx: StageContext,
    method: Method,
    policy: Policy,
    scratch: Path,
    log: Callable[..., None],
    meter: Meter,
    training: Training,
    sampler: Samplers,
) -> Inputs:
    """What the method needs, and nothing more, so that none can use what it did not declare."""
    config, needs = ctx.config, method.needs_of()

    start, certified = policy.folder, policy.digest

    def reference() -> Any:
        if training.lora is not None:
            return WithoutAdapter(policy.model)
        frozen, _ = load_policy(start)
        if weights_digest(frozen) != certified:
            raise RuntimeError("the reference checkpoint changed on disk (weights digests differ)")
        return frozen.requires_grad_(False)

    data = ctx.inputs["data"]
    fits = _PromptFilter(policy.tokenizer, config["max_prompt_tokens"])
    pairs: list[Pair] = []
    prompts: list[str] = []
    if Need.PAIRS in needs:
        rows = fits(read_jsonl(data / "pairs_proxy.jsonl"))
        pairs = _pairs(rows, _reference_logprobs(ctx, certified))
    if Need.PROMPTS in needs:
        prompts = [row["prompt"] for row in fits(read_jsonl(data / "train_prompts.jsonl"))]
    if fits.dropped:
        ctx.note("warning", f"{fits.dropped} prompts too long, left out")
    scorer = _scorer(ctx, method, policy)
    labeller = None
    if Need.LABELLER in needs:
        labeller = MeteredLabeller(_labeller(config, scorer), meter)
    return Inputs(
        pairs=Metered(pairs, meter, "human_labels"),
        prompts=Metered(prompts, meter, "prompts"),
        reward=scorer if Need.REWARD in needs else None,
        labeller=labeller,
        reference=reference,
        scratch=scratch,
        seed=config["seed"],
        max_prompt_tokens=config["max_prompt_tokens"],
        max_response_tokens=config["max_response_tokens"],
        precision=config["precision"],
        training=training,
        sampler=sampler,
        log=log,
        progress=ctx.progress,
        note=ctx.note,
    )


def _scorer(ctx: StageContext, method: Method, policy: Policy) -> RewardScorer | None:
    """The proxy reward model, where the stage is given one."""
    if "reward" not in ctx.inputs:
        return None
    # One that is trained on needs weights that small steps can change.
    refreshed = getattr(method, "online_reward", None) is not None
    scorer = RewardScorer.load(
        ctx.inputs["reward"], "fp32" if refreshed else ctx.config["precision"]
    )
    _check_same_tokens(policy.tokenizer, scorer.tokenizer)
    return scorer


def _pairs(rows: Sequence[Record], scored: dict[str, tuple[float, float]] | None) -> list[Pair]:
    """Preference pairs, with the reference's log-probabilities where they were computed."""
    return [
        Pair(
            row["prompt"],
            row["chosen"],
            row["rejected"],
            scored[row["id"]] if scored is not None else None,
        )
        for row in rows
    ]


def _bill_reference(ctx: StageContext, meter: Meter) -> None:
    """Charge for the log-probabilities that the stage `reference` computed once for all.

    Each method that uses them pays in full, as if it had made them: a budget would not be equal if
    some paid for their reference and others found it done.
    """
    if "reference" in ctx.inputs:
        consumed = json.loads((ctx.inputs["reference"] / "metrics.json").read_text())["consumed"]
        meter.charge(**{name: consumed[name] for name in ("flops", "tokens_scored")})


def _reference_logprobs(ctx: StageContext, certified: str) -> dict[str, tuple[float, float]] | None:
    """Log-probabilities of pairs by id, as the stage `reference` found them; None without it."""
    if "reference" not in ctx.inputs:
        return None
    folder = ctx.inputs["reference"]
    start = json.loads((folder / "metrics.json").read_text())["start_digest"]
    if start != certified:
        raise RuntimeError("the reference's log-probabilities are those of another start model")
    rows = read_jsonl(folder / "logprobs.jsonl")
    return {row["id"]: (row["chosen"], row["rejected"]) for row in rows}


def _check_same_tokens(policy: Any, reward: Any) -> None:
    """A reward model reads the policy's token ids: they must mean the same to it.

    It may know more tokens (a pad token of its own).

    Raises:
        UserError: they do not.
    """
    known = reward.get_vocab()
    if any(known.get(token) != number for token, number in policy.get_vocab().items()):
        raise UserError("the reward model's tokenizer is not the policy's: token ids differ")
    if policy.chat_template != reward.chat_template:
        raise UserError("the reward model's chat template is not the policy's")


def _labeller(config: Any, scorer: RewardScorer | None) -> Labeller:
    kind = config["labeller"]
    if kind == "sandbox":
        from alignbench.sandbox.annotators import AiLabeller

        return cast(Labeller, AiLabeller(config["seed"]))
    if kind == "reward_model" and scorer is not None:
        return RewardModelLabeller(scorer)
    raise UserError(f'{config["row"]}: no AI labeller "{kind}"; known: sandbox, reward_model')


class _PromptFilter:
    """Leaves out rows whose prompt is too long, and counts them (nothing is cut silently)."""

    def __init__(self, tokenizer: Any, limit: int) -> None:
        self.tokenizer, self.limit, self.dropped = tokenizer, limit, 0

    def __call__(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        kept = [r for r in rows if len(encode_prompt(self.tokenizer, r["prompt"])) <= self.limit]
        self.dropped += len(rows) - len(kept)
        if not kept:
            raise UserError(
                f"no training prompt has at most {self.limit} tokens; raise max_prompt_tokens"
            )
        return kept
