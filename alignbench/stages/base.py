"""Stage `base`: the model everything starts from, pre-trained here or taken as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)

from alignbench import pretrained
from alignbench.errors import UserError
from alignbench.files import read_jsonl
from alignbench.models.folder import folder_digest
from alignbench.models.load import (
    device,
    load_hub,
    load_policy,
    save_model,
    weights_digest,
)
from alignbench.models.logprobs import token_logprobs
from alignbench.models.package import package_folder
from alignbench.models.text import odd_turn_end
from alignbench.models.tokenizer import train_tokenizer
from alignbench.recipe.schema import (
    HubModel,
    ModelSection,
    PackageModel,
    Pretrain,
    ScratchModel,
)
from alignbench.stage import StageContext
from alignbench.training.common import (
    LogCallback,
    attach,
    json_log,
    trainer_arguments,
    write_json,
)

_MODEL: TypeAdapter[ModelSection] = TypeAdapter(ModelSection)


def run(ctx: StageContext) -> None:
    """Make ``model/``, ``log.jsonl`` (empty unless trained) and ``metrics.json``.

    Raises:
        UserError: the hub or folder has no usable model, or the model has too few positions.
    """
    spec = _MODEL.validate_python(ctx.config["model"])
    facts: dict[str, Any] = {"source": spec.source}
    with json_log(ctx.out / "log.jsonl") as log:
        if isinstance(spec, ScratchModel):
            pretrain = Pretrain.model_validate(ctx.config["pretrain"])
            if pretrain.shipped and _shipped_fits(ctx):
                model, tokenizer = load_policy(pretrained.FOLDER / "model")
                facts.update(shipped=True, **pretrained.record()["measured"])
            else:
                model, tokenizer, found = _pretrain(ctx, spec, pretrain, log)
                facts.update(found)
        elif isinstance(spec, HubModel):
            # The commit that is in the stage's key, whatever the branch is by now.
            commit = ctx.config["content"] or spec.revision
            model, tokenizer = load_hub(spec.name, commit)
            facts.update(name=spec.name, revision=spec.revision, commit=commit)
        elif isinstance(spec, PackageModel):
            model, tokenizer = load_policy(package_folder(spec.name))
            facts.update(name=spec.name)
        else:
            model, tokenizer = load_policy(Path(spec.path).expanduser())
    _check_positions(model, ctx)
    _check_tokens(model, tokenizer)
    if (odd := odd_turn_end(tokenizer)) is not None:
        ctx.note("warning", odd)
    save_model(model, tokenizer, ctx.out / "model")
    facts.update(
        model_digest=folder_digest(ctx.out / "model"),
        parameters=sum(p.numel() for p in model.parameters()),
        vocab_size=len(tokenizer),
        weights_digest=weights_digest(model),
    )
    write_json(ctx.out / "metrics.json", facts)


def _shipped_fits(ctx: StageContext) -> bool:
    """Whether the shipped checkpoint is what pre-training here would make; either way, say so."""
    wanted = pretrained.provenance(ctx.config["model"], ctx.config["pretrain"], ctx.inputs["data"])
    differs = pretrained.mismatch(wanted)
    if differs is None:
        ctx.note(
            "substitution",
            "not pre-trained here: the checkpoint that ships with alignbench was made by this "
            "stage with the same model, settings and corpus, and is used instead; to pre-train, "
            "--set pretrain.shipped=false",
        )
    else:
        ctx.note(
            "warning",
            f"pre-training here: the checkpoint that ships with alignbench differs in {differs}",
        )
    return differs is None


def _check_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Every token of the tokenizer, added ones too, has an embedding."""
    rows, largest = model.get_input_embeddings().num_embeddings, max(tokenizer.get_vocab().values())
    if largest >= rows:
        raise UserError(
            f"model: its tokenizer has token ids up to {largest}, and the model {rows} embeddings: "
            "tokens were added and the model not resized. Resize it "
            "(`model.resize_token_embeddings(len(tokenizer))`) and save both together."
        )


def _check_positions(model: PreTrainedModel, ctx: StageContext) -> None:
    needed = ctx.config["max_prompt_tokens"] + ctx.config["max_response_tokens"]
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and needed > positions:
        raise UserError(
            f"model: it has {positions} positions, but max_prompt_tokens + max_response_tokens is "
            f"{needed}. Lower one of them, or choose a model with more positions."
        )


