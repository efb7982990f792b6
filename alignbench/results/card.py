"""Model cards: what a trained checkpoint is, how it came out, and what that can and cannot say.

A card is made of results.json alone, so it can be made again of any finished run. Of the hub's
metadata it gives what is known; a licence is not, since it follows from model and data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from alignbench.data.reading import looks_local
from alignbench.digest import sha256_json
from alignbench.errors import UserError, nearest
from alignbench.leaderboard.texts import cleaned, places_in
from alignbench.metering.currencies import LABELS
from alignbench.results.markdown import block, code, plain, table
from alignbench.results.metrics import METRICS, label
from alignbench.results.render import UNKNOWN
from alignbench.results.reproduce import commands

Record = dict[str, Any]
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
REWARD = "reward"
_SHARED = {
    "base": ("the model before any training on answers", "pretrain"),
    "sft": ("supervised fine-tuning", "sft"),
    REWARD: ("Bradley-Terry reward model", "reward_model"),
}
"""What all rows share: its method, and the recipe's section with the options."""


def checkpoints(results: Mapping[str, Any]) -> list[str]:
    """``sft``, ``reward/<split>`` and ``<row>/<seed>``: every checkpoint that the run trained."""
    rewards = [f"{REWARD}/{split}" for split in sorted(results["reward_models"])]
    return ["sft", *rewards, *sorted(results["training"], key=_by_seed)]


def file_name(checkpoint: str) -> str:
    """``ppo-0.md``; rows have no hyphens, so no two checkpoints share a name."""
    return f"{checkpoint.replace('/', '-')}.md"


def card(results: Mapping[str, Any], checkpoint: str) -> str:
    """The card of one checkpoint, as Markdown with YAML front matter.

    Args:
        results: as `results.load` returns it.
        checkpoint: of `checkpoints`, or ``base``.

    Raises:
        UserError: the run has no such checkpoint.
    """
    known = ["base", *checkpoints(results)]
    if checkpoint not in known:
        near = nearest(checkpoint, known)
        raise UserError(f'no checkpoint "{checkpoint}"{near}; known: {", ".join(known)}')
    # Places of this machine and what cannot be printed are taken out once, here.
    clean = cleaned(dict(results), places_in(results["recipe"]))
    row = checkpoint.partition("/")[0]
    parts = [
        f"# {code(clean['recipe']['name'])}: {code(checkpoint)}",
        *_intro(clean, checkpoint),
        *_start(clean, checkpoint),
        *_method(clean, checkpoint),
        *_data(clean),
        *_budget(clean, checkpoint),
        *(_held_out(clean, checkpoint) if row == REWARD else _evaluation(clean, row)),
        *(() if row == REWARD else _separation(clean, row)),
        *_findings(clean, checkpoint),
        *_certificate(clean, checkpoint),
        "## How to make it again",
        block("\n".join(commands(clean["recipe"])), "sh"),
    ]
    return f"---\n{_front_matter(clean, checkpoint)}---\n\n" + "\n\n".join(parts) + "\n"


def _by_seed(run: str) -> tuple[str, int]:
    row, _, seed = run.rpartition("/")
    return row, int(seed)


def _front_matter(results: Mapping[str, Any], checkpoint: str) -> str:
    """YAML that `huggingface_hub.ModelCard` reads; hub ids only where model and data are there."""
    row = checkpoint.partition("/")[0]
    model, data = results["recipe"].get("model") or {}, results["recipe"].get("data") or {}
    metadata: Record = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification" if row == REWARD else "text-generation",
        "tags": ["alignbench", "reward-model" if row == REWARD else "alignment"],
    }
    if row != REWARD:
        metadata["tags"].append(str(_metrics(results, checkpoint).get("method") or row))
    if model.get("source") == "hub" and _HUB.fullmatch(str(model.get("name"))):
        metadata["base_model"] = str(model["name"])
    path = str(data.get("path", ""))
    named = "/" in path and _HUB.fullmatch(path) and not looks_local(path)
    if named and data.get("source") not in (None, "sandbox"):
        metadata["datasets"] = [path]
    return yaml.safe_dump(metadata, sort_keys=True, allow_unicode=False)


def _metrics(results: Mapping[str, Any], checkpoint: str) -> Mapping[str, Any]:
    row, _, split = checkpoint.partition("/")
    if row == REWARD:
        found: Mapping[str, Any] = results["reward_models"][split]
        return found
    if row in ("base", "sft"):
        weights = results["certificate"].get(f"{'start' if row == 'sft' else 'base'}_weights")
        consumed = (results["costs"].get(row) or {}).get("consumed")
        return {"weights_digest": weights, "consumed": consumed or {}}
    own: Mapping[str, Any] = results["training"][checkpoint]["metrics"]
    return own


