"""Loading, saving and fingerprinting models: local safetensors, no remote code, no dropout."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from alignbench.errors import UserError
from alignbench.models.folder import hub_snapshot
from alignbench.models.lora import WithoutAdapter, has_lora, merged_state_dict

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
#: The score head of the architectures that transformers gives one reward.
HEAD = "score.weight"
_DROPOUT = re.compile(r"dropout|_pdrop$|layerdrop")
# What wrappers (DDP, torch.compile, FSDP) put in front of parameter names.
_WRAPPER_PREFIX = re.compile(r"(^|\.)(module|_orig_mod|_fsdp_wrapped_module)\.")


def device() -> torch.device:
    """Where models live: the first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_policy(
    folder: Path, precision: str = "fp32"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The causal LM and tokenizer of a folder written by `save_model`, ready to use.

    Dropout is 0 in the config (TRL's SFT has no switch, and GRPO would sample with it on), the
    model is in eval mode on `device()`, and `install_position_ids` has been applied.

    Args:
        folder: the folder with config.json, itself; for a stage's output pass ``out / "model"``.
        precision: dtype of the weights. Load in fp32 what is going to be trained, mixed precision
            is the trainer's; bf16 / fp16 weights are for inference.

    Raises:
        UserError: no such folder, or no safetensors weights in it.
    """
    tokenizer = load_tokenizer(folder)
    model = _from_folder(AutoModelForCausalLM, folder, precision)
    return _prepare(model), tokenizer


def load_reward(
    folder: Path, precision: str = "fp32"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The scalar reward model (num_labels = 1) and tokenizer of a folder; else as `load_policy`.

    The tokenizer's pad token is never EOS: transformers finds the token to score by pad id.
    """
    tokenizer = load_tokenizer(folder)
    model = _from_folder(AutoModelForSequenceClassification, folder, precision)
    return _prepare(model), tokenizer


def init_reward(folder: Path, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, bool]:
    """A reward model (fp32) with the backbone of the policy in `folder` and a new score head.

    The head is drawn from N(0, 1 / (d + 1)) with `seed` (Ziegler et al. 2019, section 2.1). A
    tokenizer that pads with EOS gets a pad token of its own here, after the last token of the
    policy: transformers scores the last token that is not the pad id, and that must be EOS.

    Returns:
        model, tokenizer, and whether a pad token was added.

    Raises:
        RuntimeError: the backbone's weights are not the policy's.
    """
    policy, tokenizer = load_policy(folder)
    model = _from_folder(AutoModelForSequenceClassification, folder, "fp32", [HEAD], num_labels=1)
    if weights_digest(model.base_model) != weights_digest(policy.base_model):
        raise RuntimeError(f"{folder}: the reward model did not take over the policy's backbone")
    generator = torch.Generator().manual_seed(seed)
    weight = model.score.weight
    std = (weight.shape[1] + 1) ** -0.5
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=generator) * std)
    added = tokenizer.pad_token_id == tokenizer.eos_token_id
    if added:
        tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
        # The embedding may have spare rows already.
        rows = max(len(tokenizer), model.get_input_embeddings().num_embeddings)
        model.resize_token_embeddings(rows, mean_resizing=False)
    model.config.pad_token_id = tokenizer.pad_token_id
    return _prepare(model), tokenizer, added


