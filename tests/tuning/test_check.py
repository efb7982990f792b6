"""What is wrong with a search is said before anything runs, at its line."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from alignbench.errors import UserError
from alignbench.metering.meter import Meter
from alignbench.methods.base import Inputs, Method, Need, Policy
from alignbench.recipe.load import load
from alignbench.recipe.schema import Tuning

RECIPE = """\
name: tiny
seeds: [0]
model: {source: scratch}
data: {source: sandbox}
pretrain: {steps: 10}
sft: {learning_rate: 1.0e-3}
reward_model: {learning_rate: 1.0e-3}
judge: {kind: sandbox}
labeller: {kind: sandbox}
methods:
  ppo: {learning_rate: 2.0e-4, rollouts: 3}
  rlaif: {prompts: 10, dpo: {learning_rate: 3.0e-4}}
tuning:
  trials: 4
  search:
    ppo:
      learning_rate: {low: 1.0e-4, high: 1.0e-3, log: true}
    rlaif:
      dpo.learning_rate: [1.0e-4, 3.0e-4, 1.0e-3, 3.0e-3]
"""
PPO = "      learning_rate: {low: 1.0e-4, high: 1.0e-3, log: true}\n"
RLAIF = "      dpo.learning_rate: [1.0e-4, 3.0e-4, 1.0e-3, 3.0e-3]\n"


class Needy(Method):
    """Needy: needs prompts if told so."""

    name: ClassVar[str] = "needy"
    needs: ClassVar[frozenset[Need]] = frozenset()

    learning_rate: float
    needy: bool = False

    def needs_of(self) -> frozenset[Need]:
        return frozenset({Need.PROMPTS}) if self.needy else frozenset()

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        raise NotImplementedError


def problems(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load(Path("r.yaml"))
    return list(caught.value.problems)


def test_a_good_search_loads(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    tuning = load(path).recipe.tuning
    assert isinstance(tuning, Tuning)
    assert (tuning.trials, tuning.metric, tuning.budget, tuning.seed) == (
        4,
        "reward_proxy",
        None,
        0,
    )
    assert tuning.search["rlaif"] == {"dpo.learning_rate": [1e-4, 3e-4, 1e-3, 3e-3]}
    path.write_text(RECIPE.replace(RLAIF, "").replace("    rlaif:\n", "    rlaif: {}\n"))
    assert load(path).recipe.tuning is not None  # a row may be left untuned, if it is said


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            RLAIF,
            "      dpo.learning_rte: [3.0e-4, 1.0e-3]\n",
            'r.yaml:19: tuning.search.rlaif.dpo.learning_rte: no option of this row (did you mean '
            '"dpo.learning_rate"?); options: dpo.batch_size, ',
        ),
        (
            "    rlaif:\n" + RLAIF,
            "",
            "r.yaml:15: tuning.search: row rlaif is missing, and all rows are tuned alike; name "
            "what to search, or write rlaif: {} to",
        ),
        (
            "    ppo:\n",
            "    pppo: {}\n    ppo:\n",
            'r.yaml:16: tuning.search.pppo: there is no such row (did you mean "ppo"?); rows: ppo, '
            "rlaif",
        ),
        (
            "high: 1.0e-3, log",
            "high: 1.5, log",
            "r.yaml:17: tuning.search.ppo.learning_rate: 1.5 is no valid value: must be less than "
            "1",
        ),
        (
            PPO,
            PPO + "      kl_coef: [0.1, -0.5]\n",
            "r.yaml:18: tuning.search.ppo.kl_coef.1: -0.5 is no valid value: must be greater than "
            "or equal to 0",
        ),
        (
            PPO,
            PPO + "      clip: {low: 0.3, high: 0.5}\n",
            "r.yaml:18: tuning.search.ppo.clip: must include the row's own value (0.2): the first "
            "trial",
        ),
        (
            PPO,
            PPO + "      kl_coef: {low: 0, high: 1}\n",
            "r.yaml:18: tuning.search.ppo.kl_coef: must include the row's own value (0.1): the "
            "first trial; with whole low and high it has whole numbers only (write 1.0 for 1)",
        ),
        (
            PPO,
            PPO + "      rollouts: 5\n",
            "r.yaml:18: tuning.search.ppo.rollouts: must be a list of choices, or a range {low: ",
        ),
        (
            PPO,
            PPO + "      minibatches: [1, 2, 8]\n      gradient_accumulation: [1, 4]\n",
            "r.yaml:16: tuning.search.ppo: learning_rate=0.0001, minibatches=8, "
            "gradient_accumulation=4 is no valid setting: 16 responses per rollout",
        ),
        (
            "trials: 4",
            "trials: 5",
            "r.yaml:18: tuning.search.rlaif: has 4 settings for 5 trials; widen it, or take fewer "
            "trials",
        ),
        (
            "trials: 4",
            "trials: 4\n  budget: {flops: 1.0e+12, human_labels: 5}",
            "r.yaml:15: tuning.budget.human_labels: trials cannot share human_labels out; of: ",
        ),
        ("trials: 4", "trials: 1", "r.yaml:14: tuning.trials: must be greater than or equal to 2"),
        (
            "trials: 4",
            "trials: 4\n  metric: reward_gld",
            'r.yaml:15: tuning.metric: "reward_gld" is not known (did you mean "reward_gold"?)',
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_at_its_line(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert RECIPE.count(old) == 1
    found = problems(RECIPE.replace(old, new), tmp_path, monkeypatch)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_search_of_nothing_is_no_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = RECIPE.replace("    ppo:\n" + PPO, "    ppo: {}\n")
    text = text.replace("    rlaif:\n" + RLAIF, "    rlaif: {}\n")
    assert problems(text, tmp_path, monkeypatch) == [
        "r.yaml:15: tuning.search: nothing is searched; name an option of a row, or leave tuning "
        "out"
    ]


def test_options_that_change_what_a_method_is_given_are_rows_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial has its row's inputs."""
    row = "      learning_rate: [2.0e-4, 3.0e-4]\n      needy: [false, true]\n"
    text = RECIPE.replace("  ppo: {", "  ppo: {uses: 'tests.tuning.test_check:Needy', ")
    text = text.replace(PPO, row).replace(", rollouts: 3", "")
    found = problems(text, tmp_path, monkeypatch)
    assert found[0].startswith("r.yaml:18: tuning.search.ppo.needy.1: true is no valid value: the ")
    assert "needs other inputs" in found[0]
