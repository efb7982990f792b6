"""The meter's FLOPs equal what torch dispatched, and its tokens equal counts by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    DynamicCache,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
)
from trl.trainer.utils import add_fused_lm_head

from alignbench.metering.budget import Budget
from alignbench.metering.dispatch import MatmulCounter
from alignbench.metering.flops import install
from alignbench.metering.meter import BudgetExhausted, Meter
from alignbench.metering.watch import watch
from alignbench.models.decode import Decoding, sample
from alignbench.models.logprobs import padded_logprobs, sequence_kl
from alignbench.training.lm_head import use_plain_head
from tests import tiny

IDS = torch.tensor([[1, 1, 1, 5, 6, 7, 8], [1, 4, 5, 6, 7, 8, 9], [3, 4, 5, 6, 7, 8, 9]])
MASK = (IDS != 1).long()
REAL, PADDING = 17, 4  # of MASK
EMPTY = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}


def gpt2(attention: str = "sdpa", **changes: Any) -> Any:
    torch.manual_seed(0)
    return GPT2LMHeadModel(tiny.config(attn_implementation=attention, **changes))


def llama(attention: str = "sdpa") -> Any:
    """With 2 key/value heads for 4 heads, of a size that is not width / heads."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=19, hidden_size=16, intermediate_size=24, num_hidden_layers=2, head_dim=8,
            num_attention_heads=4, num_key_value_heads=2, attn_implementation=attention,
            **EMPTY,
        )
    )  # fmt: skip


def counts(work: Callable[[], Any], meter: Meter | None = None) -> tuple[dict[str, int], int]:
    """The meter's bill of `work`, and the FLOPs that torch dispatched in it."""
    meter = meter or Meter()
    with watch(meter), MatmulCounter() as counter:
        work()
    assert counter.flops > 0
    return meter.bill(), counter.flops


def tokens(bill: dict[str, int]) -> dict[str, int]:
    return {name[7:]: n for name, n in bill.items() if name.startswith("tokens_") and n}


def backward(model: Any, **inputs: Any) -> None:
    model(input_ids=IDS, attention_mask=MASK, labels=IDS, **inputs).loss.backward()


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    before = (nn.functional.linear, nn.functional.scaled_dot_product_attention)
    yield
    assert before == (nn.functional.linear, nn.functional.scaled_dot_product_attention)
    assert "__call__" not in vars(PreTrainedModel)


both = pytest.mark.parametrize("make", [gpt2, llama])
attentions = pytest.mark.parametrize("attention", ["eager", "sdpa"])


@both
@attentions
def test_forward(make: Any, attention: str) -> None:
    model = make(attention)
    with torch.no_grad():
        bill, dispatched = counts(lambda: model(input_ids=IDS, attention_mask=MASK))
    assert bill["flops"] == dispatched
    assert tokens(bill) == {"scored": REAL, "padding": PADDING}


def test_forward_by_hand() -> None:
    """One layer, width 32, two heads of 16, vocabulary 19; 21 tokens in rows of 7."""
    model = gpt2(n_layer=1)
    with torch.no_grad():
        bill, _ = counts(lambda: model(IDS, None, MASK))
    weights = 32 * 96 + 32 * 32 + 32 * 128 + 128 * 32 + 32 * 19
    attention = 2 * (3 * 2 * 7 * 7 * 16) * 2
    assert bill["flops"] == 2 * 21 * weights + attention
    assert tokens(bill) == {"scored": REAL, "padding": PADDING}


@both
@attentions
@pytest.mark.parametrize("checkpointing", [None, "reentrant", "plain"])
def test_training(make: Any, attention: str, checkpointing: str | None) -> None:
    model = make(attention).train()
    plain, _ = counts(lambda: backward(model))
    if checkpointing is not None:
        reentrant = {"use_reentrant": checkpointing == "reentrant"}
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=reentrant)
    bill, dispatched = counts(lambda: backward(model, use_cache=False))
    assert bill["flops"] == dispatched
    assert (bill["flops"] > plain["flops"]) == (checkpointing is not None)
    assert tokens(bill) == {"trained": REAL, "padding": PADDING}


@both
def test_training_with_dropout_in_attention(make: Any) -> None:
    """Dropout takes torch off its fused kernel, whose backward is dearer."""
    model = make().train()
    plain, _ = counts(lambda: backward(model))
    for module in model.modules():
        if hasattr(module, "attn_dropout"):
            module.attn_dropout.p = 0.5
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5
    bill, dispatched = counts(lambda: backward(model))
    assert bill["flops"] == dispatched < plain["flops"]


@both
def test_whole_model_checkpointed_counts_tokens_once(make: Any) -> None:
    model = make().train()

    def forward(ids: torch.Tensor) -> Any:
        return model(input_ids=ids, use_cache=False).logits

    def work() -> None:
        logits = torch.utils.checkpoint.checkpoint(forward, IDS, use_reentrant=False)
        logits.sum().backward()

    bill, dispatched = counts(work)
    assert bill["flops"] == dispatched
    # The first forward's last hidden state is thrown away, so no gradient is seen to reach it.
    assert sum(tokens(bill).values()) == IDS.numel()


