from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from alignbench.models.load import load_policy, save_model, weights_digest
from alignbench.models.reward import RewardScorer
from alignbench.stages import reward
from tests import tiny
from tests.stages.tiny_stages import files, metrics, read_lines, run_stage, write_lines

SETTINGS = {
    "learning_rate": 5e-3,
    "epochs": 2,
    "batch_size": 8,
    "gradient_accumulation": 1,
    "warmup_fraction": 0.1,
    "minimum_accuracy": 0.7,
    "seed": 0,
    "gold_seed": 1,
}


def folders(root: Path, swap_valid: bool = False) -> dict[str, Path]:
    """Pairs in which the answer with "good" is preferred (or not, in the validation part)."""
    tiny.start_folder(root)
    made = [{"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected} for p in tiny.pairs()]
    valid = made[200:]
    if swap_valid:
        valid = [{**p, "chosen": p["rejected"], "rejected": p["chosen"]} for p in valid]
    for split in ("proxy", "gold"):
        write_lines(root / "data" / f"pairs_{split}.jsonl", made[:200])
        write_lines(root / "data" / f"pairs_{split}_valid.jsonl", valid)
    return {"data": root / "data", "sft": root / "start"}


def config(**changes: Any) -> dict[str, Any]:
    return {"reward_model": SETTINGS, "split": "proxy", "seed": 0, **changes}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reward")
    assert run_stage(reward.run, root / "out", config(), folders(root)) == []
    return root


def test_output_is_complete_and_holds_nothing_else(trained: Path) -> None:
    found = {"model/", "log.jsonl", "metrics.json", "cost.json", "calibration.json"}
    assert files(trained / "out") == found
    assert len([line for line in read_lines(trained / "out" / "log.jsonl") if "loss" in line]) > 5


def test_learns_the_preference_and_says_how_well(trained: Path) -> None:
    found = metrics(trained / "out")
    assert found["accuracy"] > 0.95
    assert (found["train_pairs"], found["valid_pairs"]) == (200, 56)
    scorer = RewardScorer.load(trained / "out")
    assert weights_digest(scorer.model) == found["weights_digest"]
    good, plain = scorer.score(["w1", "w1"], ["w4 good w5", "w4 w3 w5"])
    assert good > plain
    low, high = scorer.calibrated([plain, good])
    assert 0 < low < 5 < high < 10


def test_calibration_refers_to_the_held_out_responses(trained: Path) -> None:
    scorer = RewardScorer.load(trained / "out")
    pairs = tiny.pairs()[200:]
    chosen = scorer.score([p.prompt for p in pairs], [p.chosen for p in pairs])
    rejected = scorer.score([p.prompt for p in pairs], [p.rejected for p in pairs])
    assert scorer.calibration is not None
    assert list(scorer.calibration.reference) == pytest.approx(chosen + rejected, abs=1e-5)
    found = metrics(trained / "out")
    wins = sum(c > r for c, r in zip(chosen, rejected, strict=True))
    assert found["accuracy"] == wins / len(pairs)


def test_trains_on_the_ids_that_are_scored() -> None:
    encoded = reward.EncodedPairs([[5, 2], [6, 2]], [[3, 0], [3, 3]], [[7, 0], [8, 0]])
    assert list(encoded.dataset()) == [
        {"chosen_ids": [5, 2, 3, 0], "rejected_ids": [5, 2, 7, 0], "length": 4},
        {"chosen_ids": [6, 2, 3, 3], "rejected_ids": [6, 2, 8, 0], "length": 4},
    ]


def test_first_loss_is_bradley_terry_of_the_start_model(trained: Path, tmp_path: Path) -> None:
    """One step at a vanishing learning rate: the logged loss is -mean log sigmoid(margin)."""
    settings = {**SETTINGS, "learning_rate": 1e-12, "epochs": 1, "batch_size": 200}
    inputs = {"data": trained / "data", "sft": trained / "start"}
    run_stage(reward.run, tmp_path / "out", config(reward_model=settings), inputs)
    [loss] = [line["loss"] for line in read_lines(tmp_path / "out" / "log.jsonl") if "loss" in line]
    scorer = RewardScorer.load(tmp_path / "out")
    pairs = tiny.pairs()[:200]
    chosen = scorer.score([p.prompt for p in pairs], [p.chosen for p in pairs])
    rejected = scorer.score([p.prompt for p in pairs], [p.rejected for p in pairs])
    terms = [math.log1p(math.exp(r - c)) for c, r in zip(chosen, rejected, strict=True)]
    assert loss == pytest.approx(sum(terms) / len(terms), rel=1e-4)


def test_seeds_differ_and_repeat(trained: Path) -> None:
    inputs = {"data": trained / "data", "sft": trained / "start"}
    run_stage(reward.run, trained / "again", config(), inputs)
    run_stage(reward.run, trained / "gold", config(split="gold", seed=1), inputs)
    digests = [metrics(trained / n)["weights_digest"] for n in ("out", "again", "gold")]
    assert digests[0] == digests[1] != digests[2]


def test_low_accuracy_is_a_loud_warning_with_remedy(tmp_path: Path) -> None:
    inputs = folders(tmp_path, swap_valid=True)
    [(kind, message)] = run_stage(reward.run, tmp_path / "out", config(), inputs)
    assert kind == "warning"
    for part in ("held-out accuracy", "below 70%", "reward_pairs"):
        assert part in message


def test_a_policy_without_pad_token_is_said_to_have_got_one(tmp_path: Path) -> None:
    inputs = folders(tmp_path)
    model, tokenizer = load_policy(tmp_path / "start" / "model")
    tokenizer.pad_token = None
    save_model(model, tokenizer, tmp_path / "unpadded" / "model")
    inputs["sft"] = tmp_path / "unpadded"
    settings = {**SETTINGS, "epochs": 1}
    notes = run_stage(reward.run, tmp_path / "out", config(reward_model=settings), inputs)
    assert ("substitution", 'a pad token "<|pad|>" was added') in notes


def test_held_out_figures_by_hand() -> None:
    # Pairs: right and longer wins; wrong, shorter labelled, longer predicted; a tie of equal
    # length; right, shorter wins.
    found = reward.held_out([2.0, 0.0, 1.0, 3.0], [1.0, 1.0, 1.0, 0.0], [5, 2, 4, 3], [4, 6, 4, 9])
    assert found["accuracy"] == (1 + 0 + 0.5 + 1) / 4
    assert found["longer_wins_predicted"] == pytest.approx(2 / 3)
    assert found["longer_wins_labels"] == pytest.approx(1 / 3)
    assert found["length_bias"] == pytest.approx(1 / 3)
    # Scores 2, 0, 1, 3, 1, 1, 1, 0: mean 9/8, squares sum to 17, variance (17 - 81/8) / 7.
    assert found["score_mean"] == 9 / 8
    assert found["score_std"] == pytest.approx(math.sqrt((17 - 81 / 8) / 7))
    assert reward.held_out([1.0, 2.0], [3.0, 4.0], [1, 2], [3, 4])["length_correlation"] == 1


def test_without_any_difference_in_length_its_bias_is_unknown() -> None:
    found = reward.held_out([1.0, 2.0], [3.0, 0.0], [4, 4], [4, 4])
    assert found["accuracy"] == 0.5
    for name in ("longer_wins_predicted", "longer_wins_labels", "length_bias"):
        assert found[name] is None
    assert found["length_correlation"] is None
