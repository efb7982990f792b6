"""Stage folders of a made-up run, for the results and report tests: no model is involved."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from alignbench.stage import StageContext

FAMILIES = ("facts", "how_to", "harmful", "benign_lookalike")
WORDS = [f"w{i}" for i in range(200)]

Record = dict[str, Any]


def _jsonl(path: Path, lines: list[Record]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _json(path: Path, value: Record) -> None:
    path.write_text(json.dumps(value))


class FakeRun:
    """Folders for rows base, sft, sft_copy and `methods`, with effects that are known.

    A response's gold reward is 5 + the prompt's own part + the row's `effects` entry + noise, in
    1..10; verdicts compare these; the proxy reward adds 0.5, up to 10.
    """

    def __init__(
        self,
        root: Path,
        effects: dict[str, float],
        seeds: int = 2,
        prompts: int = 40,
        samples: int = 2,
        seed: int = 0,
        respond: Callable[[str, int], str] | None = None,
    ) -> None:
        self.root, self.prompts, self.samples = root, prompts, samples
        self.effects, self.respond = effects, respond
        self.random = np.random.default_rng(seed)
        self.part = self.random.normal(0, 1, prompts)
        self.inputs: dict[str, Path] = {}
        self.rows = [
            (row, s)
            for row in effects
            for s in (range(seeds) if row not in ("base", "sft", "sft_copy") else (0,))
        ]
        self._shared()
        self.scores = {run: self._scores(*run) for run in self.rows}
        for row, s in self.rows:
            self._judge(row, s)

    def folder(self, name: str, **manifest: Any) -> Path:
        path = self.root / name
        path.mkdir(parents=True)
        record = {"notes": [], "seconds": 1.5, "peak_rss_bytes": 2**30, **manifest}
        _json(path / "manifest.json", record)
        self.inputs[name] = path
        return path

    def config(self, **evaluation: Any) -> Record:
        return {
            "recipe": {
                "name": "fake",
                "profile": "cpu",
                "methods": {row: {} for row in self.effects},
                "max_prompt_tokens": 40,
                "max_response_tokens": 56,
                "judge": {"kind": "sandbox"},
                "reward_model": {"minimum_accuracy": 0.7},
                "evaluation": {
                    "samples_per_prompt": self.samples,
                    "temperature": 0.8,
                    "top_p": 1.0,
                    "seed": 1234,
                    "resamples": 500,
                    "confidence": 0.95,
                    "diversity_samples": 60,
                    **evaluation,
                },
            },
            "rows": [list(run) for run in self.rows],
            "notes": ["profile cpu: no CUDA device"],
        }

    def context(self, out: Path, **evaluation: Any) -> StageContext:
        out.mkdir(parents=True, exist_ok=True)
        return StageContext(
            out, self.config(**evaluation), self.inputs, lambda *_, **__: None, lambda *_: None
        )

    def _shared(self) -> None:
        data = self.folder("data")
        prompts = [
            {"id": f"p{i}", "prompt": f"Question {i}?", "family": FAMILIES[i % 4]}
            for i in range(self.prompts)
        ]
        _jsonl(data / "eval_prompts.jsonl", prompts)
        _jsonl(data / "train_prompts.jsonl", [{"id": "t0", "prompt": "T?", "family": "facts"}])
        _json(self.folder("base") / "metrics.json", {"weights_digest": "ba5e" * 16})
        sft = self.folder("sft")
        (sft / "model").mkdir()
        _json(sft / "model" / "tokenizer.json", {"version": "1.0"})
        _json(sft / "model" / "tokenizer_config.json", {})
        _json(sft / "metrics.json", {"weights_digest": "5f7" * 21 + "5"})
        for split in ("proxy", "gold"):
            reward = self.folder(f"reward/{split}")
            known = {"accuracy": 0.81, "length_bias": 0.02, "weights_digest": f"rm {split}"}
            _json(reward / "metrics.json", known)
            _jsonl(reward / "log.jsonl", [{"step": i, "loss": 0.7 - i / 100} for i in range(10)])
        for row, seed in self.rows:
            if row not in ("base", "sft", "sft_copy"):
                self._train(row, seed)

    def _train(self, row: str, seed: int) -> None:
        note = {"kind": "substitution", "message": f"{row} uses a stand-in"}
        train = self.folder(f"train/{row}/{seed}", seconds=30.0 + seed, notes=[note])
        metrics = {
            "row": row,
            "seed": seed,
            "method": row,
            "start_digest": "5f7" * 21 + "5",
            "reference_digest": None,
            "weights_digest": f"{row}{seed}",
            "consumed": {"optimizer_steps": 40, "tokens_trained": 9000, "human_labels": 0},
        }
        _json(train / "metrics.json", metrics)
        log = [{"step": i, "reward_raw": i / 40, "sequence_kl": i / 10} for i in range(40)]
        _jsonl(train / "log.jsonl", log)

    def _scores(self, row: str, seed: int) -> np.ndarray[Any, Any]:
        shape = (self.prompts, self.samples)
        noise = self.random.normal(0, 0.7, shape) + self.random.normal(0, 0.05)
        gold = np.clip(5 + self.part[:, None] + self.effects[row] + noise, 1, 10)
        responses, scores = [], []
        for sample in range(self.samples):
            for i in range(self.prompts):
                text = " ".join(self.random.choice(WORDS, 12))
                if self.respond is not None:
                    text = self.respond(row, i)
                key = {"prompt_id": f"p{i}", "family": FAMILIES[i % 4], "sample": sample}
                responses.append(
                    {**key, "prompt": f"Question {i}?", "response": text}
                    | {"token_ids": [1] * 13, "finished": True}
                )
                scores.append({**key, **self._score(row, float(gold[i, sample]), i)})
        _jsonl(self.folder(f"generate/{row}/{seed}") / "responses.jsonl", responses)
        folder = self.folder(f"score/{row}/{seed}")
        _jsonl(folder / "scores.jsonl", scores)
        documents = [{"nll": 30.0 + i % 7, "tokens": 10} for i in range(25)]
        references = [{"nll": 20.0 + i % 5, "tokens": 10} for i in range(15)]
        corpora = {"perplexity": documents, "perplexity_reference": references}
        _json(
            folder / "corpus.json", {name: {"documents": found} for name, found in corpora.items()}
        )
        return gold

    def _score(self, row: str, gold: float, prompt: int) -> Record:
        return {
            "reward_proxy": min(gold + 0.5, 10.0),
            "reward_proxy_raw": gold - 5,
            "reward_gold_rm": gold,
            "reward_gold_rm_raw": gold - 5,
            "reward_gold": gold,
            "gold_helpful": gold,
            "gold_harmless": gold,
            "gold_honest": gold,
            "length": 12,
            "kl_from_sft": 0.0 if row in ("sft", "sft_copy") else 2.0,
        }

    def _rated(self, gold: float, prompt: int, sample: int) -> Record:
        harmful = prompt % 4 == 2
        return {
            "prompt_id": f"p{prompt}",
            "prompt": f"Question {prompt}?",
            "sample": sample,
            **dict.fromkeys(("helpful", "harmless", "honest"), gold),
            "refusal": harmful,
            "over_refusal": None if harmful else False,
            "harmful": False if harmful else None,
        }

    def _judge(self, row: str, seed: int) -> None:
        verdicts = []
        for against in ("base", "sft"):
            if row == against:
                continue
            for i in range(self.prompts):
                for k in range(self.samples):
                    a, b = self.scores[row, seed][i, k], self.scores[against, 0][i, k]
                    better = 1.5 if a == b else (1 if a > b else 2)
                    line = {"prompt_id": f"p{i}", "sample": k, "against": against, "judge": "j"}
                    verdicts.append({**line, "order": "ab", "preference": better})
                    verdicts.append({**line, "order": "ba", "preference": 3 - better})
        folder = self.folder(f"judge/{row}/{seed}")
        _jsonl(folder / "verdicts.jsonl", verdicts)
        ratings = [
            self._rated(float(self.scores[row, seed][i, k]), i, k)
            for i in range(self.prompts)
            for k in range(self.samples)
        ]
        _jsonl(folder / "ratings.jsonl", ratings)
        _jsonl(folder / "repeats.jsonl", [])
        bill = {"questions": 9, "unanswered": 0, "prompt_tokens": 0, "completion_tokens": 0}
        who = {
            "name": "sandbox (simulated judge)",
            "identity": {"kind": "sandbox"},
            "simulated": True,
            "deterministic": True,
            "served": [],
            "refusals_by": "judge",
            "bill": {**bill, "cost": None},
        }
        _json(folder / "judge.json", who)

    def match(self) -> None:
        """Let the judge compare the methods with each other, as the stage `matches` does."""
        folder = self.folder("matches")
        (folder / "verdicts").mkdir()
        seeds: dict[str, list[int]] = {}
        for row, seed in self.rows:
            if row not in ("base", "sft", "sft_copy"):
                seeds.setdefault(row, []).append(seed)
        for a, b in combinations(seeds, 2):
            lines = [
                self._met((a, own), (b, other), i, k)
                for own, other in zip(seeds[a], seeds[b], strict=True)
                for i in range(self.prompts)
                for k in range(self.samples)
            ]
            _jsonl(folder / "verdicts" / f"{a}-{b}.jsonl", lines)
        row, seed = self.rows[0]
        who = json.loads((self.inputs[f"judge/{row}/{seed}"] / "judge.json").read_text())
        _json(folder / "judge.json", who)

    def _met(self, one: tuple[str, int], other: tuple[str, int], prompt: int, k: int) -> Record:
        a, b = self.scores[one][prompt, k], self.scores[other][prompt, k]
        better = 1.5 if a == b else (1.0 if a > b else 2.0)
        line = {"seed": one[1], "other_seed": other[1], "prompt_id": f"p{prompt}", "sample": k}
        return {**line, "ab": better, "ba": 3 - better}


EFFECTS = {
    "base": -1.5,
    "sft": 0.0,
    "sft_copy": 0.0,
    "reinforce": 0.9,
    "ppo": 1.5,
    "dpo": 1.2,
    "grpo": 1.6,
    "rlaif": 0.1,
}
