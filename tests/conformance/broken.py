"""One sound method with a loop of its own, and copies of it that break one clause each."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor
from transformers import GPT2LMHeadModel

from alignbench.errors import UserError
from alignbench.metering import engine
from alignbench.metering.meter import BudgetExhausted, Meter
from alignbench.methods.base import Inputs, Method, Need, Policy
from alignbench.methods.onpolicy import Positive, Rate
from alignbench.models.decode import Completion, Decoding, sample
from alignbench.models.logprobs import padded_logprobs
from alignbench.models.padding import left_pad, right_pad
from alignbench.models.reward import Calibration
from alignbench.models.text import decode_response, encode_prompt

Ids = Sequence[Sequence[int]]


class Sound(Method):
    """sound: REINFORCE with a KL penalty in a loop of a few lines."""

    name: ClassVar[str] = "sound"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROMPTS, Need.REWARD})
    example: ClassVar[Mapping[str, Any]] = {"learning_rate": 1e-3}

    learning_rate: Rate
    rounds: Positive = 30

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        prompts = list(inputs.prompts)
        if not prompts:
            raise UserError("sound: no prompts")
        rng = random.Random(inputs.seed)
        self.begin(policy, inputs)
        frozen = self.reference(policy, inputs)
        optimizer = torch.optim.AdamW(policy.model.parameters(), lr=self.learning_rate)
        for round_ in range(self.rounds):
            asked = [encode_prompt(policy.tokenizer, p) for p in rng.sample(prompts, 4)] * 2
            seed = 1000 * inputs.seed + round_
            drawn = self.sample(policy, asked, inputs.max_response_tokens, seed)
            rewards = torch.tensor(self.score(policy, inputs, asked, drawn))
            ids, mask, keep = self.batch(asked, [done.ids for done in drawn])
            logprobs = self.logprobs(policy, ids, mask, keep)
            reference = self.reference_logprobs(frozen, ids, mask, keep)
            used = mask[:, -keep:]
            ratio = ((logprobs - reference) * used).sum(1).detach()
            advantage = rewards - rewards.mean() - 0.1 * ratio
            optimizer.zero_grad()
            (-(advantage * (logprobs * used).sum(1)).mean()).backward()
            self.step(optimizer, policy)
            self.after_round(policy, inputs)
            inputs.log(round_ + 1, reward_raw=float(rewards.mean()))
            if self.is_over(meter):
                break
        else:
            self.say_why(meter)
        self.end(policy)

    def is_over(self, meter: Meter) -> bool:
        return meter.exhausted() is not None

    def say_why(self, meter: Meter) -> None:
        meter.finished_early(f"all {self.rounds} rounds done")

    def begin(self, policy: Policy, inputs: Inputs) -> None: ...

    def end(self, policy: Policy) -> None: ...

    def after_round(self, policy: Policy, inputs: Inputs) -> None: ...

    def reference(self, policy: Policy, inputs: Inputs) -> Any:
        return inputs.reference()

    def sample(self, policy: Policy, asked: Ids, limit: int, seed: int) -> list[Completion]:
        return sample(policy.model, policy.tokenizer, asked, Decoding(limit, 1.0), seed, 8)

    def score(
        self, policy: Policy, inputs: Inputs, asked: Ids, drawn: Sequence[Completion]
    ) -> list[float]:
        assert inputs.reward is not None
        return inputs.reward.standardized(
            inputs.reward.score_ids(asked, [done.ids for done in drawn])
        )

    def batch(self, asked: Ids, answers: Ids) -> tuple[Tensor, Tensor, int]:
        """Prompts padded to the left, answers to the right."""
        device = torch.device("cpu")
        prompts, answered = left_pad(asked, device, 1), right_pad(answers, device, 1)
        ids, mask = (torch.cat(two, dim=1) for two in zip(prompts, answered, strict=True))
        return ids, mask, answered[0].shape[1]

    def logprobs(self, policy: Policy, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
        return padded_logprobs(policy.model, ids, mask, keep)[0]

    def reference_logprobs(self, frozen: Any, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
        with torch.no_grad():
            return padded_logprobs(frozen, ids, mask, keep)[0]

    def step(self, optimizer: torch.optim.Optimizer, policy: Policy) -> None:
        optimizer.step()


def other_weights(model: Any) -> Any:
    made = GPT2LMHeadModel(model.config)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
    return made.eval()


class OtherStart(Sound):
    """Begins at weights of its own."""

    def begin(self, policy: Policy, inputs: Inputs) -> None:
        policy.model.load_state_dict(other_weights(policy.model).state_dict())


class OtherReference(Sound):
    """Loads a reference that is not the start model."""

    def reference(self, policy: Policy, inputs: Inputs) -> Any:
        return other_weights(policy.model)


class OtherReferenceWithGradient(OtherReference):
    """Runs it with gradients enabled, too."""

    def reference_logprobs(self, frozen: Any, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
        return padded_logprobs(frozen, ids, mask, keep)[0].detach()


class OldPolicy(Sound):
    """Sound: compares with a copy of the policy that it refreshes after every round, as PPO's."""

    held: ClassVar[list[Any]] = []

    def reference(self, policy: Policy, inputs: Inputs) -> Any:
        self.held[:] = [copy.deepcopy(policy.model)]
        return self.held[0]

    def after_round(self, policy: Policy, inputs: Inputs) -> None:
        self.held[0].load_state_dict(policy.model.state_dict())


