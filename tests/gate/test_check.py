"""Verdicts where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from alignbench.errors import Exit, UserError
from alignbench.gate import Outcome, Tolerances, compare_entries
from alignbench.gate.samples import Finding
from alignbench.leaderboard.schema import Cell, Entry, Seen, Signal, Trained
from tests.gate.entries import METHODS as BOTH
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


@pytest.mark.parametrize(
    ("now", "verdict"),
    [([0.01, 0.011], "worse"), ([0.0, 0.02], "inconclusive"), ([0.0, 0.0], "inconclusive")],
)
def test_a_signal_that_was_always_zero_is_guarded(now: list[float], verdict: str) -> None:
    base = with_signal(made(EIGHT, 1), "ppo", "clip", [0.0] * 8)
    run = with_signal(made([8, 9], 2), "ppo", "clip", now)
    outcome = compare_entries(base, run)
    assert found(outcome, "ppo", "training.clip.mean").verdict == verdict
    assert outcome.untested == []


def test_one_rare_event_in_each_seed_is_inconclusive() -> None:
    base = with_signal(made(EIGHT, 1), "ppo", "clip", [0.0] * 8)
    outcome = compare_entries(base, with_signal(made([8, 9], 2), "ppo", "clip", [0.1, 0.1]))
    assert found(outcome, "ppo", "training.clip.mean").verdict == "inconclusive"
    assert outcome.exit_code == Exit.OK


def test_an_amount_that_was_zero_is_guarded() -> None:
    base = made(EIGHT, 1, steps=0)
    name = "spent.optimizer_steps"
    assert found(compare_entries(base, made([8, 9], 2, steps=9)), "ppo", name).word == "changed"
    near = compare_entries(base, made([8, 9], 2, steps=1))
    assert found(near, "ppo", name).verdict == "inconclusive"
    zero = compare_entries(base, made([8, 9], 2, steps=0))
    assert name not in {finding.name for finding in zero.findings}


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
    assert outcome.untested == [f"{row}: nothing could be tested: too few seeds" for row in BOTH]


def test_each_method_must_have_been_tested() -> None:
    run = made([8, 9], 2)
    assert run.observations is not None
    assert run.training is not None
    seen = run.observations.rows
    means = {"reward_gold": [5.0]}
    prompts = {"reward_gold": seen["dpo"].prompts["reward_gold"][:1]}
    one = Seen(seeds=[8], means=means, prompts=prompts)
    observed = run.observations.model_copy(update={"rows": {**seen, "dpo": one}})
    lonely = run.model_copy(update={"observations": observed, "training": without(run, "dpo")})
    base = made([0], 1)
    outcome = compare_entries(base, lonely, deciding=())
    assert "dpo: nothing could be tested: too few seeds" in outcome.untested
    assert "ppo: nothing could be tested: too few seeds" not in outcome.untested
    assert outcome.exit_code == Exit.INCONCLUSIVE


def without(entry: Entry, row: str) -> dict[str, Trained]:
    assert entry.training is not None
    return {name: trained for name, trained in entry.training.items() if name != row}


def retold(entry: Entry, **changes: object) -> Entry:
    """The entry with fields of PPO's training changed."""
    assert entry.training is not None
    trained = entry.training["ppo"].model_copy(update=changes)
    return entry.model_copy(update={"training": {**entry.training, "ppo": trained}})


def lost(entry: Entry, name: str, *seeds: int) -> Entry:
    """The entry in which these seeds of PPO did not log a quantity."""
    assert entry.training is not None
    quantities = entry.training["ppo"].quantities
    gone = {
        key: [None if at in seeds else value for at, value in enumerate(values)]
        for key, values in quantities[name]
    }
    return retold(entry, quantities={**quantities, name: Signal(**gone)})


def test_signals_that_were_not_compared_are_no_pass() -> None:
    base, run = made(EIGHT, 1), made([8, 9], 2)
    none = "ppo: the run has no training signals"
    assert run.training is not None
    kept = {k: v for k, v in run.training["ppo"].quantities.items() if k != "kl"}
    cases = {
        "no training": (run.model_copy(update={"training": None}), none),
        "empty training": (run.model_copy(update={"training": {}}), none),
        "one method's": (run.model_copy(update={"training": without(run, "ppo")}), none),
        "no quantities": (retold(run, quantities={}), none),
        "a quantity": (
            retold(run, quantities=kept),
            "ppo: training.kl is missing in 2 of the run's 2 seeds",
        ),
        "a quantity of nan": (
            lost(run, "kl", 1),
            "ppo: training.kl is missing in 1 of the run's 2 seeds",
        ),
        "a currency": (
            retold(run, spent={}),
            "ppo: spent.optimizer_steps is missing in 2 of the run's 2 seeds",
        ),
    }
    for name, (changed_run, told) in cases.items():
        outcome = compare_entries(base, changed_run, deciding=())
        assert outcome.untested[0] == told, name
        assert len(outcome.untested) == len(set(outcome.untested))
        assert outcome.exit_code == Exit.INCONCLUSIVE, name
    assert compare_entries(base, run, deciding=()).exit_code == Exit.OK


def test_what_short_trainings_never_log_may_be_missing() -> None:
    base = lost(lost(made(EIGHT, 1), "kl", 3), "entropy", 3)
    run = made([8, 9], 2)
    # Neither was logged: too short. One of the two was: the other became nan.
    short = lost(lost(run, "kl", 0), "entropy", 0)
    assert compare_entries(base, short).untested == []
    assert compare_entries(base, lost(run, "kl", 0)).untested == [
        "ppo: training.kl is missing in 1 of the run's 2 seeds"
    ]


