"""The contract of a method: its class is its options, the harness owns everything else.

The harness loads the start model, checks its digest, offers the data, the reward model, the
labeller and a frozen reference, seeds, logs and saves. A method turns the policy into a better one
by whatever means; what it consumes is counted by the meter, wherever it happens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from pydantic import BaseModel, ConfigDict

from alignbench.recipe.schema import Training

if TYPE_CHECKING:
    from alignbench.engines.sampler import Samplers
    from alignbench.metering.forecast import Forecast, Workload
    from alignbench.metering.meter import Meter
    from alignbench.models.reward import RewardScorer


class Need(Enum):
    """What a method must be given beside the start model."""

    PAIRS = "human preference pairs"
    PROMPTS = "training prompts"
    REWARD = "a reward model"
    LABELLER = "an AI labeller"
    REFERENCE = "the start model's log-probabilities of the human pairs"


@dataclass(frozen=True)
class Pair:
    """A labelled preference: `chosen` was preferred to `rejected` as an answer to `prompt`.

    `reference` has the log-probabilities of the chosen and of the rejected response under the start
    model (nats, summed over tokens, EOS included), where they were computed beforehand.
    """

    prompt: str
    chosen: str
    rejected: str
    reference: tuple[float, float] | None = None


class Labeller(Protocol):
    """Something that rates responses to a prompt, higher is better (an AI labeller)."""

    name: str

    def utilities(self, prompt: str, responses: Sequence[str]) -> list[float]:
        """One utility per response, comparable within the prompt only."""
        ...


@dataclass(frozen=True)
class Policy:
    """The model to train, in memory, and the folder of the certified checkpoint it came from.

    TRL reloads reference models from `folder` (`config._name_or_path`), so the two must agree: the
    harness checks `digest` (`models.load.weights_digest`) before the method starts.
    """

    model: Any
    tokenizer: Any
    folder: Path
    digest: str


@dataclass(frozen=True)
class Inputs:
    """What the harness offers to a method.

    Attributes:
        pairs: human-labelled training pairs (empty unless needed). Reading one puts its human
            label on the bill, once.
        prompts: training prompts (empty unless needed). Reading one puts it on the bill, once.
        reward: the proxy reward model, None unless needed.
        labeller: the AI labeller, None unless needed. Every response it rates is on the bill;
            beyond the budget's `ai_labels` it raises `BudgetExhausted` (ask `meter.remaining`).
        reference: gives the frozen start model (digest verified): a fresh copy of it, or with LoRA
            the policy without its adapter.
        scratch: a folder for the method's own temporary files.
        seed: of this training run; all randomness must derive from it.
        max_prompt_tokens: longer prompts have been filtered out.
        max_response_tokens: limit of rollouts and of training responses, EOS included.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        training: how models are held: LoRA, gradient checkpointing. The policy has its adapter
            already, and only that asks for gradients.
        sampler: ``sampler(model, tokenizer)`` samples by the run's engine, from the weights that
            the model has when it is called (`engines.sampler`).
        log: ``log(step, **values)`` appends a line to log.jsonl.
        progress: ``progress(done, total, **last_values)``.
        note: ``note(kind, message)`` as in `StageContext`.
    """

    pairs: Sequence[Pair]
    prompts: Sequence[str]
    reward: RewardScorer | None
    labeller: Labeller | None
    reference: Callable[[], Any]
    scratch: Path
    seed: int
    max_prompt_tokens: int
    max_response_tokens: int
    precision: str
    sampler: Samplers
    log: Callable[..., None]
    progress: Callable[..., None]
    note: Callable[[str, str], None]
    training: Training = field(default_factory=Training)
    facts: dict[str, Any] = field(default_factory=dict)
    """What the method wants recorded in its metrics.json, e.g. the reference's digest."""


class Method(BaseModel, ABC):
    """An alignment method. Subclass, declare options as fields, implement `train`.

    Class attributes:
        name: row name by default, ``[a-z0-9_]+``.
        needs: what `Inputs` must hold (`needs_of` where it depends on the options).
        code: modules whose source enters the stage key beside the class's own module.
        example: options with which it can be tried on a tiny model in seconds; what
            `alignbench methods test` uses.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    name: ClassVar[str]
    needs: ClassVar[frozenset[Need]]
    code: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        """Improve `policy.model` in place, within the budget of `meter`.

        A forward, a backward or an optimizer step is charged by itself. When the budget is spent,
        the next optimizer step raises `BudgetExhausted`: a method may let it pass through, or look
        at `meter.exhausted()` after each step and return. One that ends sooner says why with
        `meter.finished_early`.
        """

    def needs_of(self) -> frozenset[Need]:
        """`needs` with these options."""
        return self.needs

    def needs_budget(self) -> bool:
        """Whether only a budget ends the training with these options."""
        return False

    def with_half_batch(self) -> Self | None:
        """The same method with half the micro-batch, of the same effective batch and result.

        None where it cannot be halved, or where that would change the update; then it fails when
        memory does not suffice.
        """
        return None

    def forecast(self, work: Workload) -> Forecast | None:
        """What the training will consume, for the plan; None: not known beforehand."""
        return None

    def decoder(self) -> Mapping[str, Any] | None:
        """How answers are drawn from the trained model where that is not plain sampling.

        ``{"best_of": n}``: the best of n samples by the proxy reward model.
        """
        return None
