"""Verdicts where the truth is known."""

from __future__ import annotations

import pytest

from alignbench.errors import Exit, UserError
from alignbench.gate import Outcome, Tolerances, compare_entries
from alignbench.gate.samples import Finding
from tests.gate.entries import fake_entry, made, with_signal

EIGHT = list(range(8))


def found(outcome: Outcome, row: str, name: str) -> Finding:
    [finding] = [f for f in outcome.findings if (f.row, f.name) == (row, name)]
    return finding


def test_an_equal_run_is_the_same_in_everything() -> None:
    outcome = compare_entries(fake_entry(), fake_entry())
    assert outcome.exit_code == Exit.OK
    assert all(finding.identical for finding in outcome.findings if finding.run is not None)
    assert "No regression" in outcome.sentence


def test_no_change_fails_in_under_one_of_a_hundred() -> None:
    failed = sum(
        bool(compare_entries(made(EIGHT, n), made([8, 9], 1000 + n)).worse) for n in range(150)
    )
    assert failed <= 1


def test_two_seeds_against_two_do_not_cry_wolf() -> None:
    failed = sum(
        bool(compare_entries(made([0, 1], n), made([2, 3], 1000 + n)).worse) for n in range(150)
    )
    assert failed <= 1


def test_worse_better_and_same_scores() -> None:
    base = made(EIGHT, 1)
    for shift, verdict, code in ((-1.5, "worse", 1), (1.5, "better", 0), (0.0, "same", 0)):
        outcome = compare_entries(base, made([8, 9], 2, reward=shift))
        finding = found(outcome, "ppo", "reward_gold")
        assert (finding.verdict, outcome.exit_code) == (verdict, code)
        assert finding.low is not None
        assert finding.high is not None
        assert finding.low < shift < finding.high
        assert finding.tolerance == 0.3


def test_the_tolerance_decides_what_matters() -> None:
    base, run = made(EIGHT, 1), made([8, 9], 2, reward=-1.5)
    outcome = compare_entries(base, run, Tolerances.parse(["reward_gold=3"]))
    assert found(outcome, "ppo", "reward_gold").verdict == "same"
    outcome = compare_entries(base, run, Tolerances.parse(["reward_gold=1.4"]))
    assert found(outcome, "ppo", "reward_gold").verdict == "inconclusive"
    assert outcome.exit_code == Exit.INCONCLUSIVE
    assert "ppo: reward_gold is inconclusive" in outcome.undecided
    outcome = compare_entries(base, run, Tolerances.parse(["reward_gold=1.4"]), deciding=())
    assert outcome.exit_code == Exit.OK


def test_a_changed_signal_is_a_regression_in_either_direction() -> None:
    base = made(EIGHT, 1)
    for push in (-0.8, 2.4):
        outcome = compare_entries(base, made([8, 9], 2, push=push))
        assert outcome.exit_code == Exit.REGRESSION
        finding = found(outcome, "dpo", "training.push.mean")
        assert (finding.verdict, finding.word) == ("worse", "changed")
        assert {f.name for f in outcome.worse} == {"training.push.mean", "training.push.rms"} - (
            {"training.push.rms"} if push == -0.8 else set()
        )


def test_a_quantity_that_has_become_zero_is_seen() -> None:
    run = with_signal(made([8, 9], 2), "ppo", "kl", [0.0, 1e-12])
    outcome = compare_entries(made(EIGHT, 1), run)
    assert [f.name for f in outcome.worse] == ["training.kl.rms"]


def test_what_was_always_zero_is_no_scale() -> None:
    base = with_signal(made(EIGHT, 1), "ppo", "clip", [0.0] * 8)
    run = with_signal(made([8, 9], 2), "ppo", "clip", [0.01, 0.02])
    finding = found(compare_entries(base, run), "ppo", "training.clip.mean")
    assert finding.verdict == "inconclusive"


def test_counts_one_beside_another_are_no_change_and_twice_as_many_are() -> None:
    base = made(EIGHT, 1, steps=4)
    near = compare_entries(base, made([8, 9], 2, steps=5))
    assert found(near, "ppo", "spent.optimizer_steps").verdict == "inconclusive"
    far = compare_entries(base, made([8, 9], 2, steps=12))
    assert found(far, "ppo", "spent.optimizer_steps").word == "changed"


