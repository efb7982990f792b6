"""Who ranks collected answers: a rule, a reward model, or a judge that is a language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol

from alignbench.data.collect import Asked, Progress
from alignbench.errors import UserError, nearest, printable

if TYPE_CHECKING:
    from alignbench.judges.base import Judge
    from alignbench.models.reward import RewardScorer

Utilities = list[list[float | None]]
NAMES = ("sandbox", "reward:FOLDER", "judge:FILE.yaml", "none")


class Labeller(Protocol):
    """Rates answers; higher is better, and only the order within a prompt counts.

    Attributes:
        name: for people.
        identity: what decides what it says, JSON-able, for the record. No secrets.
    """

    name: str
    identity: Mapping[str, Any]

    def utilities(self, asked: Sequence[Asked], progress: Progress) -> Utilities:
        """A number for each answer to each prompt; None where it has none to give."""
        ...


class SandboxLabeller:
    """The sandbox's simulated AI labeller."""

    def __init__(self, seed: int) -> None:
        from alignbench.sandbox.annotators import AiLabeller

        self._labeller = AiLabeller(seed)
        self.name = self._labeller.name
        self.identity: Mapping[str, Any] = {"kind": "sandbox", "seed": seed}

    def utilities(self, asked: Sequence[Asked], progress: Progress) -> Utilities:
        """As the simulated labeller has them.

        Raises:
            UserError: a prompt is not one of the sandbox's.
        """
        found: Utilities = []
        for each in asked:
            found.append([*self._labeller.utilities(each.prompt, each.answers)])
            progress(len(found), len(asked))
        return found


class RewardLabeller:
    """A reward model: its raw scores."""

    def __init__(self, scorer: RewardScorer, identity: Mapping[str, Any]) -> None:
        self._scorer, self.identity = scorer, identity
        self.name = f"reward model {identity.get('name', '')}".strip()

    @classmethod
    def load(cls, folder: Path) -> RewardLabeller:
        """From a reward stage's output, or from what `alignbench export RUN reward/proxy` wrote.

        Raises:
            UserError: no reward model there.
        """
        from alignbench.models.load import load_reward, weights_digest
        from alignbench.models.reward import RewardScorer

        inside = folder / "model"
        place = inside if (inside / "config.json").is_file() else folder
        if not (place / "config.json").is_file():
            raise UserError(
                f"--labeller: {printable(str(folder))} has no config.json; name a folder that "
                "`alignbench export RUN reward/proxy FOLDER` wrote, or a reward stage's output"
            )
        model, tokenizer = load_reward(place)
        if model.config.num_labels != 1:
            raise UserError(
                f"--labeller: {printable(str(folder))} is no reward model: it has "
                f"{model.config.num_labels} outputs, not one"
            )
        weights = weights_digest(model)
        scorer = RewardScorer(model, tokenizer)
        return cls(scorer, {"kind": "reward", "name": folder.name, "weights": weights})

    def utilities(self, asked: Sequence[Asked], progress: Progress) -> Utilities:
        """Raw scores, prompt by prompt; None for an answer that is too long for the model."""
        from alignbench.models.text import encode_prompt, encode_response

        tokenizer = self._scorer.tokenizer
        config = self._scorer.model.config.get_text_config()
        room = getattr(config, "max_position_embeddings", None)
        found: Utilities = []
        for each in asked:
            prompt = encode_prompt(tokenizer, each.prompt)
            ids = [encode_response(tokenizer, answer) for answer in each.answers]
            fits = [room is None or len(prompt) + len(own) <= room for own in ids]
            kept = [own for own, fit in zip(ids, fits, strict=True) if fit]
            scores = iter(self._scorer.score_ids([prompt] * len(kept), kept))
            found.append([next(scores) if fit else None for fit in fits])
            progress(len(found), len(asked))
        return found


class JudgeLabeller:
    """A judge: the mean of its ratings by the rubrics. An answer that one lacks has none."""

    def __init__(self, judge: Judge) -> None:
        self._judge, self.name = judge, judge.name
        self.identity: Mapping[str, Any] = {
            "kind": "judge",
            "name": judge.name,
            "judge": judge.identity,
        }

    def utilities(self, asked: Sequence[Asked], progress: Progress) -> Utilities:
        """Mean ratings, 1-10."""
        from alignbench.judges.base import RUBRICS, Answer

        answers = [Answer(each.prompt, text) for each in asked for text in each.answers]
        total = len(RUBRICS) * len(answers)
        ratings = []
        for n, rubric in enumerate(RUBRICS):

            def told(done: int, _: int, before: int = n * len(answers)) -> None:
                progress(before + done, total)

            ratings.append([reply.value for reply in self._judge.rate(answers, rubric, told)])
        means = iter([_mean(values) for values in zip(*ratings, strict=True)])
        return [[next(means) for _ in each.answers] for each in asked]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def make(name: str, seed: int, note: Callable[[str, str], None]) -> Labeller:
    """The labeller that ``--labeller`` names.

    Raises:
        UserError: an unknown one, or it cannot be had.
    """
    what, _, rest = name.partition(":")
    if what == "sandbox" and not rest:
        return SandboxLabeller(seed)
    if what == "reward" and rest:
        return RewardLabeller.load(Path(rest).expanduser())
    if what == "judge" and rest:
        return JudgeLabeller(_judge(Path(rest).expanduser(), note))
    known = ", ".join(NAMES)
    near = nearest(what, [each.partition(":")[0] for each in NAMES])
    raise UserError(f'--labeller: "{printable(name)}" is not known{near}; one of: {known}')


def _judge(path: Path, note: Callable[[str, str], None]) -> Judge:
    """The judge whose section (as in a recipe, without the key `judge`) a file holds."""
    from pydantic import ValidationError

    from alignbench.judges.make import make_judge
    from alignbench.recipe.check import report
    from alignbench.recipe.document import Node, Problems, read_file
    from alignbench.recipe.schema import JudgeSection
    from alignbench.recipe.section import Section
    from alignbench.run_folder import store_root

    class Asking(Section):
        judge: JudgeSection

    problems = Problems()
    node = Node({"judge": read_file(path, problems)}, str(path))
    section: Any = None
    try:
        section = Asking.model_validate(node.plain()).judge
        if section.kind == "none":
            problems.add(str(path), ("judge", "kind"), "nobody rates; write local or openai")
    except ValidationError as error:
        report(error, Asking, node, (), problems)
    problems.stop()
    return make_judge(section, store_root(Path("runs") / "judge") / "cache", note)
