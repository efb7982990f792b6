"""The harness around a method: certified start, declared needs only, records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from alignbench.errors import UserError
from alignbench.files import write_jsonl
from alignbench.metering.meter import Meter
from alignbench.methods.base import Inputs, Method, Need, Policy
from alignbench.models.load import load_policy, weights_digest
from alignbench.stage import StageContext
from alignbench.stages import method as stage
from tests import tiny

SEEN: dict[str, Any] = {}


class Spy(Method):
    """Spy: looks at what it is given and shifts one weight."""

    name: ClassVar[str] = "spy"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROMPTS})

    shift: float = 0.0

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        SEEN.update(policy=policy, inputs=inputs, reference=inputs.reference())
        (inputs.scratch / "junk.bin").write_bytes(b"x")
        with torch.no_grad():
            policy.model.transformer.wpe.weight.add_(self.shift)
        meter.charge(prompts=3)
        inputs.facts["seed"] = "forged"
        inputs.log(1, reward=0.5)
        inputs.facts["found"] = "gold"


class PairSpy(Spy):
    """PairSpy: needs pairs and a labeller."""

    name: ClassVar[str] = "pair_spy"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PAIRS, Need.LABELLER, Need.REWARD})


class Stepper(Method):
    """Stepper: its own loop of AdamW steps, that never looks at the meter unless polite."""

    name: ClassVar[str] = "stepper"
    needs: ClassVar[frozenset[Need]] = frozenset()

    steps: int = 10
    polite: bool = False
    reason: str | None = None

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        ids = torch.tensor([[3, 4, 5, 6]])
        optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-3)
        for _ in range(self.steps):
            policy.model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if self.polite and meter.exhausted():
                return
        if self.reason:
            meter.finished_early(self.reason)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    sft = tiny.start_folder(tmp_path).parent
    digest = weights_digest(load_policy(sft / "model")[0])
    (sft / "metrics.json").write_text(json.dumps({"weights_digest": digest}))
    data = tmp_path / "data"
    data.mkdir()
    long = " ".join(["w1"] * 30)
    write_jsonl(data / "train_prompts.jsonl", [{"prompt": p} for p in ("w1", "w2 w3", long)])
    rows = [
        {
            "id": f"proxy-{p}",
            "prompt": p,
            "chosen": "good",
            "rejected": "w5",
            "votes_chosen": 3,
            "votes_total": 3,
        }
        for p in ("w4", long)
    ]
    write_jsonl(data / "pairs_proxy.jsonl", rows)
    reward = tiny.reward_folder(tmp_path)
    (reward / "metrics.json").write_text(json.dumps({"train_pairs": 40}))
    return {"sft": sft, "data": data, "reward": reward}


def run(
    folders: dict[str, Path],
    tmp_path: Path,
    cls: str = "Spy",
    labeller: Any = None,
    budget: Any = None,
    snapshots: Any = (),
    **options: Any,
) -> tuple[Path, list[str]]:
    out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
    out.mkdir()
    notes: list[str] = []
    config = {
        "row": "spy_row",
        "options": {"uses": f"tests.stages.test_method:{cls}", **options},
        "seed": 7,
        "max_prompt_tokens": 8,
        "max_response_tokens": 6,
        "precision": "fp32",
        "labeller": labeller,
        "budget": budget,
        "snapshots": list(snapshots),
    }
    context = StageContext(
        out, config, folders, lambda *_, **__: None, lambda kind, text: notes.append(text)
    )
    stage.run(context)
    return out, notes


def test_records_and_saves(folders: dict[str, Path], tmp_path: Path) -> None:
    out, _ = run(folders, tmp_path, shift=0.25)
    start = load_policy(folders["sft"] / "model")[0]
    trained = load_policy(out / "model")[0]
    moved = trained.transformer.wpe.weight - start.transformer.wpe.weight
    assert torch.allclose(moved, torch.full_like(moved, 0.25), atol=1e-6)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["start_digest"] == weights_digest(start)
    assert metrics["weights_digest"] == weights_digest(trained) != metrics["start_digest"]
    assert metrics["consumed"]["prompts"] == 3
    assert metrics["consumed"]["human_labels"] == 0  # the reward model's are end-to-end cost
    assert (metrics["row"], metrics["method"], metrics["seed"]) == ("spy_row", "spy", 7)
    assert metrics["found"] == "gold"
    assert json.loads((out / "log.jsonl").read_text()) == {"step": 1, "reward": 0.5}
    assert sorted(path.name for path in out.iterdir()) == [
        "cost.json",
        "log.jsonl",
        "metrics.json",
        "model",
    ]


def test_equal_runs_make_equal_files_but_for_times(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    outs = [run(folders, tmp_path, shift=0.25)[0] for _ in range(2)]
    for name in ("metrics.json", "log.jsonl", "model/model.safetensors", "model/config.json"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()


def test_too_long_prompts_are_left_out_and_counted(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    _, notes = run(folders, tmp_path)
    assert list(SEEN["inputs"].prompts) == ["w1", "w2 w3"]
    assert notes == ["1 prompts too long, left out"]


def test_a_method_gets_only_what_it_declares(folders: dict[str, Path], tmp_path: Path) -> None:
    run(folders, tmp_path)
    inputs = SEEN["inputs"]
    assert len(inputs.pairs) == 0
    assert inputs.reward is None
    assert inputs.labeller is None
    run(folders, tmp_path, cls="PairSpy", labeller="reward_model")
    inputs = SEEN["inputs"]
    assert len(inputs.prompts) == 0
    assert [pair.chosen for pair in inputs.pairs] == ["good"]
    assert inputs.reward is not None
    assert len(inputs.labeller.utilities("w1", ["good", "w2"])) == 2


def test_the_reference_is_frozen_and_is_the_start(folders: dict[str, Path], tmp_path: Path) -> None:
    run(folders, tmp_path, shift=0.5)
    reference = SEEN["reference"]
    assert weights_digest(reference) == SEEN["policy"].digest
    assert not any(p.requires_grad for p in reference.parameters())


def test_a_start_that_is_not_certified_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    (folders["sft"] / "metrics.json").write_text(json.dumps({"weights_digest": "0" * 64}))
    with pytest.raises(RuntimeError, match="not the certified one"):
        run(folders, tmp_path)


def test_no_labeller_is_a_user_error(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no AI labeller"):
        run(folders, tmp_path, cls="PairSpy", labeller="nobody")


def test_no_prompt_that_fits_is_a_user_error(folders: dict[str, Path], tmp_path: Path) -> None:
    write_jsonl(folders["data"] / "train_prompts.jsonl", [{"prompt": " ".join(["w1"] * 30)}])
    with pytest.raises(UserError, match="raise max_prompt_tokens"):
        run(folders, tmp_path)


def figures(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return found


def test_a_budget_ends_the_polite_and_the_deaf_at_the_same_weights(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    budget = {"optimizer_steps": 4.0}
    polite, _ = run(folders, tmp_path, cls="Stepper", budget=budget, polite=True)
    deaf, _ = run(folders, tmp_path, cls="Stepper", budget=budget)
    assert figures(polite)["ended"] == {
        "by": "budget",
        "currency": "optimizer_steps",
        "reason": None,
    }
    assert figures(deaf)["ended"] == figures(polite)["ended"]
    assert figures(deaf)["consumed"]["optimizer_steps"] == 4
    assert figures(deaf)["weights_digest"] == figures(polite)["weights_digest"]
    # Not even a forward pass comes after the end.
    assert figures(deaf)["consumed"] == figures(polite)["consumed"]
    assert figures(deaf)["overshoot"] == {}


def test_a_work_budget_is_overshot_by_less_than_a_step(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    whole = figures(run(folders, tmp_path, cls="Stepper", steps=1)[0])["consumed"]
    assert whole["flops"] > 0
    assert whole["tokens_trained"] == 4
    limit = 2.5 * whole["flops"]
    found = figures(run(folders, tmp_path, cls="Stepper", budget={"flops": limit}, polite=True)[0])
    assert found["consumed"]["flops"] == 3 * whole["flops"]
    assert found["overshoot"] == {"flops": pytest.approx(0.5 * whole["flops"])}
    assert found["spent_fraction"] == pytest.approx(1.2)


def test_who_ends_early_says_why_or_is_warned_about(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    budget = {"optimizer_steps": 100.0}
    out, notes = run(folders, tmp_path, cls="Stepper", budget=budget, reason="tired")
    assert figures(out)["ended"] == {"by": "method", "currency": None, "reason": "tired"}
    assert not notes
    _, notes = run(folders, tmp_path, cls="Stepper", budget=budget)
    assert notes == ["ended at 10 % of its budget without saying why"]


def test_snapshots_are_kept_at_shares_and_change_nothing(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    budget = {"optimizer_steps": 10.0}
    out, _ = run(folders, tmp_path, cls="Stepper", budget=budget, snapshots=(0.25, 0.5, 1.0))
    plain, _ = run(folders, tmp_path, cls="Stepper", budget=budget)
    assert figures(out)["weights_digest"] == figures(plain)["weights_digest"]
    assert figures(out)["consumed"] == figures(plain)["consumed"]
    taken = figures(out)["snapshots"]
    assert [(s["asked"], s["step"], s["folder"]) for s in taken] == [
        (0.25, 3, "snapshots/25"),
        (0.5, 5, "snapshots/50"),
        (1.0, 10, "."),
    ]
    fifth, _ = run(folders, tmp_path, cls="Stepper", steps=5)
    kept = load_policy(out / "snapshots/50/model")[0]
    assert weights_digest(kept) == figures(fifth)["weights_digest"]


def test_what_the_harness_saw_cannot_be_overwritten(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    assert figures(run(folders, tmp_path)[0])["seed"] == 7