def _intro(results: Mapping[str, Any], checkpoint: str) -> Iterator[str]:
    version = results["certificate"].get("alignbench", UNKNOWN)
    kind = "A reward model" if checkpoint.startswith(f"{REWARD}/") else "A causal language model"
    made = "taken" if checkpoint == "base" else "trained"
    yield (
        f"{kind}, {made} by alignbench {code(str(version))} as part of a comparison of alignment "
        "methods on one starting model, one data set and one budget (recipe "
        f"{code(results['recipe']['name'])}, profile {code(results['profile'])}). It is a result "
        "of measurement and was checked for no use."
    )


def _start(results: Mapping[str, Any], checkpoint: str) -> Iterator[str]:
    certified = results["certificate"]
    model = results["recipe"].get("model") or {}
    settings = ", ".join(f"{key} {value}" for key, value in model.items())
    rows = [["Model", code(settings) if settings else UNKNOWN]]
    rows.append(["Base weights (SHA-256)", _shown(certified.get("base_weights"))])
    if checkpoint not in ("base", "sft"):
        rows.append(["Start: SFT weights (SHA-256)", _shown(certified.get("start_weights"))])
    rows.append(["Tokenizer (SHA-256)", _shown(certified.get("tokenizer"))])
    rows.append(["Precision", _shown(certified.get("precision"))])
    yield "## Start"
    yield table(["", ""], rows)


def _method(results: Mapping[str, Any], checkpoint: str) -> Iterator[str]:
    recipe, (row, _, seed) = results["recipe"], checkpoint.partition("/")
    if row in _SHARED:
        name, section = _SHARED[row]
        options, decoder, tuned = recipe.get(section) or {}, None, None
    else:
        certified = results["certificate"].get("rows", {}).get(row, {})
        name = str(certified.get("method", row))
        options = certified.get("options") or recipe["methods"].get(row) or {}
        decoder, tuned = certified.get("decoder"), _metrics(results, checkpoint).get("tuned")
    yield "## Method"
    yield f"{plain(name)}" + (f", seed {code(seed)}." if row not in _SHARED else ".")
    if decoder is not None:
        yield (
            "**The weights are part of the method only:** its answers are chosen as "
            f"{code('decoder.json')} says, {code(json.dumps(decoder, sort_keys=True))}. Plain "
            "sampling from these weights gives other answers, and other results, than those below."
        )
    if tuned is not None:
        chosen = [
            f"{code(str(key))} = {code(json.dumps(value))}"
            for key, value in sorted(tuned["params"].items())
        ]
        yield f"Chosen by tuning, as the best trial's on validation prompts: {', '.join(chosen)}."
    rows = [[code(str(key)), code(json.dumps(value))] for key, value in sorted(options.items())]
    if rows:
        yield table(["option", "value"], rows)


def _data(results: Mapping[str, Any]) -> Iterator[str]:
    data = results["recipe"].get("data") or {}
    files = results["certificate"].get("data") or {}
    yield "## Data"
    if data:
        yield table(["", ""], [[code(str(k)), code(str(v))] for k, v in data.items()])
    if files:
        rows = [[code(name), code(str(digest))] for name, digest in sorted(files.items())]
        yield (
            "Files of the run, by SHA-256; parts for training, reward models and evaluation are "
            "disjoint:"
        )
        yield table(["file", "SHA-256"], rows)


def _budget(results: Mapping[str, Any], checkpoint: str) -> Iterator[str]:
    metrics = _metrics(results, checkpoint)
    limits = (metrics.get("budget") or {}).get("limits") or {}
    consumed = metrics.get("consumed") or {}
    ended = metrics.get("ended") or {}
    yield "## Budget"
    rows = [
        [plain(LABELS.get(name, name)), _amount(limits.get(name)), _amount(consumed.get(name))]
        for name in dict.fromkeys([*limits, *consumed])
    ]
    yield table(["currency", "limit", "consumed"], rows or [[UNKNOWN] * 3])
    if ended.get("by") == "budget":
        yield f"It ended when the budget was spent ({plain(str(ended.get('currency')))})."
    elif ended.get("reason"):
        yield f"The method ended by itself: {plain(str(ended['reason']))}."


def _evaluation(results: Mapping[str, Any], row: str) -> Iterator[str]:
    cells = {(cell["model"], cell["metric"]): cell for cell in results["rows"]}
    yield "## Evaluation"
    if not any(model == row for model, _ in cells):
        yield "Not evaluated in this run."
        return
    seeds = max(cell["n_seeds"] for (model, _), cell in cells.items() if model == row)
    confidence = 100 * results["statistics"]["confidence"]
    of = "this checkpoint" if seeds == 1 else f"the row: {seeds} seeds, of which this is one"
    yield (
        f"Values of {of}, with {confidence:g} % intervals; {UNKNOWN} is unknown. Judge: "
        f"{plain(results['judge']['name'])}."
    )
    rows = []
    for metric in METRICS:
        if (row, metric.name) not in cells:
            continue
        own, sft = cells[row, metric.name], cells.get(("sft", metric.name))
        shown = [_cell(own, metric.decimals), _cell(sft, metric.decimals)]
        better = metric.better or "neither"
        rows.append([plain(label(metric, results)), *shown[: 1 if row == "sft" else 2], better])
    headers = ["metric", "this", *([] if row == "sft" else ["SFT"]), "better is"]
    yield table(headers, rows)


