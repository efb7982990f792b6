"""Training with an on-policy method: the trainer's settings, its critic, its callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, set_seed
from trl import GRPOConfig

from alignbench.errors import UserError
from alignbench.methods.base import Inputs, Policy
from alignbench.models.load import weights_digest
from alignbench.training.common import (
    UNLIMITED_STEPS,
    BudgetCallback,
    LogCallback,
    attach,
    trainer_arguments,
)
from alignbench.training.critic import Critic, CriticTraining
from alignbench.training.onpolicy import OnPolicyTrainer

if TYPE_CHECKING:
    from alignbench.metering.meter import Meter
    from alignbench.methods.onpolicy import Online


class _CriticCallback(TrainerCallback):  # type: ignore[misc]
    """Steps the critic before the policy, after whose step the budget may be spent."""

    def __init__(self, trainer: OnPolicyTrainer) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer.critic is not None:
            rate = self.trainer.lr_scheduler.get_last_lr()[0]
            self.trainer.critic.step(rate / args.learning_rate)


def _arguments(method: Online, inputs: Inputs) -> GRPOConfig:
    """GRPOConfig in which every field that TRL would default to something else is set."""
    batch = method.prompts_per_rollout * method.samples_per_prompt
    pieces = method.minibatches * method.gradient_accumulation
    per_rollout = method.minibatches * method.epochs
    return GRPOConfig(
        **trainer_arguments(
            inputs.scratch,
            inputs.precision,
            inputs.seed,
            inputs.training.gradient_checkpointing,
        ),
        **{**method.loss_settings(), "beta": 0.0},  # see `OnPolicyTrainer.__init__`
        per_device_train_batch_size=batch // pieces,
        gradient_accumulation_steps=method.gradient_accumulation,
        steps_per_generation=pieces,
        num_iterations=method.epochs,
        num_generations=method.samples_per_prompt,
        max_steps=method.rollouts * per_rollout if method.rollouts else UNLIMITED_STEPS,
        learning_rate=method.learning_rate,
        max_grad_norm=method.max_grad_norm,
        weight_decay=0.0,
        temperature=method.temperature,
        max_completion_length=inputs.max_response_tokens,
        scale_rewards="none",  # the advantages are ours
        disable_dropout=True,
        shuffle_dataset=True,
        logging_steps=1,
    )


def train_on_policy(
    method: Online,
    policy: Policy,
    inputs: Inputs,
    meter: Meter,
    trainer_class: type[OnPolicyTrainer] = OnPolicyTrainer,
) -> None:
    """Train `policy.model` in place with the on-policy method.

    Raises:
        UserError: fewer prompts than a rollout takes.
        RuntimeError: the reference is not the start model, or sampling and training disagree.
    """
    from alignbench.methods.ppo import PPO

    if len(inputs.prompts) < method.prompts_per_rollout:
        raise UserError(
            f"{method.name}: a rollout takes {method.prompts_per_rollout} different prompts, and "
            f"there are {len(inputs.prompts)}; lower prompts_per_rollout, or raise the budget's "
            "prompts"
        )
    args = _arguments(method, inputs)
    trainer = trainer_class(method, policy, inputs, meter, args)
    held = None if trainer.reference is None else weights_digest(trainer.reference)
    if held not in (None, policy.digest):
        raise RuntimeError("the reference model is not the start model (digests differ)")
    inputs.facts["reference_digest"] = held
    if isinstance(method, PPO):
        assert inputs.reward is not None
        critic = Critic(inputs.reward, inputs.training, inputs.seed)
        critic.to(trainer.accelerator.device)
        rate = method.critic_learning_rate or method.learning_rate
        trainer.critic = CriticTraining(
            critic, rate, method.max_grad_norm, method.value_clip, trainer.accelerator.autocast
        )
    attach(
        trainer,
        _CriticCallback(trainer),
        BudgetCallback(meter),
        LogCallback(inputs.log, inputs.progress, meter),
    )
    set_seed(inputs.seed)
    trainer.train()
    inputs.facts["rollout_logprob_error"] = trainer.logprob_error
    if meter.exhausted() is None:
        meter.finished_early(f"all rollouts done (rollouts: {method.rollouts})")