class TwoLearners(Sound):
    """Sound: trains a second language model beside the policy, from weights of its own."""

    def reference(self, policy: Policy, inputs: Inputs) -> Any:
        frozen, second = inputs.reference(), other_weights(policy.model)
        optimizer = torch.optim.AdamW(second.parameters(), lr=self.learning_rate)
        ids = torch.tensor([encode_prompt(policy.tokenizer, inputs.prompts[0])])
        second(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        return frozen


class DropoutOn(Sound):
    """Puts the checkpoint's dropout back and samples in training mode."""

    def sample(self, policy: Policy, asked: Ids, limit: int, seed: int) -> list[Completion]:
        layers = [m for m in policy.model.modules() if isinstance(m, torch.nn.Dropout)]
        torch.manual_seed(seed)
        policy.model.train()
        for layer in layers:
            layer.p = 0.1
        found = generated(policy, asked, limit)
        policy.model.eval()
        return found


class Generates(Sound):
    """Sound: samples with transformers' `generate`."""

    def sample(self, policy: Policy, asked: Ids, limit: int, seed: int) -> list[Completion]:
        torch.manual_seed(seed)
        return generated(policy, asked, limit)


def generated(policy: Policy, asked: Ids, limit: int) -> list[Completion]:
    ids, mask = left_pad(asked, torch.device("cpu"), 1)
    made = policy.model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=limit, do_sample=True, top_k=0,
        pad_token_id=1,
    )  # fmt: skip
    rows = [row[ids.shape[1] :] for row in made.tolist()]
    cut = [row[: row.index(0) + 1] if 0 in row else row for row in rows]
    return [Completion(row, row[-1] == 0) for row in cut]


