from __future__ import annotations

from pathlib import Path

import pytest
import torch

from alignbench.engines.sampler import TransformersSampler
from alignbench.metering.meter import Meter
from alignbench.metering.watch import watch
from alignbench.models.best_of_n import best_of
from alignbench.models.decode import Completion, Decoding, sample
from alignbench.models.load import load_policy
from tests import tiny

DECODING = Decoding(tiny.LIMIT, 1.0)


class Fixed(tiny.WordReward):
    """Raw score by number of the answer in the call, whatever it is."""

    values: list[float]

    def score_ids(self, prompt_ids: object, completion_ids: object) -> list[float]:
        return self.values


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[object, object, list[list[int]], list[Completion]]:
    model, words = load_policy(tiny.start_folder(tmp_path))
    prompts = [[3, 4, 2], [5, 2]]
    return model, words, prompts, sample(model, words, [p for p in prompts for _ in range(4)],
                                         DECODING, 5, 3)  # fmt: skip


def scorer(tmp_path: Path, values: list[float]) -> Fixed:
    made = Fixed.load(tiny.reward_folder(tmp_path))  # reference 0, 1: mean 0.5, deviation 0.5
    made.values = values
    return made


def test_takes_the_best_of_the_samples_that_plain_sampling_draws(
    drawn: tuple, tmp_path: Path
) -> None:
    model, words, prompts, all_of_them = drawn
    # One raw unit is two standard deviations, more than the penalty of a missing EOS.
    values = [0.0, 5.0, 1.0, 2.0, 9.0, 9.0, 0.0, 20.0]
    found = best_of(
        TransformersSampler(model, words, 3), prompts, DECODING, 5, 4, scorer(tmp_path, values)
    )
    assert found == [all_of_them[1], all_of_them[7]]


def test_an_answer_without_end_loses_one_standard_deviation(drawn: tuple, tmp_path: Path) -> None:
    model, words, prompts, all_of_them = drawn
    cut = next(k for k in range(4, 8) if not all_of_them[k].finished)
    whole = next(k for k in range(4, 8) if all_of_them[k].finished)
    # The deviation is 0.5 raw units.
    for lead, wins in ((0.49, whole), (0.51, cut)):
        values = [-100.0] * 8
        values[cut], values[whole] = lead, 0.0
        found = best_of(
            TransformersSampler(model, words, 3), prompts, DECODING, 5, 4, scorer(tmp_path, values)
        )
        assert found[1] == all_of_them[wins]


def test_one_sample_is_plain_sampling(drawn: tuple, tmp_path: Path) -> None:
    model, words, prompts, _ = drawn
    found = best_of(
        TransformersSampler(model, words, 2), prompts, DECODING, 7, 1, scorer(tmp_path, [1.0, 1.0])
    )
    assert found == sample(model, words, prompts, DECODING, 7, 2)


def test_equal_scores_give_the_first(drawn: tuple, tmp_path: Path) -> None:
    model, words, prompts, all_of_them = drawn
    found = best_of(
        TransformersSampler(model, words, 3), prompts, DECODING, 5, 4, scorer(tmp_path, [0.0] * 8)
    )
    for row, done in enumerate(found):
        own = all_of_them[4 * row : 4 * row + 4]
        assert done == next((one for one in own if one.finished), own[0])


def test_all_samples_and_scores_are_on_the_meter(drawn: tuple, tmp_path: Path) -> None:
    model, words, prompts, all_of_them = drawn
    meter = Meter()
    real = tiny.RewardScorer.load(tiny.reward_folder(tmp_path))
    with watch(meter), torch.no_grad():
        best_of(TransformersSampler(model, words, 3), prompts, DECODING, 5, 4, real)
    answers = sum(len(done.ids) for done in all_of_them)
    assert meter.bill()["tokens_generated"] == answers
    assert meter.bill()["tokens_scored"] >= answers + 4 * (3 + 2)
