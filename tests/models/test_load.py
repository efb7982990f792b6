from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from alignbench.errors import UserError
from alignbench.models.load import (
    init_reward,
    install_position_ids,
    load_hub,
    load_policy,
    load_reward,
    save_model,
    weights_digest,
)
from alignbench.models.padding import left_pad, right_pad
from tests import tiny

SHORT, LONG = [5, 6, 2, 3], [7, 8, 9, 10, 2, 3, 4]


def enlarged(**changes: Any) -> GPT2LMHeadModel:
    """A model whose positions matter, so that wrong ones show."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(tiny.config(**changes)).eval()
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(10)
    return model


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


class TestDigest:
    def test_is_that_of_the_weights_however_they_are_held(self, tmp_path: Path) -> None:
        model = enlarged()
        expected = weights_digest(model)
        assert weights_digest(torch.nn.DataParallel(model)) == expected
        install_position_ids(model)
        model.train()
        assert weights_digest(model) == expected
        save_model(model, tiny.tokenizer(), tmp_path)
        assert weights_digest(load_policy(tmp_path)[0]) == expected

    def test_counts_tied_weights_once(self) -> None:
        model = enlarged()
        assert "lm_head.weight" in model.state_dict()
        held_once = torch.nn.Module()
        held_once.lm_head, held_once.transformer = model.lm_head, torch.nn.Module()
        for name, child in model.transformer.named_children():
            if name != "wte":
                held_once.transformer.add_module(name, child)
        assert weights_digest(held_once) == weights_digest(model)

    def test_sees_one_changed_number_and_the_dtype(self) -> None:
        model = enlarged()
        expected = weights_digest(model)
        assert weights_digest(enlarged().to(torch.bfloat16)) != expected
        with torch.no_grad():
            model.transformer.h[1].mlp.c_fc.bias[3] += 1e-6
        assert weights_digest(model) != expected


class TestSaveAndLoad:
    def test_files_say_nothing_about_this_machine(self, tmp_path: Path) -> None:
        save_model(enlarged(), tiny.tokenizer(), tmp_path / "a")
        save_model(*load_policy(tmp_path / "a"), tmp_path / "b")
        save_model(*load_policy(tmp_path / "b"), tmp_path / "c")
        assert files(tmp_path / "b") == files(tmp_path / "c")
        for content in files(tmp_path / "c").values():
            assert str(tmp_path).encode() not in content

    def test_dropout_is_zero_whatever_was_saved(self, tmp_path: Path) -> None:
        save_model(enlarged(resid_pdrop=0.1, attn_pdrop=0.1), tiny.tokenizer(), tmp_path)
        model, _ = load_policy(tmp_path)
        assert not model.training
        assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}
        ids = torch.tensor([LONG])
        assert torch.equal(model.train()(ids).logits, model.eval()(ids).logits)

    @pytest.mark.parametrize(
        ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
    )
    def test_precision(self, tmp_path: Path, precision: str, dtype: torch.dtype) -> None:
        save_model(enlarged(), tiny.tokenizer(), tmp_path)
        assert load_policy(tmp_path, precision)[0].dtype == dtype

    def test_what_is_no_model_folder_is_a_user_error(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"config\.json"):
            load_policy(tmp_path / "nowhere")
        save_model(enlarged(), tiny.tokenizer(), tmp_path)
        (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
        with pytest.raises(UserError, match="safetensors"):
            load_policy(tmp_path)

    def test_a_tokenizer_without_pad_pads_with_eos(self, tmp_path: Path) -> None:
        tokenizer = tiny.tokenizer()
        tokenizer.pad_token = None
        save_model(enlarged(), tokenizer, tmp_path)
        _, loaded = load_policy(tmp_path)
        assert loaded.pad_token_id == loaded.eos_token_id == 0

    def test_an_unreachable_hub_is_a_user_error_with_the_remedy(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unreachable(*_: Any, **__: Any) -> Any:
            raise OSError("We couldn't connect to 'https://huggingface.co'\nlong story")

        monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
        with pytest.raises(UserError) as caught:
            load_hub("openai-community/gpt2", "main")
        for part in ("openai-community/gpt2", "couldn't connect", "--profile cpu", "a local"):
            assert part in str(caught.value)
        assert "long story" not in str(caught.value)


class TestPositionIds:
    def logits(self, model: Any, pad: Any) -> torch.Tensor:
        ids, mask = pad([SHORT, LONG], torch.device("cpu"))
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask).logits
        return torch.stack([logits[0][mask[0] == 1][-1], logits[1][mask[1] == 1][-1]])

    def test_padding_side_does_not_change_the_distribution(self) -> None:
        model = enlarged()
        alone = torch.stack([model(torch.tensor([r])).logits[0, -1] for r in (SHORT, LONG)])
        without = self.logits(model, left_pad)
        assert (without - alone).abs().max() > 0.1  # the bug is there
        install_position_ids(model)
        install_position_ids(model)
        assert len(model.transformer._forward_pre_hooks) == 1
        for pad in (left_pad, right_pad):
            torch.testing.assert_close(
                self.logits(model, pad).log_softmax(-1),
                alone.log_softmax(-1),
                atol=1e-5,
                rtol=0,
            )

    def test_with_a_cache_only_new_columns_get_positions(self) -> None:
        model = enlarged()
        install_position_ids(model)
        ids, mask = left_pad([SHORT, LONG], torch.device("cpu"))
        with torch.no_grad():
            whole = model(input_ids=ids, attention_mask=mask).logits[:, -1]
            past = model(input_ids=ids[:, :-1], attention_mask=mask[:, :-1], use_cache=True)
            step = model(
                input_ids=ids[:, -1:],
                attention_mask=mask,
                past_key_values=past.past_key_values,
                use_cache=True,
            ).logits[:, -1]
        torch.testing.assert_close(step, whole, atol=1e-5, rtol=0)

    def test_rotary_models_are_left_alone(self) -> None:
        config = LlamaConfig(
            vocab_size=19,
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
        model = LlamaForCausalLM(config)
        install_position_ids(model)
        assert not model.model._forward_pre_hooks


class TestReward:
    def test_starts_with_the_backbone_of_the_policy(self, tmp_path: Path) -> None:
        folder = tiny.start_folder(tmp_path)
        policy, _ = load_policy(folder)
        first, _, added = init_reward(folder, seed=0)
        again, _, _ = init_reward(folder, seed=0)
        other, _, _ = init_reward(folder, seed=1)
        assert not added
        assert weights_digest(first.base_model) == weights_digest(policy.base_model)
        assert weights_digest(first) == weights_digest(again) != weights_digest(other)
        assert first.score.weight.shape == (1, 32)
        assert float(first.score.weight.detach().abs().max()) < 5 * 33**-0.5

    def test_a_pad_token_of_its_own_lets_eos_be_scored(self, tmp_path: Path) -> None:
        tokenizer = tiny.tokenizer()
        tokenizer.pad_token = None
        save_model(enlarged(pad_token_id=None), tokenizer, tmp_path / "policy")
        model, tokenizer, added = init_reward(tmp_path / "policy", seed=0)
        assert added
        assert tokenizer.pad_token_id == model.config.pad_token_id == 19
        assert model.get_input_embeddings().num_embeddings == 20
        save_model(model, tokenizer, tmp_path / "reward")
        model, tokenizer = load_reward(tmp_path / "reward")
        assert tokenizer.pad_token_id == 19
        ids, mask = right_pad([[5, 6, 0], LONG], torch.device("cpu"), tokenizer.pad_token_id)
        with torch.no_grad():
            padded = model(input_ids=ids, attention_mask=mask).logits[0, 0]
            hidden = model.base_model(torch.tensor([[5, 6, 0]])).last_hidden_state[0, -1]
            at_eos = model.score(hidden)[0]
        torch.testing.assert_close(padded, at_eos, atol=1e-5, rtol=0)


def test_weights_that_are_not_there_are_not_drawn_at_random(tmp_path: Path) -> None:
    start = tiny.start_folder(tmp_path / "m")  # a language model: it has no score head
    config = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps({**config, "num_labels": 1}))
    with pytest.raises(UserError, match=r"its weights lack score\.weight"):
        load_reward(start)


class TestUnusable:
    """Folders that transformers would make something of, or nothing, without saying so."""

    def folder(self, tmp_path: Path) -> Path:
        return tiny.start_folder(tmp_path)

    def test_without_the_tokenizers_files(self, tmp_path: Path) -> None:
        folder = self.folder(tmp_path)
        for file in folder.glob("*token*"):
            file.unlink()
        with pytest.raises(UserError, match=r"tokenizer makes nothing of a text"):
            load_policy(folder)

    @pytest.mark.parametrize("kind", ["no_such_kind", "t5"])
    def test_of_a_kind_that_is_no_causal_model(self, kind: str, tmp_path: Path) -> None:
        folder = self.folder(tmp_path)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "model_type": kind}))
        with pytest.raises(UserError, match=r"cannot load it as a causal language model|lack"):
            load_policy(folder)

    def test_with_code_of_its_own(self, tmp_path: Path) -> None:
        folder = self.folder(tmp_path)
        config = json.loads((folder / "config.json").read_text())
        own = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
        changed = {**config, "model_type": "evil", "auto_map": own}
        (folder / "config.json").write_text(json.dumps(changed))
        (folder / "evil.py").write_text("raise SystemExit('ran')")
        with pytest.raises(UserError, match="code of its own, which is not run here"):
            load_policy(folder)


def test_of_the_hub_too_a_model_without_all_its_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.start_folder(tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.h.0.mlp.c_fc.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    with pytest.raises(UserError, match=r"lack transformer\.h\.0\.mlp\.c_fc\.weight"):
        load_hub("someone/model", "main")
