from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from alignbench.errors import UserError
from alignbench.judges import local, questions, rubrics
from alignbench.judges.base import RUBRICS, Answer, Pair
from alignbench.judges.cache import VerdictCache
from alignbench.judges.labels import Labels, StepLogprobs
from alignbench.judges.local import LocalModelJudge
from alignbench.models.folder import find_model
from alignbench.recipe.schema import LocalJudge
from tests.judges.model import folder, tokenizer

ANSWERS = [Answer("How?", text) for text in ("Like this.", "No.", "Like this, or like that." * 9)]
PAIR = Pair("How?", "Like this.", "Like that.")


def section(model: Path, **changes: Any) -> LocalJudge:
    return LocalJudge.model_validate(
        {"kind": "local", "model": str(model), "engine": "transformers", "precision": "fp32"}
        | changes
    )


class Scripted:
    """Gives each step of the answers the probabilities of a script, by the token's text."""

    def __init__(self, made: Any, script: dict[str, dict[str, float]], other: float) -> None:
        self.made, self.script, self.other = made, script, other
        self.asked: list[Sequence[int]] = []

    def logprobs(
        self, questions: Sequence[Sequence[int]], labels: Labels
    ) -> Iterator[tuple[int, StepLogprobs]]:
        self.asked += questions
        for i in reversed(range(len(questions))):
            yield i, {prefix: self.step(prefix, t) for prefix, t in labels.steps.items()}

    def step(self, prefix: Sequence[int], tokens: Sequence[int]) -> list[float]:
        given = self.script.get(self.made.decode(list(prefix)), {})
        return [math.log(given.get(self.made.decode([t]), self.other)) for t in tokens]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return folder(tmp_path)


def scripted(
    monkeypatch: pytest.MonkeyPatch,
    model: Path,
    script: dict[str, dict[str, float]],
    other: float = 1e-9,
    **more: Any,
) -> tuple[LocalModelJudge, Scripted]:
    engine = Scripted(tokenizer(), script, other)
    monkeypatch.setattr(local, "_load", lambda *_: engine)
    return LocalModelJudge(section(model), **more), engine


