"""A tiny world on disk, in which mistakes show: folders as the data, SFT and reward stages leave
them, for ten words and a model of thirty thousand parameters.

What makes mistakes show: prompts differ in length, so rows are padded; position embeddings are
large, so wrong positions give other probabilities; the saved configs ask for dropout, so a model
loaded carelessly has it; the reward model looks at the last token, so a missing EOS changes the
reward; about half of the sampled answers are cut at the limit, so some have no EOS.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from alignbench.data.dataset import Dataset, Row, numbered
from alignbench.models.load import init_reward, save_model, weights_digest
from alignbench.models.reward import Calibration, RewardScorer
from alignbench.training.common import write_json

WORDS = tuple(f"w{i:02}" for i in range(10))
MAX_PROMPT = 10
MAX_RESPONSE = 8
DROPOUT = 0.1
PAIRS = 24
PROMPTS = 24
_SIDES = ("chosen", "rejected")


@dataclass(frozen=True)
class World:
    """Where everything is.

    Attributes:
        root: holds all of it.
        data: as of the data stage.
        sft: as of the SFT stage: ``model/`` and ``metrics.json`` with the certified digest.
        reward: as of a reward stage.
    """

    root: Path

    @property
    def data(self) -> Path:
        """Folder of the data stage."""
        return self.root / "data"

    @property
    def sft(self) -> Path:
        """Folder of the SFT stage."""
        return self.root / "sft"

    @property
    def reward(self) -> Path:
        """Folder of the reward stage."""
        return self.root / "reward"

    def inputs(self) -> dict[str, Path]:
        """What the method stage is given."""
        return {"data": self.data, "sft": self.sft, "reward": self.reward}


def build(root: Path, seed: int = 0) -> World:
    """Make the world in `root` (created; takes about a quarter of a second)."""
    world = World(root)
    for folder in world.inputs().values():
        folder.mkdir(parents=True)
    _data(seed).write(world.data)
    _start_model(world, seed)
    _reward_model(world, seed)
    return world


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; its pad token is not EOS, and it pads to the right."""
    vocabulary = {word: i for i, word in enumerate(("<eos>", "<pad>", ">", *WORDS))}
    inner = Tokenizer(WordLevel(vocabulary, unk_token="<pad>"))
    inner.pre_tokenizer = WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>")
    made.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %} >"
    return made


def _data(seed: int) -> Dataset:
    rng = random.Random(seed)

    def text(longest: int) -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(1, longest)))

    taken: set[str] = set()

    def prompt() -> str:
        while (made := text(MAX_PROMPT - 4)) in taken:
            pass
        taken.add(made)
        return made

    def pairs(name: str, count: int) -> list[Row]:
        rows: list[Row] = []
        while len(rows) < count:
            chosen, rejected = text(MAX_RESPONSE - 2), text(MAX_RESPONSE - 2)
            if chosen == rejected:
                continue
            # Two pairs a prompt, as in the sandbox.
            asked = rows[-1]["prompt"] if len(rows) % 2 else prompt()
            votes = {"votes_chosen": 3, "votes_total": 3, "family": "words"}
            rows.append({"prompt": asked, "chosen": chosen, "rejected": rejected, **votes})
        return numbered(name, rows)

    def asked(count: int) -> list[Row]:
        return [{"prompt": prompt(), "family": "words"} for _ in range(count)]

    def answered(count: int) -> list[Row]:
        return [{**row, "response": text(MAX_RESPONSE - 2)} for row in asked(count)]

    rows = {
        "corpus": [{"text": text(20)} for _ in range(8)],
        "heldout": [{"text": text(20)} for _ in range(8)],
        "sft": answered(8),
        "sft_valid": answered(4),
        "train_prompts": numbered("train", asked(PROMPTS)),
        "pairs_proxy": pairs("proxy", PAIRS),
        "pairs_proxy_valid": pairs("proxy_valid", 12),
        "pairs_gold": pairs("gold", PAIRS),
        "pairs_gold_valid": pairs("gold_valid", 12),
        "valid_prompts": numbered("valid", asked(6)),
        "eval_prompts": numbered("eval", asked(6)),
    }
    return Dataset(rows, {"source": "conformance"})


def _start_model(world: World, seed: int) -> None:
    words = tokenizer()
    config = GPT2Config(
        vocab_size=len(words),
        n_positions=2 * (MAX_PROMPT + MAX_RESPONSE),
        n_embd=32,
        n_layer=2,
        n_head=2,
        resid_pdrop=DROPOUT,
        embd_pdrop=DROPOUT,
        attn_pdrop=DROPOUT,
        bos_token_id=words.eos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(10)
    save_model(model, words, world.sft / "model")
    write_json(world.sft / "metrics.json", {"weights_digest": weights_digest(model)})


def _reward_model(world: World, seed: int) -> None:
    model, words, _ = init_reward(world.sft / "model", seed)
    rows = [json.loads(line) for line in (world.data / "pairs_proxy_valid.jsonl").open()]
    prompts = [row["prompt"] for row in rows]
    scorer = RewardScorer(model, words)
    chosen, rejected = (scorer.score(prompts, [row[k] for row in rows]) for k in _SIDES)
    Calibration.fit(chosen, rejected).save(world.reward / "calibration.json")
    for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
        setattr(model.config, name, DROPOUT)
    save_model(model, words, world.reward / "model")
    figures: dict[str, Any] = {"train_pairs": PAIRS, "weights_digest": weights_digest(model)}
    write_json(world.reward / "metrics.json", figures)
