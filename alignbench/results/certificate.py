"""The certificate of a run: what must be equal for rows to share a table, with digests of it.

docs/certificate.md says what each field means; `FIELDS` says which of them must agree, and why.
`alignbench.compare` compares two certificates by that table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import alignbench
from alignbench.digest import sha256_file, sha256_json
from alignbench.errors import UserError
from alignbench.files import read_jsonl, write_atomic
from alignbench.judges.base import RUBRICS, Answer
from alignbench.keys import library_versions

Record = dict[str, Any]
Rule = Literal["equal", "apart", "free"]

FILE = "certificate.json"
FILE_SCHEMA = 1
DATA_FILES = (
    "sft.jsonl",
    "sft_valid.jsonl",
    "train_prompts.jsonl",
    "pairs_proxy.jsonl",
    "pairs_proxy_valid.jsonl",
    "pairs_gold.jsonl",
    "pairs_gold_valid.jsonl",
    "valid_prompts.jsonl",
    "eval_prompts.jsonl",
    "heldout.jsonl",
)
TEXT_START = 80
PROBES = 64
TIME_LIMITS = ("device_hours", "wall_hours")


@dataclass(frozen=True)
class Field:
    """One field of the certificate.

    Attributes:
        path: its key, dotted for one part of a mapping; a mapping named whole is compared entry
            by entry, and an entry that only one run has counts as a difference.
        rule: "equal" where runs must agree to share a table; "apart" where a difference sets one
            row apart in it; "free" where a difference is shown and does no harm.
        reason: why, to follow "because".
    """

    path: str
    rule: Rule
    reason: str


FIELDS = (
    Field("start_weights", "equal", "every method starts from them"),
    Field("base_weights", "equal", "win rates against base are against its answers"),
    Field("tokenizer", "equal", "lengths, perplexity and budgets are counted in its tokens"),
    Field("chat_template", "equal", "it is part of every prompt that a model sees"),
    Field("precision", "equal", "it changes what an optimizer step does and what it costs"),
    Field("training", "equal", "it decides which weights can change and what a step costs"),
    Field("engine", "equal", "it draws the rollouts and the answers, and costs what it costs"),
    Field("profile", "equal", "profiles are experiments of different sizes"),
    Field("data", "equal", "rows must be trained, tuned and scored on the same texts"),
    Field("eval_prompts", "equal", "rows must answer the same prompts"),
    Field("decoding.samples_per_prompt", "equal", "metrics average over the samples of a prompt"),
    Field("decoding.temperature", "equal", "reward and diversity depend on it"),
    Field("decoding.top_p", "equal", "reward and diversity depend on it"),
    Field("decoding.max_prompt_tokens", "equal", "it decides which prompts are used"),
    Field("decoding.max_response_tokens", "equal", "it cuts answers"),
    Field("decoding.seed", "free", "it chooses among answers that were equally likely"),
    Field("judge", "equal", "ratings and win rates are its opinion"),
    Field("judge_served", "equal", "a server may put other weights under the same name"),
    Field("judge_asked", "equal", "win rates are over the answers that the judge saw"),
    Field("judge_ratings", "equal", "a judge of the same name may have changed"),
    Field("reward_models.proxy", "equal", "one column is its score, and methods train against it"),
    Field("reward_models.gold", "equal", "one column is its score"),
    Field("budget", "equal", "methods are compared for what they may spend"),
    Field("machine", "equal", "within a time limit, a faster machine does more work"),
    Field("tuning", "equal", "more trials find better options"),
    Field("tuning_search", "free", "what is searched belongs to the method, like its options"),
    Field("snapshots", "free", "they are scored apart from the table"),
    Field("labeller", "free", "only some rows ask it; those are set apart where it differs"),
    Field("statistics.confidence", "equal", "intervals in one column must be of one level"),
    Field("statistics.diversity_samples", "equal", "Distinct-N and Self-BLEU depend on it"),
    Field("statistics.resamples", "free", "it only makes intervals smoother"),
    Field("seeds", "free", "they are draws of the same experiment"),
    Field("trained_weights", "free", "they are the outcome"),
    Field("alignbench", "free", "what it made is compared by digests"),
    Field("libraries", "free", "their rounding changes results by less than a seed does"),
)

ROW_FIELDS = (
    Field("method", "apart", "another method under the same name"),
    Field("budget", "apart", "another budget of its own"),
    Field("labeller", "apart", "labels of another labeller"),
    Field("decoder", "apart", "answers drawn in another way"),
    Field("tuned", "apart", "tuned in one run only"),
    Field("options", "free", "options are the method's"),
    Field("effective_batch", "free", "it follows from the options"),
)
"""Fields of each row in "rows"."""


def certificate(
    recipe: Mapping[str, Any],
    inputs: Mapping[str, Path],
    trained: Mapping[str, Mapping[str, Any]],
    reward_models: Mapping[str, Mapping[str, Any]],
    judge: Mapping[str, Any],
) -> Record:
    """Everything that `FIELDS` names, and "rows" with what `ROW_FIELDS` names.

    A field whose value cannot be told is left out, and None means "there is none".

    Args:
        recipe: the resolved recipe.
        inputs: output folders of the stages by name: ``data``, ``sft``, ``base`` and
            ``train/<row>/<seed>``.
        trained: metrics.json of every trained model, by ``<row>/<seed>``.
        reward_models: metrics.json of the reward models, by ``proxy`` and ``gold``.
        judge: ``judge`` of results.json.

    Raises:
        UserError: methods that did not start from the SFT checkpoint of this run, by name.
    """
    data, model = inputs["data"], inputs["sft"] / "model"
    start = _read(inputs["sft"] / "metrics.json")["weights_digest"]
    _check_start(start, trained)
    tuning = _given(recipe.get("tuning"))
    fields: Record = {
        "start_weights": start,
        "tokenizer": sha256_file(model / "tokenizer.json"),
        "chat_template": _chat_template(model),
        "precision": recipe.get("precision", "fp32"),
        "training": recipe.get("training", {"lora": None, "gradient_checkpointing": False}),
        "engine": recipe.get("engine", "transformers"),
        "profile": recipe["profile"],
        "data": {name: sha256_file(data / name) for name in DATA_FILES if (data / name).exists()},
        "eval_prompts": prompt_digests(data),
        "judge": judge["name"],
        "judge_served": judge["served"] or None,
        "judge_asked": asked_of(recipe["judge"]),
        "judge_ratings": _judge_ratings(judge, data),
        "budget": _given(recipe.get("budget")),
        "tuning": _without(tuning, "search"),
        "tuning_search": None if tuning is None else tuning.get("search"),
        "snapshots": recipe.get("snapshots") or None,
        "labeller": (recipe.get("labeller") or {}).get("kind"),
        "rows": _rows(recipe, inputs, trained),
        "seeds": sorted({int(run.rpartition("/")[2]) for run in trained}),
        "trained_weights": {run: metrics["weights_digest"] for run, metrics in trained.items()},
        "alignbench": alignbench.__version__,
        "libraries": dict(library_versions()),
        "reward_models": {
            split: metrics["weights_digest"]
            for split, metrics in reward_models.items()
            if "weights_digest" in metrics
        },
        **_settings(recipe),
        **_machine(recipe, inputs),
    }
    if "base" in inputs:
        fields["base_weights"] = _read(inputs["base"] / "metrics.json")["weights_digest"]
    return fields


def prompt_digests(data: Path) -> list[Record]:
    """Id and digest of every evaluation prompt, in order."""
    return [
        {"id": prompt["id"], "sha256": _text_digest(prompt["prompt"])}
        for prompt in read_jsonl(data / "eval_prompts.jsonl")
    ]


def save_certificate(certified: Mapping[str, Any], data: Path, folder: Path) -> None:
    """Write certificate.json: the certificate, and how each evaluation prompt begins.

    The full texts are in the data artifact; their first `TEXT_START` characters are enough for a
    person to recognise one.
    """
    prompts = [
        {"id": prompt["id"], "sha256": _text_digest(prompt["prompt"])}
        | {"start": prompt["prompt"][:TEXT_START]}
        for prompt in read_jsonl(data / "eval_prompts.jsonl")
    ]
    content = {"schema_version": FILE_SCHEMA, "certificate": certified, "eval_prompts": prompts}
    # ASCII, so that a lone surrogate in a prompt can be written too.
    write_atomic(folder / FILE, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _settings(recipe: Mapping[str, Any]) -> Record:
    evaluation = recipe["evaluation"]
    decoding = ("samples_per_prompt", "temperature", "top_p", "seed")
    statistics = ("confidence", "resamples", "diversity_samples")
    return {
        "decoding": {
            **{name: evaluation[name] for name in decoding},
            "max_prompt_tokens": recipe["max_prompt_tokens"],
            "max_response_tokens": recipe["max_response_tokens"],
        },
        "statistics": {name: evaluation[name] for name in statistics},
    }


def _rows(
    recipe: Mapping[str, Any],
    inputs: Mapping[str, Path],
    trained: Mapping[str, Mapping[str, Any]],
) -> Record:
    """Row -> its fields, from its first seed; what the stage did not record is left out."""
    rows: Record = {}
    for run, metrics in trained.items():
        row = run.rpartition("/")[0]
        if row in rows:
            continue
        folder = inputs[f"train/{run}"]
        config = _manifest(folder).get("config", {})
        found: Record = {"budget": _given(recipe["methods"].get(row, {}).get("budget"))}
        if "method" in metrics:
            found["method"] = metrics["method"]
        if "options" in config:
            found["options"] = _trained_options(config["options"], metrics.get("tuned"))
            found["effective_batch"] = effective_batch(found["options"])
            found["labeller"] = config.get("labeller")
        decoder = folder / "decoder.json"
        found["decoder"] = _read(decoder) if decoder.exists() else None
        if recipe.get("tuning"):
            found["tuned"] = metrics.get("tuned") is not None
        rows[row] = found
    return rows


def effective_batch(options: Mapping[str, Any]) -> int | None:
    """Responses of one rollout, or pairs of one optimizer step; None where options do not say.

    A method in two parts (``then: ppo``) has the batch of the part that trains.
    """
    then = options.get("then")
    if isinstance(then, str) and isinstance(options.get(then), Mapping):
        return effective_batch(options[then])
    for one, other in (
        ("prompts_per_rollout", "samples_per_prompt"),
        ("batch_size", "gradient_accumulation"),
    ):
        if isinstance(options.get(one), int) and isinstance(options.get(other), int):
            return int(options[one] * options[other])
    return None


def _trained_options(options: Mapping[str, Any], tuned: Mapping[str, Any] | None) -> Record:
    """The options that the row was trained with: its own, with what tuning selected."""
    from alignbench.tuning.space import replaced

    return dict(options) if tuned is None else replaced(options, tuned["params"])


def _machine(recipe: Mapping[str, Any], inputs: Mapping[str, Path]) -> Record:
    """Where the rows were trained, if a budget limits time; else it does not matter.

    Only then is it in the certificate, so that equal runs on two machines have equal results.
    """
    budgets = [recipe.get("budget"), *(row.get("budget") for row in recipe["methods"].values())]
    budgets.append((recipe.get("tuning") or {}).get("budget"))
    if not any((budget or {}).get(limit) for budget in budgets for limit in TIME_LIMITS):
        return {"machine": None}
    training = [folder for name, folder in inputs.items() if name.startswith("train/")]
    places = [_manifest(folder).get("environment") for folder in training]
    if not places or any(place is None for place in places):
        return {}
    known = {
        f"{place['platform']}, {place['cpu_count']} cores, {place.get('processor', 'unknown')}"
        for place in places
        if place
    }
    return {"machine": "; ".join(sorted(known))}


def asked_of(section: Mapping[str, Any]) -> Record | None:
    """How much of the evaluation a judge was shown; None where it saw all."""
    shown = {name: section[name] for name in ("prompts", "samples") if name in section}
    return shown or None


def _judge_ratings(judge: Mapping[str, Any], data: Path) -> str | None:
    """What tells a judge that changed from one that only kept its name.

    Of the sandbox's rule the digest of its ratings of the first `PROBES` answers in the SFT
    validation split (None without such answers); of a model the digest of all that decides its
    answers; None without a judge.
    """
    if judge["identity"].get("kind") == "none":
        return None
    if not judge["simulated"]:
        return sha256_json(judge["identity"])
    path = data / "sft_valid.jsonl"
    if not path.exists():
        return None
    from alignbench.judges.sandbox import SandboxJudge

    shown = [Answer(line["prompt"], line["response"]) for line in read_jsonl(path)[:PROBES]]
    rated = [SandboxJudge().rate(shown, rubric) for rubric in RUBRICS]
    return sha256_json(
        [[f"{reply.value:.6g}" for reply in each] for each in zip(*rated, strict=True)]
    )


def _check_start(start: str, trained: Mapping[str, Mapping[str, Any]]) -> None:
    strangers: Sequence[str] = [
        run
        for run, metrics in trained.items()
        if metrics["start_digest"] != start or (metrics.get("reference_digest") or start) != start
    ]
    if strangers:
        raise UserError(
            f"results: {', '.join(strangers)} did not start from (or refer to) this run's SFT "
            "checkpoint; their rows cannot share a table. Remove their stages from the store and "
            "run again."
        )
    uncounted = [
        run
        for run, metrics in trained.items()
        if metrics["weights_digest"] != start
        and metrics.get("consumed", {}).get("optimizer_steps") == 0
    ]
    if uncounted:
        raise UserError(
            f"results: {', '.join(uncounted)} changed the weights without an optimizer step that "
            "the meter saw, so nobody knows what was spent; their rows cannot share a table. Step "
            "with torch.optim (`alignbench methods test` tells more), or leave them out."
        )


def _chat_template(model: Path) -> str | None:
    """Digest of the chat template file, or of the template in the tokenizer's config; or None."""
    if (model / "chat_template.jinja").exists():
        return sha256_file(model / "chat_template.jinja")
    template = _read(model / "tokenizer_config.json").get("chat_template")
    if template is None:
        return None
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()


def _text_digest(text: str) -> str:
    # JSON can hold lone surrogates, which have no UTF-8 of their own.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _given(section: Mapping[str, Any] | None) -> Record | None:
    """A section of the recipe without what it leaves open; None for a section that is not there."""
    if section is None:
        return None
    return {name: value for name, value in section.items() if value is not None} or None


def _without(section: Record | None, name: str) -> Record | None:
    return None if section is None else {key: v for key, v in section.items() if key != name}


def _manifest(folder: Path) -> Record:
    path = folder / "manifest.json"
    manifest: Record = _read(path) if path.exists() else {}
    return manifest


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