def _cell(cell: Mapping[str, Any] | None, decimals: int) -> str:
    if cell is None or cell["value"] is None:
        return UNKNOWN
    value = f"{cell['value']:.{decimals}f}"
    if cell["low"] is None or cell["high"] is None:
        return f"{value} ({UNKNOWN})"
    return f"{value} ({cell['low']:.{decimals}f} to {cell['high']:.{decimals}f})"


def _held_out(results: Mapping[str, Any], checkpoint: str) -> Iterator[str]:
    names = (
        "accuracy",
        "valid_pairs",
        "longer_wins_predicted",
        "longer_wins_labels",
        "length_bias",
        "length_correlation",
    )
    metrics = _metrics(results, checkpoint)
    yield "## Evaluation"
    yield "On held-out pairs; intervals are unknown."
    yield table(["", ""], [[code(name), _amount(metrics.get(name))] for name in names])


def _separation(results: Mapping[str, Any], row: str) -> Iterator[str]:
    statistics = results["statistics"]
    lines = [
        f"- Against SFT, {code(test['metric'])}: {_test(test)}"
        for test in statistics["against_sft"]
        if test["model"] == row
    ]
    for test in statistics["between_methods"]:
        if row in (test["model"], test["other"]):
            pair = f"{code(test['model'])} minus {code(test['other'])}"
            lines.append(f"- {pair}: {_test(test)}")
    best = sorted(metric for metric, name in statistics["best"].items() if name == row)
    if best:
        lines.append(f"- Separably better than every other row in: {', '.join(map(code, best))}.")
    yield "## What the results can and cannot separate"
    if not lines:
        yield "No test was made of this row."
        return
    yield "\n".join(lines)
    yield (
        "A difference that is *not separable* is no evidence of equality. Tests are corrected for "
        "their number (Holm)."
    )


def _test(test: Mapping[str, Any]) -> str:
    interval = (
        f"{UNKNOWN}"
        if test["difference"] is None
        else f"{test['difference']:+.3g}"
        + (
            f" ({test['low']:.3g} to {test['high']:.3g})"
            if test["low"] is not None
            else f" ({UNKNOWN})"
        )
    )
    p = UNKNOWN if test["p_holm"] is None else f"{test['p_holm']:.2g}"
    least = test.get("detectable")
    power = "" if least is None else f"; a true difference below {least:.2g} would be missed often"
    return f"**{test['verdict']}**, difference {interval}, p {p}{power}."


def _findings(results: Mapping[str, Any], checkpoint: str) -> Iterator[str]:
    row, _, seed = checkpoint.partition("/")
    lines = [f"- {flag['level']}: {plain(flag['message'])}" for flag in results["flags"]]
    for found in results.get("health") or []:
        if (
            found["row"] == row
            and str(found["seed"] if found["seed"] is not None else seed) == seed
        ):
            text = f"{found['finding']} Remedy: {found['remedy']}"
            lines.append(f"- health, {found['level']}: {plain(text)}")
    own = checkpoint if row == REWARD else f"train/{row}"
    for note in results["notes"]:
        stage = note.get("stage")
        if stage in (None, "data", "base", "sft") or stage == own or stage.startswith(f"{own}/"):
            where = "" if stage is None else f"{code(stage)}: "
            lines.append(f"- {plain(note['kind'])}: {where}{plain(note['message'])}")
    yield "## Findings and warnings"
    yield "\n".join(lines) if lines else "None."
    yield "What several stages said alike stands once, under the first of them."


def _certificate(results: Mapping[str, Any], checkpoint: str) -> Iterator[str]:
    certified = dict(results["certificate"])
    digest = sha256_json(certified)
    prompts = certified.get("eval_prompts") or []
    certified["eval_prompts"] = f"{len(prompts)} prompts, SHA-256 {sha256_json(prompts)}"
    yield "## Weights and certificate"
    yield table(
        ["", "SHA-256"],
        [
            ["These weights", _shown(_metrics(results, checkpoint).get("weights_digest"))],
            ["Certificate of the run", code(digest)],
        ],
    )
    yield (
        "Rows of two runs may share a table only where their certificates agree in everything that "
        "must (docs/certificate.md of alignbench)."
    )
    yield block(json.dumps(certified, indent=1, sort_keys=True), "json")


def _shown(value: Any) -> str:
    return UNKNOWN if value is None else code(str(value))


def _amount(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9:
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, int | float) else plain(str(value))