@both
@attentions
@pytest.mark.parametrize("cache", [True, False])
def test_generate(make: Any, attention: str, cache: bool) -> None:
    model = make(attention)

    def work() -> None:
        model.generate(
            input_ids=IDS, attention_mask=MASK, max_new_tokens=4, min_new_tokens=4,
            do_sample=False, use_cache=cache,
        )  # fmt: skip

    bill, dispatched = counts(work)
    assert bill["flops"] == dispatched
    if cache:  # the last of 4 tokens is never fed
        assert tokens(bill) == {"scored": REAL, "padding": PADDING, "generated": 3 * 3}
    else:
        scored = 4 * REAL + 3 * (0 + 1 + 2 + 3)
        assert tokens(bill) == {"scored": scored, "padding": 4 * PADDING}


@both
def test_our_decoder_reports_the_sampled_tokens(make: Any) -> None:
    model, done = make(), []
    prompts = [[3, 4], [5, 6, 7], [5, 6, 7]]

    def work() -> None:
        done.extend(sample(model, tiny.tokenizer(), prompts, Decoding(8, 1.0), 0, 3))

    bill, dispatched = counts(work)
    assert bill["flops"] == dispatched
    generated = sum(len(completion.ids) for completion in done)
    # Equal prompts are computed once: 2 and 3 tokens, and one of padding.
    assert tokens(bill) == {"scored": 5, "padding": 1, "generated": generated}


@both
def test_context_without_a_mask(make: Any) -> None:
    model = make()

    def work() -> None:
        cache = DynamicCache(config=model.config)
        model(input_ids=IDS, past_key_values=cache, use_cache=True)
        model(input_ids=IDS[:, :2], past_key_values=cache, use_cache=True)

    with torch.no_grad():
        bill, dispatched = counts(work)
    assert bill["flops"] == dispatched
    assert tokens(bill) == {"scored": 21, "generated": 6}


@both
def test_bf16_autocast(make: Any) -> None:
    model = make().train()

    def work() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            backward(model)

    bill, dispatched = counts(work)
    assert bill["flops"] == dispatched
    assert tokens(bill) == {"trained": REAL, "padding": PADDING}


@both
@attentions
@pytest.mark.parametrize("checkpointing", [False, True])
def test_lora(make: Any, attention: str, checkpointing: bool) -> None:
    import peft

    names = ["c_attn"] if make is gpt2 else ["q_proj", "v_proj"]
    fan = make is gpt2
    base = make(attention)
    config = peft.LoraConfig(r=2, target_modules=names, task_type="CAUSAL_LM", fan_in_fan_out=fan)
    model = peft.get_peft_model(base, config).train()
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    bill, dispatched = counts(lambda: backward(model, use_cache=False))
    full, _ = counts(lambda: backward(make(attention).train()))
    assert bill["flops"] == dispatched
    assert checkpointing or bill["flops"] < 0.8 * full["flops"]
    assert tokens(bill) == {"trained": REAL, "padding": PADDING}


@both
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wrapped", ["full", "frozen head", "lora"])
def test_trls_fused_head(make: Any, precision: torch.dtype, wrapped: str) -> None:
    model = make().train()
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    if wrapped == "frozen head":
        model.get_output_embeddings().weight.requires_grad_(False)
    if wrapped == "lora":
        import peft

        targets = "all-linear"
        model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=targets))

    def work() -> None:
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            out = model(input_ids=IDS, attention_mask=MASK, labels=IDS, fused_lm_head=True)
        out.log_probs.sum().backward()

    bill, dispatched = counts(work)
    assert bill["flops"] == dispatched
    assert tokens(bill) == {"trained": REAL, "padding": PADDING}


@both
def test_our_plain_head_and_logprobs(make: Any) -> None:
    model = make().train()

    def logprobs() -> None:
        padded_logprobs(model, IDS, MASK, 3)[0].sum().backward()

    bill, dispatched = counts(logprobs)
    assert bill["flops"] == dispatched
    assert tokens(bill) == {"trained": REAL, "padding": PADDING}

    add_fused_lm_head(model)
    assert use_plain_head(model)
    labels = IDS.masked_fill(MASK == 0, -100)

    def plain() -> None:
        out = model(input_ids=IDS, attention_mask=MASK, labels=labels, fused_lm_head=True)
        out.log_probs.sum().backward()

    bill, dispatched = counts(plain)
    assert bill["flops"] == dispatched
    assert tokens(bill) == {"trained": REAL, "padding": PADDING}