def test_one_training_may_end_before_it_logs_a_step() -> None:
    def stepped(entry: Entry, n: int) -> Entry:
        for name in ("grad_norm", "learning_rate"):
            entry = with_signal(entry, "ppo", name, np.linspace(1, 1.1, n).tolist())
        return entry

    base, run = stepped(made(EIGHT, 1), 8), stepped(made([8, 9], 2), 2)
    short = lost(lost(run, "grad_norm", 0), "learning_rate", 0)
    assert compare_entries(base, short).untested == []
    # It logged the step, so the norm was nan; and where no training logs any, nothing guards it.
    assert len(compare_entries(base, lost(run, "grad_norm", 0)).untested) == 1
    none = lost(lost(run, "grad_norm", 0, 1), "learning_rate", 0, 1)
    assert len(compare_entries(base, none).untested) == 2


def test_a_deciding_metric_must_have_been_compared() -> None:
    base, run = made(EIGHT, 1), made([8, 9], 2)
    assert compare_entries(base, run).exit_code == Exit.OK  # one of the defaults is there
    outcome = compare_entries(base, run, deciding=["honest"])
    assert outcome.untested == [f"{row}: honest was not compared" for row in BOTH]
    assert outcome.exit_code == Exit.INCONCLUSIVE
    lengths = [cell.model_copy(update={"metric": "length"}) for cell in base.rows]
    outcome = compare_entries(base.model_copy(update={"rows": lengths}), run)
    assert "ppo: reward_gold was not compared" in outcome.untested
    assert "ppo: win_rate_vs_sft was not compared" in outcome.untested
    with pytest.raises(UserError, match=r'no metric "rewrd_gold" \(did you mean "reward_gold"'):
        compare_entries(base, run, deciding=["rewrd_gold"])


def cut(entry: Entry, row: str, prompts: int, seeds: int = 1) -> Entry:
    """The entry in which `seeds` of a row have no gold reward of its best `prompts`."""
    assert entry.observations is not None
    seen = entry.observations.rows[row]
    cells = np.array(seen.prompts["reward_gold"])
    best = np.argsort(cells[0])[-prompts:]
    cells[:seeds, best] = np.nan
    means = {"reward_gold": np.nanmean(cells, axis=1).tolist()}
    values = [[None if np.isnan(v) else v for v in line] for line in cells.tolist()]
    less = seen.model_copy(update={"means": means, "prompts": {"reward_gold": values}})
    rows = {**entry.observations.rows, row: less}
    observed = entry.observations.model_copy(update={"rows": rows})
    return entry.model_copy(update={"observations": observed})


def test_prompts_that_one_side_lacks_are_no_difference() -> None:
    base, run = made(EIGHT, 1), made([8, 9], 2)
    for theirs, mine in ((base, cut(run, "ppo", 4, seeds=2)), (cut(base, "ppo", 4), run)):
        outcome = compare_entries(theirs, mine)
        finding = found(outcome, "ppo", "reward_gold")
        assert finding.verdict == "same"
        assert finding.difference == pytest.approx(0, abs=0.15)
        assert "ppo: reward_gold leaves out 4 prompts that not all seeds of both know" in (
            outcome.notes
        )
    outcome = compare_entries(base, cut(run, "ppo", 11))
    assert found(outcome, "ppo", "reward_gold").verdict == "inconclusive"
    assert outcome.exit_code == Exit.INCONCLUSIVE


def of_sft(metric: str, value: float, half: float | None) -> Entry:
    """An entry whose SFT has a metric that is not published prompt by prompt."""
    entry = made(EIGHT, 1)
    assert entry.observations is not None
    low, high = (None, None) if half is None else (value - half, value + half)
    cell = Cell(
        model="sft", metric=metric, value=value, low=low, high=high, n_seeds=1, n_prompts=40
    )
    sft = Seen(seeds=[0], means={metric: [value]}, prompts={})
    observed = entry.observations.model_copy(
        update={"rows": {**entry.observations.rows, "sft": sft}}
    )
    return entry.model_copy(update={"rows": [*entry.rows, cell], "observations": observed})


def test_scores_of_sft_without_prompts_can_be_worse() -> None:
    base = of_sft("helpful", 7.0, 0.2)
    far = found(compare_entries(base, of_sft("helpful", 4.0, 0.2)), "sft", "helpful")
    assert far.verdict == "worse"
    near = found(compare_entries(base, of_sft("helpful", 6.5, 0.2)), "sft", "helpful")
    assert near.verdict == "inconclusive"
    outcome = compare_entries(base, of_sft("helpful", 4.0, None))
    assert found(outcome, "sft", "helpful").verdict == "inconclusive"
    assert "without an interval in the tables, and so not tested: sft helpful" in outcome.notes
    exact = compare_entries(of_sft("perplexity", 30.0, 3.0), of_sft("perplexity", 32.0, 3.0))
    assert found(exact, "sft", "perplexity").verdict == "worse"


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
    assert outcome.missing == ["dpo"]
    assert outcome.exit_code == Exit.INCONCLUSIVE
    assert "row dpo is new" in compare_entries(smaller, base).notes


def test_a_score_that_was_lost_is_not_taken_for_good() -> None:
    run = made([8, 9], 2)
    gone = [cell.model_copy(update={"value": None}) for cell in run.rows]
    outcome = compare_entries(made(EIGHT, 1), run.model_copy(update={"rows": gone}))
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
