"""PPO's value function: a model of its own that starts as the reward model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from alignbench.models.load import HEAD, load_reward
from alignbench.models.lora import add_lora
from alignbench.models.reward import RewardScorer
from alignbench.recipe.schema import Training
from alignbench.training.advantages import clipped_value_loss
from alignbench.training.batching import by_length


class Critic(nn.Module):
    """V(s_t) for every response token: the reward model's head at every position.

    Initialising it from the reward model is what InstructGPT does (Ouyang et al. 2022, app. C.4).
    Values are in the unit of the policy's reward: the reward model's standardised scores.

    Args:
        scorer: the reward model the policy is trained on, loaded from a stage's folder.
        training: how the policy is held: the critic likewise, its head always trained in full.
        seed: of an adapter.
    """

    def __init__(
        self, scorer: RewardScorer, training: Training | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        if scorer.folder is None:
            raise ValueError("the critic is loaded from the reward model's folder")
        model, _ = load_reward(scorer.folder / "model")
        if training is not None and training.lora is not None:
            add_lora(model, training.lora, seed, trained_too=[HEAD])
        if training is not None and training.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.train()  # only then; there is no dropout that it would turn on
        self.backbone = cast(Any, model).base_model
        self.head = cast(Any, model).score
        zero, one = scorer.standardized([0.0, 1.0])
        self.offset, self.scale = zero, one - zero

    def forward(self, input_ids: Tensor, attention_mask: Tensor, keep: int) -> Tensor:
        """Values before each of the last `keep` tokens.

        Args:
            input_ids: (B, P + T), prompts padded to the left, responses to the right.
            attention_mask: (B, P + T).
            keep: T.

        Returns:
            (B, T) float32.
        """
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        with torch.autocast(hidden.device.type, enabled=False):  # bf16 would round the values
            raw = self.head(hidden[:, -keep - 1 : -1].float()).squeeze(-1)
        values: Tensor = self.offset + self.scale * raw
        return values


class CriticTraining:
    """The critic, its AdamW and its loss, beside the policy's.

    The Trainer zeroes and clips the gradients of its own model only, so the critic brings its own.

    Args:
        critic: on the device it is trained on.
        learning_rate: at a factor of 1 of the policy's schedule.
        max_grad_norm: of the critic's gradient alone.
        value_clip: half-width of the trust interval of `clipped_value_loss`.
        autocast: makes the context of a forward pass, in the policy's precision.
    """

    def __init__(
        self,
        critic: Critic,
        learning_rate: float,
        max_grad_norm: float,
        value_clip: float,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.autocast = autocast
        self.critic, self.learning_rate, self.max_grad_norm = critic, learning_rate, max_grad_norm
        self.value_clip = value_clip
        trained = [weight for weight in critic.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)

    def values(self, ids: Tensor, attention: Tensor, keep: int) -> Tensor:
        """(B, T) values, as `Critic` gives them."""
        with self.autocast():
            return by_length(lambda *batch: (self.critic(*batch),), ids, attention, keep)[0]

    def backward(self, inputs: dict[str, Any], pieces: int) -> float:
        """Back-propagate the value loss of a micro-batch, one of `pieces`; returns the loss."""
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        loss = clipped_value_loss(
            self.values(ids, attention, inputs["completion_ids"].size(1)),
            inputs["old_values"],
            inputs["returns"],
            inputs["completion_mask"],
            self.value_clip,
        )
        (loss / pieces).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def step(self, lr_factor: float) -> None:
        """Clip, step at `learning_rate` x `lr_factor` (the policy's schedule), zero."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * lr_factor
        torch.nn.utils.clip_grad_norm_(self.critic.parameters(), self.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