def test_sequence_kl() -> None:
    model, reference = gpt2(), gpt2()
    bill, dispatched = counts(
        lambda: sequence_kl(model, reference, [[3, 4], [5]], [[6, 7], [8]], 2) and None
    )
    assert bill["flops"] == dispatched
    assert tokens(bill) == {"scored": 2 * (4 + 2), "padding": 2 * 2}


def test_reward_model() -> None:
    model = GPT2ForSequenceClassification(tiny.config(num_labels=1))

    def work() -> None:
        model(input_ids=IDS, attention_mask=MASK).logits.sum().backward()

    bill, dispatched = counts(work)
    assert bill["flops"] == dispatched
    assert tokens(bill) == {"trained": REAL, "padding": PADDING}


@pytest.mark.parametrize("experts", ["eager", "batched_mm", "grouped_mm"])
def test_mixture_of_experts(experts: str) -> None:
    torch.manual_seed(0)
    model = MixtralForCausalLM(
        MixtralConfig(
            vocab_size=19, hidden_size=64, intermediate_size=96, num_hidden_layers=1,
            num_attention_heads=4, num_key_value_heads=2, num_local_experts=4,
            experts_implementation=experts, **EMPTY,
        )
    ).train()  # fmt: skip
    bill, dispatched = counts(lambda: backward(model))
    assert bill["flops"] == dispatched
    assert tokens(bill) == {"trained": REAL, "padding": PADDING}


def test_multi_head_attention_of_torch() -> None:
    layer = nn.MultiheadAttention(16, 2, batch_first=True)
    x = torch.randn(2, 5, 16)
    bill, dispatched = counts(lambda: layer(x, x, x, need_weights=False)[0].sum().backward())
    assert bill["flops"] == dispatched


def test_frozen_reference_and_gradient_without_backward() -> None:
    model = gpt2()

    def work() -> None:
        model(input_ids=IDS, attention_mask=MASK)  # nobody asked for its gradient

    bill, dispatched = counts(work)
    assert bill["flops"] == dispatched
    assert tokens(bill) == {"trained": REAL, "padding": PADDING}  # it could have


def test_second_backward_costs_flops_but_trains_on_no_new_tokens() -> None:
    model = gpt2()

    def work() -> None:
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward(retain_graph=True)
        loss.backward()

    bill, dispatched = counts(work)
    assert bill["flops"] == dispatched
    assert tokens(bill) == {"trained": 21}


def test_inputs_embeds_and_masks_of_other_shapes() -> None:
    model = gpt2()
    embeds = model.transformer.wte(IDS).detach()
    everything = torch.ones(3, 1, 7, 7, dtype=torch.bool).tril()
    with torch.no_grad():
        bill, _ = counts(lambda: model(inputs_embeds=embeds, attention_mask=MASK))
        assert tokens(bill) == {"scored": REAL, "padding": PADDING}
        bill, _ = counts(lambda: model(inputs_embeds=embeds, attention_mask=everything))
        assert tokens(bill) == {"scored": 21}


def test_copies_and_models_loaded_while_watching_count(tmp_path: Path) -> None:
    folder = tiny.start_folder(tmp_path)
    model = gpt2()

    def work() -> None:
        for other in (copy.deepcopy(model), GPT2LMHeadModel.from_pretrained(folder)):
            backward(other)

    bill, dispatched = counts(work)
    assert bill["flops"] == dispatched
    assert tokens(bill) == {"trained": 2 * REAL, "padding": 2 * PADDING}


def test_a_backbone_without_a_head_counts() -> None:
    model = GPT2Model(tiny.config())
    bill, dispatched = counts(lambda: model(IDS).last_hidden_state.sum().backward())
    assert bill["flops"] == dispatched
    assert tokens(bill) == {"trained": 21}


def test_nothing_is_counted_while_paused_or_afterwards() -> None:
    model, meter = gpt2(), Meter()
    with watch(meter):
        with meter.paused():
            backward(model)
            loss = model(input_ids=IDS, labels=IDS).loss
        assert not any(meter.bill().values())
        # What was computed in the pause stays off the bill.
        before = nn.functional.linear
    loss.backward()
    backward(model)
    assert nn.functional.linear is not before
    assert not any(meter.bill().values())


def test_two_meters_each_count() -> None:
    model, outer, inner = gpt2(), Meter(), Meter()
    with watch(outer):
        backward(model)
        with watch(inner):
            backward(model)
    assert inner.bill()["flops"] * 2 == outer.bill()["flops"]


def test_a_method_that_never_steps_is_stopped() -> None:
    model, meter = gpt2(), Meter(Budget(flops=1e6))

    def score_for_ever() -> None:
        with watch(meter), torch.no_grad():
            for _ in range(1000):
                model(input_ids=IDS)

    with pytest.raises(BudgetExhausted):
        score_for_ever()
    assert meter.bill()["flops"] < 5e6


def test_handles_restore_everything() -> None:
    meter = Meter()
    handles = install(meter)
    for handle in reversed(handles):
        handle.remove()
    backward(gpt2())
    assert not any(meter.bill().values())
