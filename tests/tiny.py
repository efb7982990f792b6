"""A world of sixteen words in which an answer is good when it holds the word "good"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from alignbench.engines.sampler import TransformersSampler
from alignbench.metering.budget import Budget
from alignbench.metering.data import Metered, MeteredLabeller
from alignbench.metering.meter import Meter
from alignbench.metering.watch import watch
from alignbench.methods.base import Inputs, Method, Need, Pair, Policy
from alignbench.models.decode import Completion, Decoding, sample
from alignbench.models.load import load_policy, save_model, weights_digest
from alignbench.models.reward import Calibration, RewardScorer
from alignbench.models.text import encode_prompt

WORDS = ["good", *(f"w{i}" for i in range(15))]
PROMPTS = ["w1", "w2 w3", "w4 w5 w6", "w7"]
GOOD = 3  # id of "good", after the special tokens
LIMIT = 6


def tokenizer() -> Any:
    vocab = {w: i for i, w in enumerate(["<eos>", "<pad>", ">", *WORDS])}
    inner = Tokenizer(WordLevel(vocab, unk_token="<pad>"))
    inner.pre_tokenizer = WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>")
    made.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %} >"
    return made


def config(**changes: Any) -> GPT2Config:
    settings: dict[str, Any] = {
        "vocab_size": 19, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
        "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1,
    }  # fmt: skip
    return GPT2Config(**{**settings, **changes})


def start_folder(tmp_path: Path, **changes: Any) -> Path:
    """A random policy whose positions matter (enlarged, so that wrong ones show)."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config(**changes))
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(10)
    folder = tmp_path / "start" / "model"
    save_model(model, tokenizer(), folder)
    return folder


def reward_folder(tmp_path: Path) -> Path:
    """A random reward model with its calibration: the critic's starting point."""
    torch.manual_seed(1)
    folder = tmp_path / "reward"
    save_model(GPT2ForSequenceClassification(config(num_labels=1)), tokenizer(), folder / "model")
    Calibration(1.0, [0.0, 1.0]).save(folder / "calibration.json")
    return folder


class WordReward(RewardScorer):
    """1 for a response that holds "good", else 0."""

    def score_ids(
        self, prompt_ids: Sequence[Sequence[int]], completion_ids: Sequence[Sequence[int]]
    ) -> list[float]:
        return [float(GOOD in ids) for ids in completion_ids]


class WordLabeller:
    name = "word labeller"

    def __init__(self, sign: float = 1.0) -> None:
        self.sign = sign

    def utilities(self, prompt: str, responses: Sequence[str]) -> list[float]:
        return [self.sign * ("good" in text.split()) for text in responses]


def policy(folder: Path) -> Policy:
    model, tok = load_policy(folder)
    return Policy(model, tok, folder, weights_digest(model))


def samples(subject: Policy, n: int = 256, seed: int = 99) -> list[Completion]:
    ids = [encode_prompt(subject.tokenizer, PROMPTS[i % len(PROMPTS)]) for i in range(n)]
    return sample(subject.model, subject.tokenizer, ids, Decoding(LIMIT, 1.0), seed, 64)


def good_share(subject: Policy) -> float:
    done = samples(subject)
    return sum(GOOD in completion.ids for completion in done) / len(done)


def pairs(sign: int = 1, n: int = 256) -> list[Pair]:
    """Random answers with "good" put into the chosen one (into the rejected one for sign -1)."""
    generator = torch.Generator().manual_seed(5)

    def words() -> list[str]:
        return [WORDS[i] for i in torch.randint(1, 16, (3,), generator=generator).tolist()]

    made = []
    for i in range(n):
        plain, better = words(), words()
        better[i % 3] = "good"
        chosen, rejected = (better, plain) if sign > 0 else (plain, better)
        made.append(Pair(PROMPTS[i % 4], " ".join(chosen), " ".join(rejected)))
    return made


def inputs(
    tmp_path: Path, subject: Policy, method: Method | type[Method], seed: int = 0, **changes: Any
) -> Inputs:
    """What the harness would offer, with the word reward in place of a learnt one."""
    reward = None
    if Need.REWARD in method.needs:
        folder = reward_folder(tmp_path)
        reward = WordReward.load(folder)
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    logs: list[dict[str, Any]] = []
    values: dict[str, Any] = {
        "pairs": pairs(),
        "prompts": PROMPTS * 8,
        "reward": reward,
        "labeller": WordLabeller(),
        "reference": lambda: load_policy(subject.folder)[0].requires_grad_(False),
        "scratch": scratch,
        "seed": seed,
        "max_prompt_tokens": 8,
        "max_response_tokens": LIMIT,
        "precision": "fp32",
        "sampler": TransformersSampler,
        "log": lambda step, **found: logs.append({"step": step, **found}),
        "progress": lambda done, total, **found: None,
        "note": lambda kind, message: None,
        "facts": {"logs": logs},
    }  # fmt: skip
    return Inputs(**{**values, **changes})


def train(
    tmp_path: Path,
    method: Method,
    seed: int = 0,
    budget: Budget | None = None,
    size: Mapping[str, Any] | None = None,
    **changes: Any,
) -> tuple[Policy, Inputs, Meter]:
    """Train from the tiny start model; returns the trained policy, its inputs and its meter.

    The meter watches, and prompts, pairs and labels are on its bill, as in the harness. `size`
    changes the model's config.
    """
    subject = policy(start_folder(tmp_path, **(size or {})))
    offered, meter = inputs(tmp_path, subject, method, seed, **changes), Meter(budget)
    metered = replace(
        offered,
        pairs=Metered(offered.pairs, meter, "human_labels"),
        prompts=Metered(offered.prompts, meter, "prompts"),
        labeller=MeteredLabeller(offered.labeller, meter),
    )
    with watch(meter, subject.model):
        method.train(subject, metered, meter)
    return subject, metered, meter
