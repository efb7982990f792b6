"""The engines against a real vLLM with SmolLM2-135M-Instruct, in fp32 on a CPU.

`.ci/judge_server.sh install` and `env` set it up. What is checked of greedy decoding: the tokens
are those of `models.decode`, row by row, until the first place where that model's two best logits
are within TIE of each other; from there on either token is right. TIE is 20 times the largest
difference of log-probabilities seen (5e-5).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trl

from alignbench.engines.sampler import TransformersSampler
from alignbench.engines.server import VllmServer
from alignbench.engines.settings import Settings
from alignbench.metering.meter import Meter
from alignbench.metering.watch import watch
from alignbench.models.decode import Completion, Decoding
from alignbench.models.load import load_policy
from alignbench.models.text import encode_prompt
from tests.engines.disturbed import disturb

PYTHON = os.environ.get("ALIGNBENCH_VLLM_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="ALIGNBENCH_VLLM_PYTHON is not set"),
]
ROOT = Path(__file__).parents[2]
QUESTIONS = [
    "How can I learn Python?",
    "Name three fruits.",
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "How can I learn Python?",
]
TOKENS = 16
TIE = 1e-3
HEATS = [(1.0,), (0.7, 0.8)]
OPENING, DRAWS = "My favourite", 500  # two or three tokens: vLLM computes them for each draw


@pytest.fixture(scope="module")
def model() -> tuple[Any, Any, Path]:
    folder = Path(os.environ["ALIGNBENCH_SMOLLM2"])
    return (*load_policy(folder), folder)


@pytest.fixture(scope="module")
def prompts(model: tuple[Any, Any, Path]) -> list[list[int]]:
    return [encode_prompt(model[1], question) for question in QUESTIONS]


@pytest.fixture(scope="module")
def found(
    model: tuple[Any, Any, Path], prompts: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """What the engine did within a process of vLLM's environment."""
    given = {"prompts": prompts, "tokens": TOKENS, "precision": "fp32", "heats": HEATS}
    given |= {"opening": model[1].encode(OPENING), "draws": DRAWS}
    packages = str(Path(trl.__file__).parents[1])
    scratch = str(tmp_path_factory.mktemp("child"))
    done = subprocess.run(
        [PYTHON, "-m", "tests.engines.vllm_child", packages, str(model[2]), scratch],
        input=json.dumps(given),
        # One thread: threads that wait for each other crawl where other tests run beside.
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,  # it takes one minute where nothing else runs
    )
    assert done.returncode == 0, done.stderr[-5000:]
    line = next(x for x in done.stdout.splitlines() if x.startswith("FOUND "))
    return json.loads(line.removeprefix("FOUND "))


@torch.inference_mode()
def logits_of(model: Any, prompt: Sequence[int], ids: Sequence[int]) -> torch.Tensor:
    """(T, V): the logits that each token of `ids` was chosen by."""
    return model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].float()


def check_greedy(
    model: Any, prompts: Sequence[Sequence[int]], ours: Sequence[Completion], theirs: Any
) -> None:
    """As the module says; and at least half of the rows must have no tie at all."""
    whole = 0
    for prompt, own, (ids, finished, logprobs) in zip(prompts, ours, theirs, strict=True):
        expected = logits_of(model, prompt, ids).log_softmax(-1)
        chosen = expected.gather(-1, torch.tensor(ids)[:, None])[:, 0]
        assert logprobs == pytest.approx(chosen.tolist(), abs=TIE)
        pairs = enumerate(zip(own.ids, ids, strict=False))
        at = next((k for k, (one, other) in pairs if one != other), None)
        if at is None:
            assert (own.ids, own.finished) == (ids, finished)
            whole += 1
        else:
            best = logits_of(model, prompt, own.ids)[at].topk(2).values
            assert best[0] - best[1] < TIE
    assert whole >= len(prompts) / 2


def test_greedy_tokens_agree(model: Any, prompts: list[list[int]], found: Any) -> None:
    policy, tokenizer, _ = model
    ours = TransformersSampler(policy, tokenizer).sample(prompts, Decoding(TOKENS, 0.0), 1)
    check_greedy(policy, prompts, ours, found["greedy"])


