"""The optional field `training` of an entry: from a run, checked, and absent in old entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignbench import cli
from alignbench.digest import sha256_json
from alignbench.errors import UserError
from alignbench.leaderboard.entry import file_name, load
from tests.finished_run import finished_run, read


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("training")
    run = finished_run(root)
    assert cli.dispatch(["publish", str(run.folder), "--to", str(root / "to")]) == 0
    return next((root / "to").iterdir())


def rewritten(published: Path, folder: Path, training: Any) -> Path:
    record = {**read(published), "training": training}
    if training is None:
        del record["training"]
    record.pop("digest")
    record["digest"] = sha256_json(record)
    path = folder / file_name(record)
    path.write_text(json.dumps(record))
    return path


def test_a_published_run_has_it_and_its_perplexities_by_seed(published: Path) -> None:
    entry = load(published)
    assert entry.training is not None
    assert set(entry.training) == {"base", "sft", "ppo", "dpo"}
    ppo = entry.training["ppo"]
    assert ppo.seeds == [0, 1]
    assert ppo.quantities["reward_raw"].first == [0.0, 0.0]
    assert ppo.quantities["reward_raw"].mean == [pytest.approx(0.4875)] * 2
    assert ppo.spent["optimizer_steps"] == [40, 40]
    assert entry.observations is not None
    [table] = [c.value for c in entry.rows if (c.model, c.metric) == ("ppo", "perplexity")]
    means = entry.observations.rows["ppo"].means["perplexity"]
    assert means == [pytest.approx(table, rel=1e-5)] * 2


def test_entries_without_it_still_load(published: Path, tmp_path: Path) -> None:
    assert load(rewritten(published, tmp_path, None)).training is None


SIGNAL = {"first": [1.0], "mean": [1.0], "rms": [1.0]}
FORGED = {
    "training.gpt: is not in models": {"gpt": {"seeds": [], "quantities": {}, "spent": {}}},
    "training.ppo.quantities.kl.mean: must have a value for each seed": {
        "ppo": {"seeds": [0], "quantities": {"kl": {**SIGNAL, "mean": []}}, "spent": {}}
    },
    "training.ppo.spent.flops: must have a value for each seed": {
        "ppo": {"seeds": [0], "quantities": {}, "spent": {"flops": [1.0, 2.0]}}
    },
    "training.ppo.quantities.kl.first.0: Input should be a valid number": {
        "ppo": {"seeds": [0], "quantities": {"kl": {**SIGNAL, "first": ["1"]}}, "spent": {}}
    },
    "training.ppo.quantities.k\\u202el (the key): has control": {
        "ppo": {"seeds": [0], "quantities": {"k\u202el": SIGNAL}, "spent": {}}
    },
    "training.ppo.x: Extra inputs": {"ppo": {"seeds": [0], "quantities": {}, "spent": {}, "x": 1}},
}


@pytest.mark.parametrize("told", FORGED)
def test_forged_fields_are_named(published: Path, tmp_path: Path, told: str) -> None:
    path = rewritten(published, tmp_path, FORGED[told])
    with pytest.raises(UserError) as error:
        load(path)
    assert told in str(error.value)
