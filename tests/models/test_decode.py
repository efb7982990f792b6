from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import GPT2LMHeadModel

from alignbench.errors import UserError
from alignbench.models.decode import Decoding, next_tokens, sample
from alignbench.models.load import install_position_ids, load_policy
from alignbench.models.logprobs import token_logprobs
from tests import tiny

PROMPTS = [[5, 2], [6, 7, 8, 2], [9, 10, 11, 12, 13, 2], [5, 2], [14, 2]]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Any:
    model, tokenizer = load_policy(tiny.start_folder(tmp_path_factory.mktemp("decode")))
    with torch.no_grad():
        model.transformer.wte.weight.mul_(10)  # distributions far from uniform
    return model, tokenizer


class TestNextTokens:
    def test_even_numbers_give_the_softmax(self) -> None:
        logits = torch.randn(1, 9, generator=torch.Generator().manual_seed(0))
        n = 20_000
        even = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        drawn = next_tokens(logits.expand(n, -1), even, Decoding(1, temperature=0.7))
        share = torch.bincount(drawn, minlength=9) / n
        torch.testing.assert_close(share, (logits[0] / 0.7).softmax(-1), atol=1.1 / n, rtol=0)

    def test_boundaries_of_the_cdf(self) -> None:
        # P = 1/2, 0, 1/4, 1/4: the CDF steps at 0.5, 0.5, 0.75, 1.
        logits = torch.tensor([0.5, 0.0, 0.25, 0.25]).log().expand(5, -1)
        numbers = torch.tensor([0.0, 0.49, 0.51, 0.76, 1 - 1e-12], dtype=torch.float64)
        assert next_tokens(logits, numbers, Decoding(1, 1.0)).tolist() == [0, 0, 2, 3, 3]

    def test_a_leading_token_of_probability_zero_is_never_drawn(self) -> None:
        logits = torch.tensor([[0.0, 1.0]]).log()
        zero = torch.zeros(1, dtype=torch.float64)
        assert next_tokens(logits, zero, Decoding(1, 1.0)).tolist() == [1]

    def test_top_p_keeps_the_smallest_sufficient_set(self) -> None:
        # 0.5 + 0.3 reach 0.8; renormalised 0.625 and 0.375, in order of token id: 0.3 first.
        logits = torch.tensor([0.3, 0.05, 0.5, 0.15]).log().expand(4, -1)
        numbers = torch.tensor([0.0, 0.374, 0.376, 0.999], dtype=torch.float64)
        assert next_tokens(logits, numbers, Decoding(1, 1.0, 0.79)).tolist() == [0, 0, 2, 2]

    def test_tiny_top_p_and_zero_temperature_are_greedy(self) -> None:
        logits = torch.randn(50, 9, generator=torch.Generator().manual_seed(1))
        numbers = torch.rand(50, dtype=torch.float64)
        best = logits.argmax(-1)
        assert torch.equal(next_tokens(logits, numbers, Decoding(1, 1.0, 1e-9)), best)
        assert torch.equal(next_tokens(logits, numbers, Decoding(1, 0.0)), best)