def test_the_first_step_must_agree_from_equal_weights_with_equal_seeds() -> None:
    base = made([0, 1], 1)
    other = with_signal(base, "ppo", "push", [-0.8, -0.8])
    first = found(compare_entries(base, other), "ppo", "training.push.first")
    assert first.word == "changed"
    # With other seeds, or from other weights, it may differ: then it is not compared.
    for run in (made([2, 3], 2), retrained(other)):
        names = {f.name for f in compare_entries(base, run, retrained=True).findings}
        assert "training.push.first" not in names


def retrained(entry):  # type: ignore[no-untyped-def]
    certificate = {**entry.certificate, "start_weights": "0" * 64}
    return entry.model_copy(update={"certificate": certificate})


def test_few_seeds_are_named() -> None:
    [note] = compare_entries(made([0, 1], 1), made([2, 3], 2)).notes
    assert "2 and 2 seeds: only large differences" in note


def test_single_seeds_decide_nothing() -> None:
    outcome = compare_entries(made([0], 1), made([1], 2), deciding=())
    assert outcome.exit_code == Exit.INCONCLUSIVE
    assert "nothing could be tested" in outcome.undecided[0]


def test_rows_that_are_missing_or_new() -> None:
    base, run = made(EIGHT, 1), made([8, 9], 2)
    rows = {name: row for name, row in run.certificate["rows"].items() if name != "dpo"}
    smaller = run.model_copy(
        update={
            "models": [m for m in run.models if m != "dpo"],
            "rows": [cell for cell in run.rows if cell.model != "dpo"],
            "certificate": {**run.certificate, "rows": rows},
        }
    )
    outcome = compare_entries(base, smaller)
    assert outcome.undecided == ["row dpo of the baseline is not in the run"]
    assert outcome.exit_code == Exit.INCONCLUSIVE
    assert "row dpo is new" in compare_entries(smaller, base).notes


def test_a_score_that_was_lost_is_not_taken_for_good() -> None:
    run = made([8, 9], 2)
    lost = [cell.model_copy(update={"value": None}) for cell in run.rows]
    outcome = compare_entries(made(EIGHT, 1), run.model_copy(update={"rows": lost}))
    assert found(outcome, "ppo", "reward_gold").verdict == "inconclusive"
    assert outcome.exit_code == Exit.INCONCLUSIVE


def test_an_old_entry_without_signals_is_compared_by_scores() -> None:
    old = made(EIGHT, 1).model_copy(update={"training": None})
    outcome = compare_entries(old, made([8, 9], 2))
    assert {f.kind for f in outcome.findings} == {"score"}
    assert "the baseline has no training signals: only scores were compared" in outcome.notes


def changed(**fields: object):  # type: ignore[no-untyped-def]
    entry = made([8, 9], 2)
    return entry.model_copy(update={"certificate": {**entry.certificate, **fields}})


def test_other_terms_are_refused_by_field() -> None:
    base = made(EIGHT, 1)
    with pytest.raises(UserError, match=r"certificate\.tokenizer differs"):
        compare_entries(base, changed(tokenizer="0" * 64), retrained=True)
    decoding = {**base.certificate["decoding"], "temperature": 0.1}
    with pytest.raises(UserError, match=r"certificate\.decoding\.temperature differs"):
        compare_entries(base, changed(decoding=decoding))
    rows = {**base.certificate["rows"]}
    rows["ppo"] = {**rows["ppo"], "method": "another"}
    with pytest.raises(UserError, match=r"certificate\.rows\.ppo\.method differs"):
        compare_entries(base, changed(rows=rows))


def test_weights_made_anew_are_refused_unless_accepted() -> None:
    base, run = made(EIGHT, 1), changed(start_weights="0" * 64)
    with pytest.raises(UserError, match=r"start_weights differs.*add --retrained"):
        compare_entries(base, run)
    outcome = compare_entries(base, run, retrained=True)
    assert outcome.notes == ["start_weights differs: made anew by the same settings"]
    settings = {**run.recipe.settings, "sft": {"epochs": 9}}
    other = run.model_copy(update={"recipe": run.recipe.model_copy(update={"settings": settings})})
    with pytest.raises(UserError, match=r"start_weights differs.*other settings in sft"):
        compare_entries(base, other, retrained=True)