def test_both_engines_send_the_same_bill(model: Any, prompts: list[list[int]], found: Any) -> None:
    """Tokens exactly. FLOPs within 10 %, and never more: rows here are of several lengths, and

    torch computes their padding and the rows that are done, which vLLM does not (`test_cost` has
    exact equality where there is none of either).
    """
    policy, tokenizer, _ = model
    meter = Meter()
    with watch(meter):
        TransformersSampler(policy, tokenizer).sample(prompts, Decoding(TOKENS, 0.0), 1)
    own, bill = meter.bill(), found["bill"]
    for name in ("tokens_generated", "tokens_scored", "tokens_trained"):
        assert bill[name] == own[name]
    assert 0.9 * own["flops"] < bill["flops"] <= own["flops"]


def test_drawn_tokens_have_the_probabilities_of_their_temperature(
    model: Any, prompts: list[list[int]], found: Any
) -> None:
    for prompt, (ids, finished, logprobs) in zip(prompts, found["drawn"], strict=True):
        expected = (logits_of(model[0], prompt, ids) / 0.7).log_softmax(-1)
        chosen = expected.gather(-1, torch.tensor(ids)[:, None])[:, 0]
        assert logprobs == pytest.approx(chosen.tolist(), abs=TIE)
        assert finished == (ids[-1] == model[1].eos_token_id)
    assert found["alone"][0] == found["alone"][1]  # whatever else was in the call


def test_first_tokens_are_distributed_as_they_should(model: Any, found: Any) -> None:
    """DRAWS: each likely token within five standard errors; with top_p none from outside it."""
    logits = logits_of(model[0], model[1].encode(OPENING), [0])[0].double()
    for (temperature, *nucleus), drawn in zip(HEATS, found["first"], strict=True):
        p = (logits / temperature).softmax(-1)
        if nucleus:
            order = p.argsort(descending=True)
            kept = order[p[order].cumsum(0) - p[order] < nucleus[0]]
            assert set(drawn) <= set(kept.tolist())
            p = torch.zeros_like(p).index_copy(0, kept, p[kept] / p[kept].sum())
        counts = Counter(drawn)
        top = p.topk(20).indices.tolist()
        share = np.array([counts[token] for token in top]) / len(drawn)
        expected = p[top].numpy()
        error = np.sqrt(expected * (1 - expected) / len(drawn))
        assert (abs(share - expected) < 5 * error + 1e-9).all()


def test_new_weights_are_sampled_from(model: Any, prompts: list[list[int]], found: Any) -> None:
    policy, tokenizer = load_policy(model[2])
    disturb(policy)
    ours = TransformersSampler(policy, tokenizer).sample(prompts, Decoding(TOKENS, 0.0), 1)
    check_greedy(policy, prompts, ours, found["after"])
    assert found["after"] != found["greedy"]


def test_the_process_is_left_as_it_was(found: Any) -> None:
    assert found["left"] == [True, True]


def test_training_on_its_rollouts(found: Any) -> None:
    trained = found["trained"]
    assert trained["error"] < 1e-3
    assert trained["changed"]
    assert trained["bill"]["optimizer_steps"] == 3
    assert trained["bill"]["tokens_generated"] >= 3 * 16


def test_the_server(model: Any, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # what the server is given
    policy, tokenizer = load_policy(model[2])
    settings = Settings(model[2], "fp32", 128, 8, 0.3)
    decoding = Decoding(TOKENS, 0.0)
    with VllmServer(settings, int(tokenizer.eos_token_id)) as engine:
        plain = engine.sample(prompts, decoding, 1)
        drawn = engine.sample(prompts, Decoding(TOKENS, 0.7), 1)
        assert engine.sample(prompts[:1], Decoding(TOKENS, 0.7), 1) == drawn[:1]
        disturb(policy)
        engine.update(policy)
        after = engine.sample(prompts, decoding, 1)
    for tried, theirs in ((model[0], plain), (policy, after)):
        ours = TransformersSampler(tried, tokenizer).sample(prompts, decoding, 1)
        check_greedy(tried, prompts, ours, [[d.ids, d.finished, d.logprobs] for d in theirs])