class TestSample:
    def test_greedy_is_what_transformers_generates(self, policy: Any) -> None:
        model, tokenizer = policy
        done = sample(model, tokenizer, PROMPTS, Decoding(12, 0.0), seed=0, batch_size=5)
        for prompt, completion in zip(PROMPTS, done, strict=True):
            expected = model.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                max_new_tokens=12,
                do_sample=False,
            )[0, len(prompt) :]
            assert completion.ids == expected.tolist()

    def test_result_does_not_depend_on_batch_or_neighbours(self) -> None:
        """At the size of the sandbox model, with rows that finish at different times."""
        torch.manual_seed(0)
        size = {"vocab_size": 1024, "n_positions": 64, "n_embd": 112, "n_layer": 3, "n_head": 4}
        model = GPT2LMHeadModel(tiny.config(**size)).eval()
        install_position_ids(model)
        with torch.no_grad():
            model.transformer.wpe.weight.mul_(10)
            model.transformer.wte.weight.mul_(3)
            model.transformer.wte.weight[0] *= 4  # so that EOS (0) comes up now and then
        rng = random.Random(0)
        prompts = [[rng.randrange(1, 1024) for _ in range(rng.randrange(4, 20))] for _ in range(40)]
        prompts += prompts[:10]
        decoding = Decoding(24, 0.9)
        together = sample(model, tiny.tokenizer(), prompts, decoding, seed=7, batch_size=50)
        finished = sum(done.finished for done in together)
        assert 5 < finished < 50
        assert len({len(done.ids) for done in together}) > 5
        for batch_size in (3, 7):
            assert together == sample(model, tiny.tokenizer(), prompts, decoding, 7, batch_size)
        neighbours = [[5, 6]] * 20 + prompts[20:]
        assert sample(model, tiny.tokenizer(), neighbours, decoding, 7, 50)[20:] == together[20:]

    def test_seed_and_row_name_the_random_numbers(self, policy: Any) -> None:
        model, tokenizer = policy
        same_prompt = [[5, 6, 2]] * 20
        first = sample(model, tokenizer, same_prompt, Decoding(8, 1.0), 0, 20)
        assert len({tuple(done.ids) for done in first}) > 15
        assert first == sample(model, tokenizer, same_prompt, Decoding(8, 1.0), 0, 20)
        assert first != sample(model, tokenizer, same_prompt, Decoding(8, 1.0), 1, 20)

    def test_leaves_the_global_generators_alone(self, policy: Any) -> None:
        model, tokenizer = policy
        torch.manual_seed(3)
        expected = torch.rand(1)
        torch.manual_seed(3)
        sample(model, tokenizer, PROMPTS, Decoding(4, 1.0), 0, 2)
        assert torch.rand(1) == expected

    def test_tokens_are_distributed_as_the_model_says(self, policy: Any) -> None:
        model, tokenizer = policy
        n, prompt = 4000, [6, 7, 2]
        decoding = Decoding(2, temperature=0.8)
        done = sample(model, tokenizer, [prompt] * n, decoding, 11, 1000)
        first = np.bincount([d.ids[0] for d in done], minlength=19)
        with torch.no_grad():
            expected = (model(torch.tensor([prompt])).logits[0, -1] / 0.8).double().softmax(-1)
        assert chisquare(first, n * expected.numpy()).pvalue > 1e-3
        # The second token, after the most frequent first one.
        top = int(first.argmax())
        second = np.bincount([d.ids[1] for d in done if d.ids[0] == top], minlength=19)
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, top]])).logits[0, -1]
        expected = (logits / 0.8).double().softmax(-1).numpy()
        assert chisquare(second, second.sum() * expected).pvalue > 1e-3

    def test_eos_ends_a_row_and_only_eos(self, policy: Any) -> None:
        model, tokenizer = policy
        done = sample(model, tokenizer, PROMPTS * 20, Decoding(10, 1.5), 0, 50)
        assert {d.finished for d in done} == {True, False}
        for d in done:
            if d.finished:
                assert d.ids[-1] == tokenizer.eos_token_id
                assert tokenizer.eos_token_id not in d.ids[:-1]
            else:
                assert len(d.ids) == 10
                assert tokenizer.eos_token_id not in d.ids

    def test_logprobs_are_those_of_the_whole_sequence(self, policy: Any) -> None:
        model, tokenizer = policy
        done = sample(model, tokenizer, PROMPTS, Decoding(10, 1.0), 0, 3)
        direct = token_logprobs(model, PROMPTS, [d.ids for d in done], 2)
        for completion, expected in zip(done, direct, strict=True):
            assert completion.logprobs == pytest.approx(expected.tolist(), abs=1e-5)

    def test_mode_is_restored_and_progress_told(self, policy: Any) -> None:
        model, tokenizer = policy
        told: list[tuple[int, int]] = []
        model.train()
        sample(
            model,
            tokenizer,
            PROMPTS,
            Decoding(2, 1.0),
            0,
            2,
            progress=lambda done, total: told.append((done, total)),
        )
        assert model.training
        model.eval()
        assert told == [(2, 5), (4, 5), (5, 5)]

    def test_what_does_not_fit_the_positions_is_a_user_error(self, policy: Any) -> None:
        model, tokenizer = policy
        with pytest.raises(UserError, match="32 positions"):
            sample(model, tokenizer, PROMPTS, Decoding(27, 1.0), 0, 2)
        assert len(sample(model, tokenizer, PROMPTS, Decoding(26, 0.0), 0, 2)) == 5

    def test_no_prompts_no_completions(self, policy: Any, tmp_path: Path) -> None:
        model, tokenizer = policy
        assert sample(model, tokenizer, [], Decoding(2, 1.0), 0, 2) == []
