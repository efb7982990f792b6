"""DPO, IPO, KTO, ORPO and SimPO: they learn, log the same values, and refuse bad options."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from alignbench.methods import registry
from alignbench.methods.base import Pair
from alignbench.methods.dpo import DPO
from alignbench.methods.ipo import IPO
from alignbench.methods.kto import KTO
from alignbench.methods.orpo import ORPO
from alignbench.methods.preference import PreferenceMethod
from alignbench.methods.simpo import SimPO
from tests import tiny

METHODS: dict[str, PreferenceMethod] = {
    "dpo": DPO(learning_rate=1e-2, epochs=4),
    "ipo": IPO(learning_rate=1e-2, epochs=4),
    "kto": KTO(learning_rate=1e-2, epochs=4),
    "orpo": ORPO(learning_rate=1e-2, epochs=4, beta=1.0),
    "simpo": SimPO(learning_rate=1e-2, epochs=4),
}
LOGGED = {
    "loss", "learning_rate", "grad_norm", "rewards_accuracies", "rewards_margins",
    "rewards_chosen", "rewards_rejected", "logps_chosen", "logps_rejected",
}  # fmt: skip
DPO_LOSSES: tuple[str, ...] = get_args(DPO.model_fields["loss"].annotation)


@pytest.mark.parametrize("name", METHODS)
def test_learns_to_prefer_the_chosen(name: str, tmp_path: Path) -> None:
    before = tiny.good_share(tiny.policy(tiny.start_folder(tmp_path)))
    trained, offered, _ = tiny.train(tmp_path, METHODS[name])
    logs = [line for line in offered.facts["logs"] if "loss" in line]
    assert all(set(line) >= LOGGED for line in logs)
    assert logs[-1]["rewards_accuracies"] > 0.9
    assert logs[-1]["rewards_margins"] > 0
    assert tiny.good_share(trained) > max(0.9, before)


@pytest.mark.parametrize("name", METHODS)
def test_flipped_labels_drive_it_out(name: str, tmp_path: Path) -> None:
    wrong = [Pair(p.prompt, p.rejected, p.chosen) for p in tiny.pairs()]
    trained, _, _ = tiny.train(tmp_path, METHODS[name], pairs=wrong)
    assert tiny.good_share(trained) < 0.05


def start_loss(loss: str, beta: float, smoothing: float) -> float:
    """Each of DPO's losses where policy and reference are the same: all log-ratios are 0."""
    log2 = math.log(2)
    mixed = -log2 - (math.log(1 - smoothing) + math.log(smoothing)) / 2
    return {
        "sigmoid": log2,
        "hinge": 1.0,
        "robust": log2,  # (1 - e) log 2 - e log 2, over 1 - 2e
        "exo_pair": mixed,  # KL(1/2, 1/2 || 1 - e, e)
        "nca_pair": 2 * log2,  # 1 + 1/2 + 1/2 times log 2
        "sppo_hard": 2 * (0.5 / beta) ** 2,
        "aot": log2,
        "apo_zero": 1.0,  # 1/2 + 1/2
        "apo_down": 1.0,
        "discopop": (log2 + 1) / 2,  # half logistic, half exponential
        "sigmoid_norm": log2,
    }[loss]


@pytest.mark.parametrize("loss", DPO_LOSSES)
def test_losses_of_dpo_start_where_they_must_and_fall(loss: str, tmp_path: Path) -> None:
    smoothing = 0.1 if loss in ("robust", "exo_pair", "aot") else 0.0
    options: dict[str, Any] = {"loss": loss, "beta": 0.5, "label_smoothing": smoothing}
    method = DPO(learning_rate=3e-3, batch_size=16, epochs=4, logging_steps=1, **options)
    _, offered, _ = tiny.train(tmp_path, method, pairs=tiny.pairs(n=64))
    losses = [line["loss"] for line in offered.facts["logs"] if "loss" in line]
    assert losses[0] == pytest.approx(start_loss(loss, 0.5, smoothing or 0.1), abs=1e-3)
    assert sum(losses[-4:]) < sum(losses[:4])


@pytest.mark.parametrize("name", METHODS)
def test_start_values_of_the_losses(name: str, tmp_path: Path) -> None:
    """At the start: -log(1/2), (1 / (2 beta))^2, 1/2; those without a reference differ."""
    method = METHODS[name].model_copy(update={"logging_steps": 1, "epochs": 1})
    _, offered, _ = tiny.train(tmp_path, method, pairs=tiny.pairs(n=16))
    expected = {"dpo": math.log(2), "ipo": 25.0, "kto": 0.5}
    if name in expected:
        assert offered.facts["logs"][0]["loss"] == pytest.approx(expected[name], abs=1e-4)
        assert offered.facts["logs"][0]["rewards_margins"] == pytest.approx(0, abs=1e-4)
    else:
        assert offered.facts["logs"][0]["rewards_chosen"] < -0.1  # beta * log p, no reference


@pytest.mark.parametrize("name", METHODS)
def test_mixed_precision_keeps_the_start_loss(name: str, tmp_path: Path) -> None:
    method = METHODS[name].model_copy(update={"logging_steps": 1, "epochs": 1})
    first = []
    for precision in ("fp32", "bf16"):
        _, offered, _ = tiny.train(tmp_path, method, pairs=tiny.pairs(n=16), precision=precision)
        first.append(offered.facts["logs"][0]["loss"])
    assert first[0] == pytest.approx(first[1], rel=0.02)


def test_kto_bears_a_last_batch_of_one_pair(tmp_path: Path) -> None:
    method = KTO(learning_rate=1e-3, batch_size=2, logging_steps=1)
    _, offered, _ = tiny.train(tmp_path, method, pairs=tiny.pairs(n=3))
    losses = [line["loss"] for line in offered.facts["logs"] if "loss" in line]
    assert len(losses) == 2
    assert all(0 < loss < 1 for loss in losses)


@pytest.mark.parametrize(
    ("cls", "options", "says"),
    [
        (DPO, {"label_smoothing": 0.1}, "label_smoothing has no effect on loss: sigmoid"),
        (DPO, {"loss": "exo_pair"}, "exo_pair needs a label_smoothing above 0"),
        (DPO, {"loss": "ipo"}, "loss"),
        (IPO, {"beta": 0.0}, "beta"),
        (IPO, {"label_smoothing": 0.1}, "label_smoothing"),
        (KTO, {"batch_size": 1}, "greater than or equal to 2"),
        (KTO, {"desirable_weight": 0.0}, "desirable_weight"),
        (ORPO, {"beta": -0.1}, "beta"),
        (SimPO, {"gamma": -1.0}, "gamma"),
        (SimPO, {"epochs": 0}, "epochs"),
    ],
)
def test_bad_options(cls: type[PreferenceMethod], options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        cls(learning_rate=1e-3, **options)


@pytest.mark.parametrize("name", METHODS)
def test_all_are_built_in(name: str) -> None:
    method = registry.resolve(name, {"learning_rate": 1e-3, "epochs": None})
    assert type(method) is type(METHODS[name])
    assert method.name == name
    assert method.needs_budget()
    assert type(method).model_validate(type(method).example)
