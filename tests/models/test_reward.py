from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from alignbench.errors import UserError
from alignbench.models.reward import Calibration, RewardScorer
from alignbench.models.text import encode_prompt, encode_response
from tests import tiny

PROMPTS = ["w1", "w2 w3", "w4 w5 w6"]
RESPONSES = ["w1 w2 w3 w4 w5", "good", "w1 w2"]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> RewardScorer:
    return RewardScorer.load(tiny.reward_folder(tmp_path_factory.mktemp("reward")))


def ids(scorer: RewardScorer) -> tuple[list[list[int]], list[list[int]]]:
    return (
        [encode_prompt(scorer.tokenizer, p) for p in PROMPTS],
        [encode_response(scorer.tokenizer, r) for r in RESPONSES],
    )


class TestScorer:
    def test_scores_the_last_token_and_no_padding(self, scorer: RewardScorer) -> None:
        prompts, responses = ids(scorer)
        alone = []
        for prompt, response in zip(prompts, responses, strict=True):
            with torch.no_grad():
                hidden = scorer.model.base_model(torch.tensor([prompt + response]))
                alone.append(float(scorer.model.score(hidden.last_hidden_state[0, -1])))
        assert scorer.score_ids(prompts, responses) == pytest.approx(alone, abs=1e-5)
        assert scorer.score(PROMPTS, RESPONSES) == pytest.approx(alone, abs=1e-5)

    def test_batch_size_does_not_change_scores(self, scorer: RewardScorer) -> None:
        one = RewardScorer(scorer.model, scorer.tokenizer, batch_size=1)
        together = scorer.score(PROMPTS, RESPONSES)
        assert one.score(PROMPTS, RESPONSES) == pytest.approx(together, abs=1e-5)
        assert len(set(together)) == 3

    def test_eos_is_part_of_what_is_scored(self, scorer: RewardScorer) -> None:
        prompts, responses = ids(scorer)
        cut = [response[:-1] for response in responses]
        with_eos, without = (scorer.score_ids(prompts, r) for r in (responses, cut))
        assert min(abs(a - b) for a, b in zip(with_eos, without, strict=True)) > 1e-3

    def test_without_calibration_there_is_no_scale(self, scorer: RewardScorer) -> None:
        assert len(scorer.calibrated([0.0, 1.0])) == 2
        bare = RewardScorer(scorer.model, scorer.tokenizer)
        with pytest.raises(ValueError, match="calibration"):
            bare.calibrated([0.0])

    def test_standardized_has_the_reference_as_its_unit(self, scorer: RewardScorer) -> None:
        # Reference scores 0 and 1: mean 1/2, standard deviation 1/2.
        assert scorer.standardized([0.0, 0.5, 2.0]) == pytest.approx([-1.0, 0.0, 3.0])


class TestCalibration:
    def test_scale_is_the_maximum_likelihood_of_the_labels(self) -> None:
        # Margins 1, 1, 1, -1: sigmoid(a) = 3/4, so a = ln 3. Margins of 2: half of it.
        assert Calibration.fit([1, 1, 1, 0], [0, 0, 0, 1]).scale == pytest.approx(math.log(3))
        assert Calibration.fit([2, 2, 2, 0], [0, 0, 0, 2]).scale == pytest.approx(math.log(3) / 2)

    def test_unequal_margins(self) -> None:
        # Margins 2, 1, -1: the likelihood equation 2 s(-2a) + s(-a) = s(a), s the sigmoid.
        scale = Calibration.fit([2, 1, 0], [0, 0, 1]).scale

        def s(x: float) -> float:
            return 1 / (1 + math.exp(-x))

        assert 2 * s(-2 * scale) + s(-scale) == pytest.approx(s(scale), rel=1e-5)

    def test_value_is_ten_times_the_chance_to_win(self) -> None:
        calibration = Calibration(math.log(3), [0.0, 1.0])
        # At 0: an even chance against 0, and sigmoid(-ln 3) = 1/4 against 1.
        assert calibration([0.0, 0.5, 1.0]) == pytest.approx([3.75, 5.0, 6.25])

    def test_is_strictly_increasing_within_0_and_10(self) -> None:
        raw = [-50.0, -5.0, -0.1, 0.0, 0.1, 3.0, 40.0]
        values = Calibration(0.3, [0.0, 1.0, -2.0])(raw)
        assert values == sorted(set(values))
        assert 0 < values[0] < values[-1] < 10

    @pytest.mark.parametrize(("chosen", "bound"), [([1.0, 1.0], 10), ([-1.0, -1.0], 0.01)])
    def test_labels_without_a_finite_optimum_stop_at_the_bounds(
        self, chosen: list[float], bound: float
    ) -> None:
        # Scores +-1 and 0: their standard deviation is 1/2.
        found = Calibration.fit(chosen, [0.0, 0.0])
        assert found.scale * 0.5 == pytest.approx(bound, rel=1e-3)

    @pytest.mark.parametrize("score", [1.0, math.nan])
    def test_a_constant_or_diverged_reward_is_refused(self, score: float) -> None:
        with pytest.raises(UserError, match="same score"):
            Calibration.fit([score, score], [score, score])

    def test_file_round_trip(self, tmp_path: Path) -> None:
        fitted = Calibration.fit([1, 1, 1, 0.5], [0, 0, 0.1, 1])
        fitted.save(tmp_path / "c.json")
        assert Calibration.load(tmp_path / "c.json") == fitted
