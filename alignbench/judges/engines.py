"""Engines of local judges: what probability a causal LM gives to a few next tokens."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

import torch

from alignbench.engines.choice import vllm_missing
from alignbench.engines.vllm_package import DTYPES, import_vllm
from alignbench.judges.labels import Ids, Labels, StepLogprobs, Steps
from alignbench.models.load import load_policy

EngineName = Literal["transformers", "vllm"]
Note = Callable[[str, str], None]
WIDTH = 64  # tokens


class Engine(Protocol):
    """A loaded model. Values depend on no other question, batch size or padding, up to rounding."""

    def logprobs(
        self, questions: Sequence[Sequence[int]], labels: Labels
    ) -> Iterator[tuple[int, StepLogprobs]]:
        """(number of a question, log-probabilities of `labels.steps` after it), as they come.

        Log-probabilities are natural, at temperature 1 and over the whole vocabulary. Each
        question comes once, in any order.
        """
        ...


class TransformersEngine:
    """The model in this process, by transformers and torch.

    Every question is padded at its end, unseen by what comes before, to the next multiple of
    `WIDTH`, and goes with others of that width. So kernels meet a question in one shape, whatever
    it goes with: on a CPU, bf16 ratings at batch sizes 1, 4 and 16 were within 2e-5 of each other,
    where padding to the longest moved them by up to 0.2 (SmolLM2-135M, 32 answers).

    The head works in fp32 whatever `precision` is, and only where it is read: bf16 logits come in
    steps of 1/8 and more, which is coarser than what separates two answers.

    Args:
        folder: of transformers, with safetensors.
        precision: of all weights but the head's.
        batch_size: questions that go through the model at once.

    Raises:
        UserError: the folder holds no model.
    """

    def __init__(self, folder: Path, precision: str, batch_size: int) -> None:
        self._model, _ = load_policy(folder, precision)
        self._batch_size = batch_size
        limit = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        self._limit = limit if isinstance(limit, int) else sys.maxsize
        self._columns = torch.empty(0, 0)  # (rows, columns) that the head is applied to
        self._fit_head()

    def logprobs(
        self, questions: Sequence[Sequence[int]], labels: Labels
    ) -> Iterator[tuple[int, StepLogprobs]]:
        """As `Engine` says; the longest questions come first, so that memory ends early."""
        for width, rows in self._batches([len(q) + labels.depth for q in questions]):
            found: list[dict[Ids, Sequence[float]]] = [{} for _ in rows]
            for path in labels.paths:
                texts = [[*questions[i], *path] for i in rows]
                self._read(found, texts, width, path, labels.steps)
            yield from zip(rows, found, strict=True)

    def _batches(self, lengths: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """(width, row numbers) of at most `batch_size` rows each."""
        by_width: dict[int, list[int]] = {}
        for row, length in enumerate(lengths):
            width = min(-(-length // WIDTH) * WIDTH, self._limit)
            by_width.setdefault(width, []).append(row)
        for width in sorted(by_width, reverse=True):
            rows = by_width[width]
            for start in range(0, len(rows), self._batch_size):
                yield width, rows[start : start + self._batch_size]

    @torch.inference_mode()
    def _read(
        self,
        found: list[dict[Ids, Sequence[float]]],
        texts: Sequence[Sequence[int]],
        width: int,
        path: Ids,
        steps: Steps,
    ) -> None:
        """Add what one pass over questions that end in `path` shows of the steps along it."""
        device = self._model.device
        rows = [[*text, *[0] * (width - len(text))] for text in texts]
        ends = torch.tensor([len(text) for text in texts], device=device)
        self._columns = ends[:, None] + torch.arange(-len(path) - 1, 0, device=device)
        ids = torch.tensor(rows, device=device)
        output = self._model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        logprobs = output.logits.float().log_softmax(-1)  # (rows, len(path) + 1, V)
        for done in range(len(path) + 1):
            wanted = steps.get(path[:done])
            if wanted is not None:
                values = logprobs[:, done, list(wanted)].tolist()
                for row, figures in zip(found, values, strict=True):
                    row[path[:done]] = figures

    def _fit_head(self) -> None:
        """Put a fp32 head on the model, apart from the embedding, that sees `_columns` only."""
        head = self._model.get_output_embeddings()
        if next(head.parameters()).dtype != torch.float32:
            head = copy.deepcopy(head).float()
            self._model.set_output_embeddings(head)

        def pick(_: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            rows = torch.arange(len(self._columns), device=self._columns.device)[:, None]
            return args[0][rows, self._columns].float(), *args[1:]

        head.register_forward_pre_hook(pick)


class VllmEngine:
    """The model by vLLM (tried with 0.32), in this process.

    Every step of `Labels` is a request for one token, of which vLLM reports the log-probabilities
    of the tokens asked for; the requests of one question share its cached beginning. vLLM batches
    as it likes, so in half precision values change a little with what goes together.

    Args:
        folder: as for `TransformersEngine`.
        precision: of all weights but the head's, which works in fp32 where vLLM can do that.
        batch_size: requests that are in the model at once.
        longest: tokens of the longest question and its answer.

    Raises:
        UserError: vLLM is not installed, or too old.
    """

    def __init__(self, folder: Path, precision: str, batch_size: int, longest: int) -> None:
        self._vllm = import_vllm(
            "judge.engine", "logprob_token_ids", "report the probabilities of chosen tokens"
        )
        self._batch_size = batch_size
        self._llm = self._vllm.LLM(
            model=str(folder),
            dtype=DTYPES[precision],
            max_model_len=longest + 1,  # and the token that is drawn
            max_num_seqs=batch_size,
            enable_prefix_caching=True,
            enforce_eager=not torch.cuda.is_available(),
            trust_remote_code=False,
            disable_log_stats=True,
            seed=0,
            hf_overrides={"head_dtype": "float32"},
        )

    def logprobs(
        self, questions: Sequence[Sequence[int]], labels: Labels
    ) -> Iterator[tuple[int, StepLogprobs]]:
        """As `Engine` says, in chunks of some batches."""
        chunk = 8 * self._batch_size
        for start in range(0, len(questions), chunk):
            part = questions[start : start + chunk]
            yield from enumerate(self._chunk(part, labels), start)

    def _chunk(self, questions: Sequence[Sequence[int]], labels: Labels) -> list[StepLogprobs]:
        prompts, settings = [], []
        for question in questions:
            for prefix, tokens in labels.steps.items():
                prompts.append({"prompt_token_ids": [*question, *prefix]})
                settings.append(
                    self._vllm.SamplingParams(
                        max_tokens=1,
                        temperature=0.0,
                        logprob_token_ids=list(tokens),
                        detokenize=False,
                    )
                )
        outputs = iter(self._llm.generate(prompts, settings, use_tqdm=False))
        found: list[StepLogprobs] = []
        for _ in questions:
            steps = {}
            for prefix, tokens in labels.steps.items():
                given = next(outputs).outputs[0].logprobs[0]
                steps[prefix] = [float(given[token].logprob) for token in tokens]
            found.append(steps)
        return found


def choose_engine(wanted: Literal["auto", "transformers", "vllm"], note: Note) -> EngineName:
    """The engine that a recipe's `engine` means on this machine; "auto" says what it came to.

    "auto" is vLLM where there is CUDA and vLLM is installed, else transformers. The engine is part
    of a judge's identity, since its rounding decides close calls.
    """
    if wanted != "auto":
        return wanted
    why = vllm_missing()
    if why is None:
        return "vllm"
    note("substitution", f"the judge's engine is transformers, as {why}")
    return "transformers"