def load_hub(name: str, revision: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The causal LM `name` of the Hugging Face hub (or of its local cache), in fp32.

    Raises:
        UserError: the hub cannot be reached, or has no such model with safetensors weights.
    """
    return load_policy(hub_snapshot(name, revision, "model"))


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder; without a pad token of its own it pads with EOS.

    Padding with EOS is harmless as long as padding is masked by length, which everything here
    does; only reward models need a token of their own (`load_reward`).
    """
    _check_folder(folder)
    with _known_model(folder):
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    return _with_pad(tokenizer)


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights (safetensors), config and tokenizer, with nothing in them about this machine.

    The bytes written depend on weights, config and tokenizer alone, so that artifacts of equal
    runs are equal. An adapter is merged into what is written; the model in memory keeps it.
    """
    model.config._name_or_path = ""
    model.config.use_cache = True  # the Trainer turns it off for good
    tokenizer.name_or_path = ""
    merged = merged_state_dict(model) if has_lora(model) else None
    model.save_pretrained(str(folder), state_dict=merged)
    tokenizer.save_pretrained(str(folder))


def weights_digest(model: torch.nn.Module | WithoutAdapter) -> str:
    """SHA-256 over name, dtype, shape and bytes of every weight, in order of name.

    Wrappers' name prefixes are dropped, an adapter counts as merged, and of weights that share
    storage (tied embeddings) only the first name counts, so the digest is that of the weights,
    however they are held or hooked, and of what `save_model` writes.
    """
    digest = hashlib.sha256()
    seen: set[tuple[int, tuple[int, ...]]] = set()
    state = merged_state_dict(model) if has_lora(model) else model.state_dict()
    weights = {_WRAPPER_PREFIX.sub(r"\1", k): v for k, v in state.items()}
    for name in sorted(weights):
        tensor = weights[name].detach()
        storage = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() and storage in seen:
            continue
        seen.add(storage)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # A view as bytes, since numpy has no bfloat16.
        raw = tensor.cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()


def install_position_ids(model: PreTrainedModel) -> None:
    """Make a model with absolute positions derive them from the attention mask when not given.

    GPT-2 numbers columns, padding included, so a left-padded row gets other probabilities than
    the same row alone (trl-notes, bite 2; TRL passes no position_ids). Models with rotary
    positions see only distances and are left alone. The hook sits on the backbone, so every head
    has it. Idempotent.
    """
    backbone = model.base_model
    accepts = "position_ids" in inspect.signature(type(backbone).forward).parameters
    rotary = getattr(model.config, "rope_parameters", None) is not None
    if not accepts or rotary or _derive_position_ids in backbone._forward_pre_hooks.values():
        return
    backbone.register_forward_pre_hook(_derive_position_ids, with_kwargs=True)


def _derive_position_ids(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    mask = kwargs.get("attention_mask")
    if kwargs.get("position_ids") is not None or mask is None or mask.ndim != 2:
        return None
    inputs = args[0] if args else kwargs.get("input_ids")
    if inputs is None:
        inputs = kwargs["inputs_embeds"]
    positions = (mask.long().cumsum(-1) - 1).clamp(min=0)
    # With a cache the mask covers past and new columns, the inputs only the new ones.
    return args, {**kwargs, "position_ids": positions[:, -inputs.shape[1] :]}


def _from_folder(
    auto: Any, folder: Path, precision: str, new: Sequence[str] = (), **changes: Any
) -> PreTrainedModel:
    """A model whose weights are all in the folder, but those named in `new`."""
    _check_folder(folder)
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{folder}: no safetensors weights there. Pickled checkpoints are not loaded; "
            "convert it with `model.save_pretrained(folder)` of transformers."
        )
    model: PreTrainedModel
    with _known_model(folder):
        config = AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, **changes
        )
        model, report = auto.from_pretrained(
            str(folder),
            config=_without_dropout(config),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=_DTYPES[precision],
            output_loading_info=True,
        )
    # transformers draws what is missing at random, with no more than a line in a log.
    if missing := sorted(set(report["missing_keys"]) - set(new)):
        raise UserError(
            f"{folder}: its weights lack {', '.join(missing[:5])}; is it a model of this kind?"
        )
    return model


@contextmanager
def _known_model(folder: Path) -> Iterator[None]:
    """What transformers has no class for is the user's to know, and not a bug."""
    try:
        yield
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{folder}: transformers cannot load it as a causal language model without code of its "
            f"own, which is not run here: {str(error).splitlines()[0]}"
        ) from error


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder}: not a model folder (it has no config.json). Give the folder that "
            "`save_pretrained` of transformers wrote."
        )


def _without_dropout(config: Any) -> Any:
    for key, value in config.to_dict().items():
        if _DROPOUT.search(key) and isinstance(value, float):
            setattr(config, key, 0.0)
    return config


def _prepare(model: PreTrainedModel) -> PreTrainedModel:
    install_position_ids(model)
    return model.to(device()).eval()


def _with_pad(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    # From a folder without its files transformers makes a tokenizer that knows no word.
    if not tokenizer("Hello world")["input_ids"]:
        raise UserError(
            "model: its tokenizer makes nothing of a text; are its files there? Save them beside "
            "the model with `tokenizer.save_pretrained(folder)`."
        )
    if tokenizer.eos_token_id is None:
        raise UserError("model: its tokenizer has no end-of-sequence token; choose another model.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer
