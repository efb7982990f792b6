"""The loss of online DPO on the shared on-policy loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from alignbench.methods.online_dpo import OnlineDPO
from alignbench.training.advantages import Rollout
from alignbench.training.mixed import tempered_logprobs
from alignbench.training.onpolicy import OnPolicyTrainer


def best_and_worst(scores: Tensor, samples_per_prompt: int) -> tuple[Tensor, Tensor, Tensor]:
    """Row numbers of each prompt's best and worst response, and whether their scores differ.

    Args:
        scores: (P K,), the K of a prompt next to each other.

    Returns:
        (P,) int64, (P,) int64 (the first of equal ones each) and (P,) float32, 1 or 0.
    """
    groups = scores.view(-1, samples_per_prompt)
    first = torch.arange(len(groups), device=scores.device) * samples_per_prompt
    best, worst = groups.argmax(dim=1), groups.argmin(dim=1)
    differ = (groups.amax(dim=1) > groups.amin(dim=1)).float()
    return first + best, first + worst, differ


def dpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    chosen_reference: Tensor,
    rejected_reference: Tensor,
    differ: Tensor,
    beta: float,
) -> tuple[Tensor, Tensor]:
    """-log sigmoid(beta (log-ratio of chosen - log-ratio of rejected)), mean over all rows.

    Rafailov et al. 2023, arXiv:2305.18290, eq. 7. Rows without a pair count as a loss of 0, so
    that a micro-batch weighs the same however many it has.

    Args:
        chosen: (P,) log-probabilities of whole responses under the policy; the others likewise.
        differ: (P,) 1 for a pair, 0 for none.

    Returns:
        Scalar loss and (P,) margins beta (...), without gradient.
    """
    margin = beta * ((chosen - chosen_reference) - (rejected - rejected_reference))
    return -(logsigmoid(margin) * differ).mean(), margin.detach()


class OnlineDPOTrainer(OnPolicyTrainer):
    """Rows of the training batch are pairs, so no shuffle or split of TRL's parts one."""

    method: OnlineDPO

    def _training_batch(self, batch: dict[str, Any], rollout: Rollout) -> dict[str, Tensor]:
        """(P, ...) tensors: prompts, both responses, and what the reference gives them."""
        assert rollout.reference_logprobs is not None
        best, worst, differ = best_and_worst(rollout.scores, rollout.samples_per_prompt)
        reference = (rollout.reference_logprobs * rollout.mask).sum(dim=1)
        self._metrics["train"]["pairs_without_difference"].append(1 - differ.mean().item())
        return {
            "prompt_ids": batch["prompt_ids"][best],
            "prompt_mask": batch["prompt_mask"][best],
            "chosen_ids": batch["completion_ids"][best],
            "chosen_mask": rollout.mask[best],
            "chosen_reference": reference[best],
            "rejected_ids": batch["completion_ids"][worst],
            "rejected_mask": rollout.mask[worst],
            "rejected_reference": reference[worst],
            "differ": differ,
        }

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, **_: Any
    ) -> tuple[Tensor, Tensor, None]:
        """Nothing: TRL asks for the old policy's, and this loss compares with the reference."""
        none = torch.zeros(len(input_ids), logits_to_keep, device=input_ids.device)
        return none, none, None

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """The DPO loss of a micro-batch of pairs, its share of the accumulated mean."""
        prompts = torch.cat([inputs["prompt_ids"]] * 2)
        attention = torch.cat([inputs["prompt_mask"]] * 2)
        responses = torch.cat([inputs["chosen_ids"], inputs["rejected_ids"]])
        mask = torch.cat([inputs["chosen_mask"], inputs["rejected_mask"]])
        ids = torch.cat([prompts, responses], dim=1)
        attention = torch.cat([attention, mask], dim=1)
        heat = torch.full_like(ids[:, 0], self.method.temperature, dtype=torch.float64)
        with self.accelerator.autocast():
            logprobs, entropies = tempered_logprobs(model, ids, attention, mask.size(1), heat)
        chosen, rejected = (logprobs * mask).sum(dim=1).chunk(2)
        references = inputs["chosen_reference"], inputs["rejected_reference"]
        loss, margins = dpo_loss(chosen, rejected, *references, inputs["differ"], self.method.beta)
        self._record_loss(margins, inputs["differ"], (entropies * mask).sum() / mask.sum())
        share: Tensor = loss / self.current_gradient_accumulation_steps
        return share

    def _record_loss(self, margins: Tensor, differ: Tensor, entropy: Tensor) -> None:
        metrics = self._metrics["train"]
        metrics["entropy"].append(entropy.item())
        if differ.any():
            pairs = margins[differ.bool()]
            metrics["rewards/margins"].append(pairs.mean().item())
            metrics["rewards/accuracies"].append((pairs > 0).float().mean().item())