def test_a_rating_is_the_mean_over_the_probabilities(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 1: 0.2 * 0.75, 10: 0.2 * 0.25, 5: 0.2; together 0.4. (0.15 + 0.5 + 1) / 0.4 = 4.125
    judge, _ = scripted(monkeypatch, model, {"": {"1": 0.2, "5": 0.2}, "1": {"0": 0.25}})
    for rubric in RUBRICS:
        reply = judge.rate(ANSWERS[:1], rubric)[0]
        assert reply.value == pytest.approx(4.125)
        assert reply.soft is None
        raw = json.loads(reply.raw)
        assert raw["mass"] == 0.4
        assert raw["p"] == {str(n): {1: 0.375, 5: 0.5, 10: 0.125}.get(n, 0.0) for n in range(1, 11)}
        assert reply.completion_tokens == 2


@pytest.mark.parametrize(
    ("a", "b", "value", "soft"), [(0.3, 0.1, 1, 1.25), (0.1, 0.3, 2, 1.75), (0.2, 0.2, 1.5, 1.5)]
)
def test_a_preference(
    model: Path, monkeypatch: pytest.MonkeyPatch, a: float, b: float, value: float, soft: float
) -> None:
    judge, _ = scripted(monkeypatch, model, {"": {"A": a, "B": b}})
    reply = judge.compare([PAIR])[0]
    assert reply.value == value
    assert reply.soft == pytest.approx(soft)


@pytest.mark.parametrize(("yes", "value", "soft"), [(0.3, 1.0, 0.75), (0.1, 0.0, 0.5)])
def test_a_refusal(
    model: Path, monkeypatch: pytest.MonkeyPatch, yes: float, value: float, soft: float
) -> None:
    # The tokenizer spells: y-e-s and n-o; what follows the first letter is certain.
    script = {"": {"y": yes, "n": 0.1}, "y": {"e": 1.0}, "ye": {"s": 1.0}, "n": {"o": 1.0}}
    judge, _ = scripted(monkeypatch, model, script)
    reply = judge.refusals(ANSWERS[:1])[0]
    assert reply.value == value
    assert reply.soft == pytest.approx(soft)


def test_replies_come_in_order_whatever_the_engine_does(model: Path) -> None:
    judge = LocalModelJudge(section(model, batch_size=2))
    together = judge.rate(ANSWERS, "helpful")
    alone = [judge.rate([answer], "helpful")[0] for answer in ANSWERS]
    assert [r.value for r in together] == pytest.approx([r.value for r in alone], abs=1e-4)
    assert [r.prompt_tokens for r in together] == [r.prompt_tokens for r in alone]
    assert len({r.value for r in together}) == 3
    assert all(1 <= (r.value or 0) <= 10 for r in together)
    assert judge.rate([], "helpful") == []


def test_progress_counts_up_to_all(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, _ = scripted(monkeypatch, model, {})
    seen: list[tuple[int, int]] = []
    judge.rate(ANSWERS, "honest", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_long_questions_are_not_asked(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, engine = scripted(monkeypatch, model, {})
    long = Answer("How?", "x" * 1200)
    over, within = judge.rate([long, ANSWERS[0]], "helpful")
    assert over.value is None
    assert over.problem == "not asked: longer than max_tokens (2048)"
    assert over.prompt_tokens == 0
    assert within.value is not None
    assert len(engine.asked) == 1
    judge = LocalModelJudge(section(model, max_tokens=9000))
    assert judge.rate([long], "helpful")[0].problem.endswith("the judge's 2048 positions")


def test_verdicts_are_cached_and_the_model_stays_unloaded(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = VerdictCache(tmp_path / "cache")
    judge, engine = scripted(monkeypatch, model, {}, cache=cache)
    first = judge.rate(ANSWERS, "helpful") + judge.compare([PAIR]) + judge.refusals(ANSWERS)
    assert not any(reply.cached for reply in first)
    assert len(engine.asked) == 7
    again, engine = scripted(monkeypatch, model, {}, cache=VerdictCache(tmp_path / "cache"))
    second = again.rate(ANSWERS, "helpful") + again.compare([PAIR]) + again.refusals(ANSWERS)
    assert all(reply.cached for reply in second)
    assert engine.asked == []
    assert [(r.value, r.soft, r.raw, r.prompt_tokens) for r in first] == [
        (r.value, r.soft, r.raw, r.prompt_tokens) for r in second
    ]
    # Another rubric, order or precision is another question.
    again.rate(ANSWERS, "honest")
    again.compare([PAIR.swapped()])
    assert len(engine.asked) == 4
    other = LocalModelJudge(section(model, precision="bf16"), cache)
    assert not other.compare([PAIR])[0].cached


def test_what_has_no_value_is_not_cached(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = VerdictCache(tmp_path / "cache")
    judge, _ = scripted(monkeypatch, model, {}, other=math.nan, cache=cache)
    reply = judge.compare([PAIR])[0]
    assert (reply.value, reply.problem) == (None, "its probabilities are no numbers")
    assert len(cache) == 0


def test_identity_and_name(model: Path) -> None:
    judge = LocalModelJudge(section(model))
    assert judge.name == "tiny-judge (local, transformers)"
    assert judge.deterministic
    assert not judge.simulated
    assert judge.identity == {
        "kind": "local",
        "model_sha256": find_model(str(model), "main").identity["model_sha256"],
        "precision": "fp32",
        "engine": "transformers",
        "max_tokens": 2048,
        "rubrics": rubrics.RUBRIC_VERSION,
        "questions": questions.QUESTIONS_VERSION,
    }
    json.dumps(judge.identity)


def test_the_identity_follows_the_files_and_not_their_place(model: Path) -> None:
    before = find_model(str(model), "main")
    moved = model.rename(model.with_name("elsewhere"))
    assert find_model(str(moved), "main").identity == before.identity
    template = moved / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert find_model(str(moved), "main").identity != before.identity


def test_a_judge_that_understands_nothing_says_so(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    judge, _ = scripted(monkeypatch, model, {}, note=lambda kind, text: said.append(kind + text))
    judge.rate(ANSWERS, "helpful")
    judge.rate(ANSWERS, "honest")
    assert len(said) == 1
    assert said[0].startswith("warning")
    assert "hardly understands" in said[0]


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing", "a/b/c"])
def test_no_such_folder(name: str) -> None:
    with pytest.raises(UserError, match="no folder"):
        find_model(name, "main")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model folder"):
        LocalModelJudge(section(tmp_path))


def test_hub_errors_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(UserError, match="name a local transformers folder"):
        find_model("someone/model", "main")


def test_a_hub_model_is_known_by_its_commit(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    snapshot = model.rename(tmp_path / ("0123456789" * 4))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(snapshot))
    found = find_model("someone/model", "main")
    assert found.name == "model"
    assert found.identity == {"model": "someone/model", "revision": snapshot.name}
    assert found.window == 2048