def _pretrain(
    ctx: StageContext, spec: ScratchModel, settings: Pretrain, log: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, Any]]:
    """Tokenizer and model from nothing but the corpus; returns them and what was measured."""
    texts = [row["text"] for row in read_jsonl(ctx.inputs["data"] / "corpus.jsonl")]
    tokenizer = train_tokenizer(texts, spec.vocab_size, spec.n_positions)
    blocks = pack(tokenizer, texts, settings.block_size)
    torch.manual_seed(settings.seed)
    model = GPT2LMHeadModel(scratch_config(spec, tokenizer)).to(device())
    _train(ctx, model, blocks, settings, log)
    model.eval()
    heldout = [row["text"] for row in read_jsonl(ctx.inputs["data"] / "heldout.jsonl")]
    found = {
        "corpus_tokens": blocks.numel(),
        "trained_tokens": settings.steps * settings.batch_size * settings.block_size,
        "heldout_loss": heldout_loss(model, tokenizer, heldout),
    }
    return model, tokenizer, found


def scratch_config(spec: ScratchModel, tokenizer: PreTrainedTokenizerBase) -> GPT2Config:
    """GPT-2 without dropout, at the size of `spec`."""
    return GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=spec.n_positions,
        n_embd=spec.n_embd,
        n_layer=spec.n_layer,
        n_head=spec.n_head,
        initializer_range=spec.initializer_range,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        # GPT-2's GELU in one fused kernel; transformers spells "gelu_new" out in eight. Training
        # at 0.6M parameters on one core: 11.3k tokens/s against 9.2k.
        activation_function="gelu_pytorch_tanh",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def pack(tokenizer: PreTrainedTokenizerBase, texts: list[str], block_size: int) -> torch.Tensor:
    """All documents, EOS before each, as one stream cut into blocks: int64 (n, block_size).

    The rest of the stream that fills no block is left out.

    Raises:
        UserError: the texts do not fill one block.
    """
    stream: list[int] = []
    for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]:
        stream.append(tokenizer.eos_token_id)
        stream += ids
    count = len(stream) // block_size
    if count == 0:
        raise UserError(
            f"pretrain: the corpus has {len(stream)} tokens, less than one block of {block_size}; "
            "raise data.corpus_documents"
        )
    cut = np.asarray(stream[: count * block_size], dtype=np.int64)
    return torch.from_numpy(cut.reshape(count, block_size))


def _train(
    ctx: StageContext, model: PreTrainedModel, blocks: torch.Tensor, settings: Pretrain, log: Any
) -> None:
    """AdamW, linear warm-up, then linear to zero, through transformers' Trainer.

    (Its overhead over a bare loop was 7 % of a step of 100 ms, measured with one thread.)
    """
    arguments = TrainingArguments(
        **trainer_arguments(ctx.out / "scratch", ctx.config["precision"], settings.seed),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup_fraction,  # below 1: a fraction
        adam_beta2=0.98,
        weight_decay=0.0,
        logging_steps=max(1, settings.steps // 100),
        remove_unused_columns=False,
    )
    trainer = Trainer(
        model=model, args=arguments, train_dataset=_Blocks(blocks), data_collator=_collate
    )
    attach(trainer, LogCallback(log, ctx.progress))
    set_seed(settings.seed)
    trainer.train()


class _Blocks(torch.utils.data.Dataset[torch.Tensor]):
    """Rows of a tensor, handed out a batch at a time."""

    def __init__(self, blocks: torch.Tensor) -> None:
        self.blocks = blocks

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.blocks[index]


def _collate(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    ids = torch.stack(rows)
    return {"input_ids": ids, "labels": ids}


def heldout_loss(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> float:
    """Mean negative log-likelihood in nats per token, EOS at the end of each text included."""
    eos = tokenizer.eos_token_id
    room = model.config.max_position_embeddings - 1
    encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    targets = [[*ids, eos][:room] for ids in encoded]
    logprobs = token_logprobs(model, [[eos]] * len(targets), targets, batch_size=32)
    return -float(torch.cat(logprobs).double().mean())
