from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alignbench.errors import UserError
from alignbench.recipe.data_sections import (
    ExternalData,
    HhRlhfData,
    PreferenceData,
    SandboxData,
    SftData,
    ShareGptData,
)
from alignbench.sandbox.gold import score
from alignbench.stage import StageContext
from alignbench.stages import data as stage

SMALL = SandboxData(
    source="sandbox", corpus_documents=300, sft_examples=60, train_prompts=30, reward_pairs=60,
    gold_pairs=50, evaluation_prompts=20, validation_prompts=12, annotators=3,
)  # fmt: skip
KEYS = {
    "corpus": {"text"},
    "heldout": {"text"},
    "sft": {"prompt", "response", "family"},
    "train_prompts": {"id", "prompt", "family"},
    "valid_prompts": {"id", "prompt", "family"},
    "eval_prompts": {"id", "prompt", "family", "harmful"},
    "pairs_gold": {
        "id", "prompt", "chosen", "rejected", "votes_chosen", "votes_total", "family",
    },
}  # fmt: skip


def _run(folder: Path, config: SandboxData | ExternalData) -> list[tuple[str, str]]:
    notes: list[tuple[str, str]] = []
    folder.mkdir()
    stage.run(
        StageContext(
            out=folder,
            config={"data": config.model_dump()},
            inputs={},
            progress=lambda *_, **__: None,
            note=lambda kind, message: notes.append((kind, message)),
        )
    )
    return notes


def _load(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted(folder.glob("*.jsonl"))
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "out"
    assert _run(folder, SMALL) == []
    return folder


def test_files_have_the_sizes_and_keys_of_the_contract(small: Path) -> None:
    rows = _load(small)
    assert {name: len(part) for name, part in rows.items()} == {
        "corpus": 300, "heldout": 300, "sft": 60, "sft_valid": 10, "train_prompts": 30,
        "pairs_proxy": 60, "pairs_proxy_valid": 10, "pairs_gold": 50, "pairs_gold_valid": 9,
        "valid_prompts": 12, "eval_prompts": 20,
    }  # fmt: skip
    for name, keys in KEYS.items():
        assert all(set(row) == keys for row in rows[name])
    assert [row["id"] for row in rows["eval_prompts"][:2]] == ["eval-00000", "eval-00001"]
    assert rows["valid_prompts"][0]["id"] == "valid-00000"
    ids = [row["id"] for part in rows.values() for row in part if "id" in row]
    assert len(ids) == len(set(ids))


def test_no_prompt_is_in_two_files(small: Path) -> None:
    rows = _load(small)
    prompts = [{r["prompt"] for r in part} for part in rows.values() if "prompt" in part[0]]
    assert sum(map(len, prompts)) == len(set().union(*prompts))


def test_validation_prompts_change_no_other_file(small: Path) -> None:
    """So that results from before there were any stay comparable."""
    from alignbench.sandbox import dataset

    other = dataset.build(SMALL.model_copy(update={"validation_prompts": 30})).rows
    before = _load(small)
    assert {name for name in before if before[name] != other[name]} == {"valid_prompts"}
    assert other["valid_prompts"][:2] == before["valid_prompts"][:2]


def test_validation_prompts_share_no_wording_with_training_or_evaluation() -> None:
    """A prompt behind another greeting is nearly the same prompt.

    The sizes are such that every pool comes to its second greetings in some family.
    """
    from alignbench.sandbox import dataset
    from alignbench.sandbox.content.phrases import OPENINGS
    from alignbench.sandbox.prompts import find

    def wordings(*names: str) -> set[tuple[str, str]]:
        longest = sorted(OPENINGS, key=len, reverse=True)
        found = set()
        for row in (row for name in names for row in rows[name]):
            opening = next(o for o in longest if row["prompt"].startswith(o))
            found.add((find(row["prompt"]).item.key, row["prompt"].removeprefix(opening)))
        return found

    sizes = {"evaluation_prompts": 300, "validation_prompts": 150, "train_prompts": 1000}
    rows = dataset.build(SMALL.model_copy(update=sizes)).rows
    trained = ("sft", "sft_valid", "train_prompts", "pairs_proxy", "pairs_proxy_valid")
    assert not wordings("valid_prompts") & wordings(*trained, "eval_prompts")


def test_labels_are_majorities(small: Path) -> None:
    rows = _load(small)
    pairs = [row for name in rows if name.startswith("pairs") for row in rows[name]]
    assert {row["votes_total"] for row in pairs} == {3}
    assert {row["votes_chosen"] for row in pairs} == {2, 3}
    assert all(row["chosen"] != row["rejected"] for row in pairs)


def test_summary_agrees_with_the_files(small: Path) -> None:
    rows, summary = _load(small), json.loads((small / "summary.json").read_text())
    assert summary["counts"] == {name: len(part) for name, part in rows.items()}
    assert sum(summary["families"]["eval_prompts"].values()) == 20
    golds = [score(row["prompt"], row["response"]).overall for row in rows["sft"]]
    assert summary["gold_mean"]["sft"] == pytest.approx(sum(golds) / len(golds))
    pairs = [row for name in rows if name.startswith("pairs") for row in rows[name]]
    unanimous = sum(row["votes_chosen"] == 3 for row in pairs) / len(pairs)
    assert summary["annotator_agreement"]["unanimous"] == pytest.approx(unanimous)


def test_default_sizes_meet_the_aims(tmp_path: Path) -> None:
    _run(tmp_path / "out", SandboxData(source="sandbox", corpus_documents=100))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert 0.85 < summary["annotator_agreement"]["with_gold"] < 0.89
    assert summary["gold_mean"]["web"] + 0.4 < summary["gold_mean"]["sft"] < 6.2


def test_seed_decides_every_byte_in_any_process(small: Path, tmp_path: Path) -> None:
    """Another process, with another hash seed, writes the same bytes; another seed does not."""
    script = (
        "import json, sys; from pathlib import Path; from alignbench.stage import StageContext; "
        "from alignbench.stages import data; "
        "data.run(StageContext(Path(sys.argv[1]), json.loads(sys.argv[2]), {}, "
        "lambda *a, **k: None, print)); assert 'torch' not in sys.modules"
    )
    config = json.dumps({"data": SMALL.model_dump()})
    environment = os.environ | {"PYTHONHASHSEED": "77"}
    command = [sys.executable, "-c", script, str(tmp_path), config]
    subprocess.run(command, check=True, env=environment)
    for path in small.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    _run(tmp_path / "other", SMALL.model_copy(update={"seed": 1}))
    assert _load(tmp_path / "other")["sft"] != _load(small)["sft"]


def test_a_leak_fails_the_stage_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alignbench.sandbox import dataset

    def leaking(config: SandboxData) -> dataset.Dataset:
        built = build(config)
        built.rows["sft"][0]["prompt"] = built.rows["eval_prompts"][0]["prompt"]
        return built

    build = dataset.build
    monkeypatch.setattr(dataset, "build", leaking)
    with pytest.raises(UserError, match="1 prompts are in both the sft and the evaluation split"):
        _run(tmp_path / "out", SMALL)
    assert list((tmp_path / "out").iterdir()) == []


def test_too_large_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"prompts for the evaluation split.*lower the sizes"):
        _run(tmp_path / "out", SMALL.model_copy(update={"evaluation_prompts": 50_000}))
    with pytest.raises(UserError, match=r"prompts for the gold split.*lower the sizes"):
        _run(tmp_path / "more", SMALL.model_copy(update={"validation_prompts": 50_000}))


def test_hh_rlhf_writes_the_same_files_and_notes_what_it_skipped(tmp_path: Path) -> None:
    head = "\n\nHuman: Question {}?\n\nAssistant: "
    lines = [
        json.dumps({"chosen": head.format(i) + "Yes.", "rejected": head.format(i) + answer})
        for i, answer in enumerate(["No."] * 60 + ["Yes."])
    ]
    source = tmp_path / "hh.jsonl"
    source.write_text("\n".join(lines), encoding="utf-8")
    config = HhRlhfData(
        source="hh_rlhf", path=str(source), sft_examples=5, train_prompts=5, reward_pairs=5,
        gold_pairs=5, evaluation_prompts=5, validation_prompts=5,
    )  # fmt: skip
    notes = _run(tmp_path / "out", config)
    assert notes == [("warning", "HH-RLHF: skipped records: 1 equal answers")]
    rows = _load(tmp_path / "out")
    assert set(rows) == set(KEYS) - {"corpus"} | {
        "sft_valid", "pairs_proxy", "pairs_proxy_valid", "pairs_gold_valid",
    }  # fmt: skip
    for name, keys in KEYS.items():
        known = keys - {"harmful"}  # nobody labelled HH-RLHF's prompts
        assert all(set(row) == known for row in rows.get(name, []))


def test_any_source_of_pairs_with_sft_from_elsewhere(tmp_path: Path) -> None:
    pairs = [{"prompt": f"Q {i}?", "chosen": "Yes.", "rejected": "No."} for i in range(60)]
    tasks = [{"instruction": f"Task {i}", "output": "Done."} for i in range(20)]
    for name, rows in (("pairs", pairs), ("tasks", tasks)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    config = PreferenceData(
        source="preference", path=str(tmp_path / "pairs.jsonl"), sft_examples=5, train_prompts=5,
        reward_pairs=5, gold_pairs=5, evaluation_prompts=5, validation_prompts=5,
        sft=SftData(source="alpaca", path=str(tmp_path / "tasks.jsonl")),
    )  # fmt: skip
    assert _run(tmp_path / "out", config) == []
    rows = _load(tmp_path / "out")
    assert {row["family"] for row in rows["sft"]} == {"alpaca"}
    assert {row["family"] for row in rows["pairs_gold"]} == {"preference"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["sft"]["examples"] == 20


def test_examples_alone_are_no_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sharegpt holds examples for SFT.*data\.sft"):
        _run(tmp_path / "out", ShareGptData(source="sharegpt", path="x.jsonl"))