class ColumnPositions(Sound):
    """Numbers the columns of left-padded rows, padding included."""

    def logprobs(self, policy: Policy, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
        columns = torch.arange(ids.shape[1]).expand_as(ids)
        logits = policy.model(input_ids=ids, attention_mask=mask, position_ids=columns).logits
        logprobs = logits[:, -keep - 1 : -1].log_softmax(-1)
        return logprobs.gather(-1, ids[:, -keep:, None]).squeeze(-1)


class NoMask(Sound):
    """Lets left-padded rows attend to their padding."""

    def logprobs(self, policy: Policy, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
        logits = policy.model(input_ids=ids).logits[:, -keep - 1 : -1]
        return logits.log_softmax(-1).gather(-1, ids[:, -keep:, None]).squeeze(-1)


class OffByOne(Sound):
    """Takes each token's log-probability from the logits after it."""

    def logprobs(self, policy: Policy, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
        places = (mask.cumsum(1) - 1).clamp(min=0)
        logits = policy.model(input_ids=ids, attention_mask=mask, position_ids=places).logits
        logprobs = logits[:, -keep:].log_softmax(-1)
        return logprobs.gather(-1, ids[:, -keep:, None]).squeeze(-1)


class LogitsFirst(Sound):
    """Sound: picks logits and takes off their log-sum-exp."""

    shift: ClassVar[int] = 1

    def logprobs(self, policy: Policy, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
        places = (mask.cumsum(1) - 1).clamp(min=0)
        logits = policy.model(input_ids=ids, attention_mask=mask, position_ids=places).logits
        used = logits[:, ids.shape[1] - keep - self.shift : ids.shape[1] - self.shift]
        picked = torch.take_along_dim(used, ids[:, -keep:, None], -1).squeeze(-1)
        return picked - used.logsumexp(-1)


class LogitsFirstOffByOne(LogitsFirst):
    """The same from the logits after each token."""

    shift: ClassVar[int] = 0


class CrossEntropy(Sound):
    """Sound: calls the log-probability a cross entropy per token."""

    def logprobs(self, policy: Policy, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
        places = (mask.cumsum(1) - 1).clamp(min=0)
        logits = policy.model(input_ids=ids, attention_mask=mask, position_ids=places).logits
        used = logits[:, -keep - 1 : -1].transpose(1, 2)
        return -torch.nn.functional.cross_entropy(used, ids[:, -keep:], reduction="none")


class WrongAxis(Sound):
    """Normalises over positions and not over the vocabulary."""

    def logprobs(self, policy: Policy, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
        places = (mask.cumsum(1) - 1).clamp(min=0)
        logits = policy.model(input_ids=ids, attention_mask=mask, position_ids=places).logits
        logprobs = logits[:, -keep - 1 : -1].log_softmax(1)
        return logprobs.gather(-1, ids[:, -keep:, None]).squeeze(-1)


class SampledCold(Sound):
    """Samples at temperature 0.3 and trains at 1."""

    def sample(self, policy: Policy, asked: Ids, limit: int, seed: int) -> list[Completion]:
        return sample(policy.model, policy.tokenizer, asked, Decoding(limit, 0.3), seed, 8)


class ColdThroughout(SampledCold):
    """Sound: samples and trains at temperature 0.3."""

    def logprobs(self, policy: Policy, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
        return padded_logprobs(policy.model, ids, mask, keep, temperature=0.3)[0]


class Shifted(Sound):
    """Scores every answer as one to the next prompt."""

    def score(
        self, policy: Policy, inputs: Inputs, asked: Ids, drawn: Sequence[Completion]
    ) -> list[float]:
        return super().score(policy, inputs, [*asked[1:], asked[0]], drawn)


class WithoutEos(Sound):
    """Scores answers without their EOS."""

    def score(
        self, policy: Policy, inputs: Inputs, asked: Ids, drawn: Sequence[Completion]
    ) -> list[float]:
        assert inputs.reward is not None
        answers = [done.ids[:-1] if done.finished else done.ids for done in drawn]
        return inputs.reward.standardized(inputs.reward.score_ids(asked, answers))


class ScoresText(Sound):
    """Scores decoded text, which gives every answer an EOS."""

    def score(
        self, policy: Policy, inputs: Inputs, asked: Ids, drawn: Sequence[Completion]
    ) -> list[float]:
        assert inputs.reward is not None
        words = policy.tokenizer
        prompts = [words.decode(ids[:-1]) for ids in asked]
        texts = [decode_response(words, done.ids) for done in drawn]
        return inputs.reward.standardized(inputs.reward.score(prompts, texts))


class LeftPaddedReward(Sound):
    """Runs the reward model on left-padded rows whose columns are numbered."""

    def score(
        self, policy: Policy, inputs: Inputs, asked: Ids, drawn: Sequence[Completion]
    ) -> list[float]:
        assert inputs.reward is not None
        rows = [[*p, *done.ids] for p, done in zip(asked, drawn, strict=True)]
        ids, mask = left_pad(rows, torch.device("cpu"), 1)
        columns = torch.arange(ids.shape[1]).expand_as(ids)
        with torch.no_grad():
            scores = inputs.reward.model(input_ids=ids, attention_mask=mask, position_ids=columns)
        return inputs.reward.standardized(scores.logits[:, 0].tolist())


class ByHand(Sound):
    """Updates the weights without an optimizer, for as long as it likes."""

    rounds: Positive = 12

    def step(self, optimizer: torch.optim.Optimizer, policy: Policy) -> None:
        with torch.no_grad():
            for weight in policy.model.parameters():
                weight -= self.learning_rate * weight.grad


class GoesOn(Sound):
    """Goes on computing when its budget has ended."""

    rounds: Positive = 12

    def is_over(self, meter: Meter) -> bool:
        return False

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        try:
            super().train(policy, inputs, meter)
        except BudgetExhausted:
            layer = policy.model.transformer.h[0].mlp
            for _ in range(100):  # three optimizer steps' worth
                with torch.no_grad():
                    layer(torch.ones(64, 32))


class NeverEnds(Sound):
    """Does not take the end of its budget for an answer."""

    def is_over(self, meter: Meter) -> bool:
        return False

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        if not inputs.prompts:
            raise UserError("sound: no prompts")
        while True:
            with contextlib.suppress(BudgetExhausted):
                super().train(policy, inputs, meter)


class IgnoresTime(GoesOn):
    """Listens to every limit but those on time."""

    def is_over(self, meter: Meter) -> bool:
        return meter.exhausted() not in (None, "wall_seconds", "device_seconds")


class SaysNothing(Sound):
    """Ends before its budget and gives no reason."""

    rounds: Positive = 3

    def say_why(self, meter: Meter) -> None: ...


class Unseeded(Sound):
    """Draws from the global random numbers as it finds them."""

    def after_round(self, policy: Policy, inputs: Inputs) -> None:
        with torch.no_grad():
            policy.model.transformer.wpe.weight.add_(1e-4 * torch.randn(1))


class IgnoresSeed(Sound):
    """Is always run with seed 0."""

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        super().train(policy, replace(inputs, seed=0), meter)


class Functional(Sound):
    """Multiplies by the model's weights without calling its layers."""

    def after_round(self, policy: Policy, inputs: Inputs) -> None:
        weight = policy.model.transformer.h[0].mlp.c_fc.weight
        for _ in range(20):
            torch.ones(64, weight.shape[0]) @ weight.detach()


class Pauses(Sound):
    """Finds the harness's meter, and pauses it while it samples."""

    def sample(self, policy: Policy, asked: Ids, limit: int, seed: int) -> list[Completion]:
        with engine._active[-1].paused():
            return super().sample(policy, asked, limit, seed)


class WritesData(Sound):
    """Adds to the data it was given."""

    def begin(self, policy: Policy, inputs: Inputs) -> None:
        with (policy.folder.parents[1] / "data" / "sft.jsonl").open("a") as file:
            file.write('{"prompt": "w00", "response": "w01", "family": "words"}\n')


class WritesStart(Sound):
    """Saves over the start checkpoint."""

    def end(self, policy: Policy) -> None:
        policy.model.save_pretrained(policy.folder)


class Recalibrates(Sound):
    """Gives the reward model another calibration."""

    def end(self, policy: Policy) -> None: ...

    def begin(self, policy: Policy, inputs: Inputs) -> None:
        assert inputs.reward is not None
        inputs.reward.calibration = Calibration(1.0, [0.0, 1.0])


class TrainsReward(Sound):
    """Moves the reward model's weights."""

    def after_round(self, policy: Policy, inputs: Inputs) -> None:
        assert inputs.reward is not None
        with torch.no_grad():
            inputs.reward.model.score.weight.mul_(1.1)


class MovesReference(Sound):
    """Lets the reference follow the policy."""

    held: ClassVar[list[Any]] = []

    def reference(self, policy: Policy, inputs: Inputs) -> Any:
        self.held[:] = [inputs.reference()]
        return self.held[0]

    def after_round(self, policy: Policy, inputs: Inputs) -> None:
        self.held[0].load_state_dict(policy.model.state_dict())


class SavesRounded(Sound):
    """Rounds its weights for a snapshot, and goes on with the rounded ones."""

    def begin(self, policy: Policy, inputs: Inputs) -> None:
        model, save = policy.model, policy.model.save_pretrained

        def rounded(folder: str, **options: Any) -> None:
            if "snapshots" in Path(folder).parts:
                with torch.no_grad():
                    for weight in model.parameters():
                        weight.copy_(weight.bfloat16())
            save(folder, **options)

        model.save_pretrained = rounded


class TakesUp(Sound):
    """Takes up what a broken run left, as if it were its own."""

    left: ClassVar[list[Any]] = []

    def begin(self, policy: Policy, inputs: Inputs) -> None:
        if self.left:
            inputs.prompts[0]
            with torch.no_grad():
                policy.model.lm_head.weight.requires_grad_(True)
            object.__setattr__(self, "learning_rate", 0.5 * self.learning_rate)
        self.left[:] = ["half a run"]

    def end(self, policy: Policy) -> None:
        self.left.clear()


class LeavesFrozen(Sound):
    """Leaves a part of the policy frozen."""

    def end(self, policy: Policy) -> None:
        policy.model.transformer.wpe.weight.requires_grad_(False)


class NotFinite(Sound):
    """Ends in NaN."""

    def end(self, policy: Policy) -> None:
        with torch.no_grad():
            policy.model.transformer.wpe.weight[0, 0] = float("nan")


class Crashes(Sound):
    """Does not work at all."""

    def begin(self, policy: Policy, inputs: Inputs) -> None:
        raise KeyError("oh")


class Swallows(Sound):
    """Takes any error for the end of training."""

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        try:
            super().train(policy, inputs, meter)
        except Exception as error:
            meter.finished_early(str(error))


class AnyOption(Sound):
    """Accepts options that do not exist."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


class NoDataNoWords(Sound):
    """Has nothing to say when there is no data."""

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        inputs.prompts[0]
        super().train(policy, inputs, meter)


class Waits(Sound):
    """Waits for data that do not come."""

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        while not inputs.prompts:
            pass
        super().train(policy, inputs, meter)


class ListOrNumber(Sound):
    """Sound: has an option that is a number or a list of words."""

    layers: float | list[str] = 1.0


class LeavesFiles(Sound):
    """Writes into the current folder."""

    def end(self, policy: Policy) -> None:
        Path("my_model.bin").write_bytes(b"x")


BROKEN: tuple[tuple[type[Method], str, str], ...] = (
    (OtherStart, "start weights", "before its first optimizer step|before its first forward pass"),
    (OtherReference, "reference weights", "a reference model has other weights"),
    (OtherReferenceWithGradient, "reference weights", "a reference model has other weights"),
    (DropoutOn, "dropout off", "dropout is on in the policy without gradient"),
    (ColumnPositions, "logprobs agree", r"training, rows with left padding.*position_ids"),
    (NoMask, "logprobs agree", r"training, rows with left padding"),
    (OffByOne, "logprobs agree", "one position late"),
    (LogitsFirstOffByOne, "logprobs agree", "one position late"),
    (WrongAxis, "logprobs agree", "that are not their log-probabilities"),
    (SampledCold, "logprobs agree", "were sampled at temperature 0.3 and are weighed"),
    (WithoutEos, "rewards agree", "a finished response was scored without its EOS"),
    (ScoresText, "rewards agree", "cut at the limit was scored with an EOS|neither sampled nor"),
    (LeftPaddedReward, "rewards agree", "a response was scored .* and .* on its own"),
    (Shifted, "rewards agree", "of [0-9]+ responses were scored under another prompt"),
    (ByHand, "budget obeyed", "without an optimizer step that the meter sees"),
    (GoesOn, "budget obeyed", "after its end; a step takes"),
    (NeverEnds, "budget obeyed", "Runaway: (400 forward passes after|not done after)"),
    (IgnoresTime, "budget obeyed", "FLOPs after its time was up"),
    (SaysNothing, "budget obeyed", "ended before its budget without saying why"),
    (Unseeded, "same seed same weights", "two runs with one seed end in different weights"),
    (IgnoresSeed, "same seed same weights", "seeds 0 and 1 give the same weights"),
    (Functional, "all charged", r"FLOPs, .* were dispatched \(-"),
    (Pauses, "all charged", r"FLOPs, .* were dispatched \(-"),
    (WritesData, "inputs untouched", "changed: data/sft.jsonl"),
    (WritesStart, "inputs untouched", "changed: sft/model/"),
    (Recalibrates, "inputs untouched", "the calibration of inputs.reward"),
    (TrainsReward, "frozen models", "changed during training: the reward model"),
    (MovesReference, "frozen models", "changed during training: a reference"),
    (SavesRounded, "snapshots", "taking snapshots changes the result"),
    (TakesUp, "resume", "started again after a broken run, it ends in other weights"),
    (LeavesFrozen, "sound result", "left frozen: transformer.wpe.weight"),
    (NotFinite, "sound result", "not finite: transformer.wpe.weight"),
    (Crashes, "sound result", "the plain run fails: KeyError: 'oh'"),
    (Swallows, "clean failure", "an error at an optimizer step was swallowed"),
    (AnyOption, "clean failure", "option no_such_option=1 is accepted"),
    (NoDataNoWords, "clean failure", "without data: IndexError"),
    (LeavesFiles, "clean failure", "left outside inputs.scratch: the current folder: my_model.bin"),
)
"""(method, the check that must fail, and what it must say)."""
RIGHT: tuple[tuple[type[Method], str, str], ...] = (
    (Generates, "logprobs agree", r"^sampling within .*the method computes the same \([1-9]"),
    (LogitsFirst, "logprobs agree", r"the method computes the same \(([0-9]+) of \1 rows"),
    (CrossEntropy, "logprobs agree", r"the method computes the same \(([0-9]+) of \1 rows"),
    (
        ColdThroughout,
        "logprobs agree",
        r"the method computes the same \(([0-9]+) of \1 rows looked for\)$",
    ),
    (OldPolicy, "frozen models", "1 unchanged|2 unchanged"),
    (TwoLearners, "reference weights", "^weights: certified$"),
    (ListOrNumber, "clean failure", "bad options are named"),
)
"""(a method that must pass everything, a check where it is unusual, what that says)."""
