"""vLLM in this process (tried with 0.32, on CPU)."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import torch

from alignbench.engines.cost import DecodingCost, apart
from alignbench.engines.probe import check_weights
from alignbench.engines.sampler import Progress
from alignbench.engines.settings import Settings, row_seed, weights_of
from alignbench.engines.vllm_package import import_vllm
from alignbench.errors import UserError
from alignbench.models.decode import Completion, Decoding

CHUNK = 8
"""Rows of a request, in multiples of what is under way at once: between two looks at progress."""


class VllmSampler:
    """A context manager; the engine is loaded when it is made, and gone after its end.

    Random numbers are vLLM's own: with a temperature, a row's completion is another draw of the
    same distribution than `models.decode` makes. `Completion.logprobs` are empty with `top_p`
    below 1, where vLLM tells them only after it.

    Args:
        settings: of the engine.
        eos: the token that ends a completion; no other does.

    Raises:
        UserError: vLLM is not installed or too old, or the model has too few positions.
    """

    def __init__(self, settings: Settings, eos: int) -> None:
        self._vllm = import_vllm("engine", "stop_token_ids", "stop at a token")
        self._eos = eos
        self._settings = settings
        self._chunk = CHUNK * settings.rows
        self._cost = DecodingCost.of(settings.folder)
        # vLLM on a CPU puts a stub in its place, and the worker's next stage sets its threads.
        self._set_num_threads = torch.set_num_threads
        with apart():
            self._llm = self._vllm.LLM(
                **settings.arguments(), skip_tokenizer_init=True, disable_log_stats=True
            )

    def sample(
        self,
        prompt_ids: Sequence[Sequence[int]],
        decoding: Decoding,
        seed: int,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """As `Sampler` says."""
        prompts = [{"prompt_token_ids": list(ids)} for ids in prompt_ids]
        parameters = [self._parameters(decoding, row_seed(seed, i)) for i in range(len(prompts))]
        completions: list[Completion] = []
        for start in range(0, len(prompts), self._chunk):
            part = slice(start, start + self._chunk)
            with apart():
                outputs = self._llm.generate(prompts[part], parameters[part], use_tqdm=False)
            completions += [self._completion(output.outputs[0]) for output in outputs]
            if progress is not None:
                progress(len(completions), len(prompts))
        self._cost.charge(prompt_ids, completions)
        return completions

    def update(self, model: Any) -> None:
        """Sample from the weights of `model` from now on; an adapter counts as merged.

        Raises:
            UserError: vLLM is too old.
            RuntimeError: what it samples from now is not `model`.
        """
        with apart():
            try:
                given = {"weights_iterator": iter(weights_of(model).items())}
                self._llm.collective_rpc("reload_weights", kwargs=given)
            except TypeError as error:
                raise UserError(
                    f"engine: this vLLM cannot be given new weights ({error}): "
                    "pip install --upgrade vllm, or set engine to transformers"
                ) from error
            if self._llm.reset_prefix_cache() is False:
                raise RuntimeError("vLLM keeps keys and values of the old weights")
        check_weights(self, model, self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free its memory, and undo what it did to this process."""
        del self._llm
        gc.collect()
        self._vllm.distributed.cleanup_dist_env_and_memory()
        torch.set_num_threads = self._set_num_threads

    def _parameters(self, decoding: Decoding, seed: int) -> Any:
        return self._vllm.SamplingParams(
            max_tokens=decoding.max_new_tokens,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            seed=seed,
            logprobs=0 if decoding.top_p == 1 else None,  # 0: of the sampled token alone
            stop_token_ids=[self._eos],
            ignore_eos=True,  # that is, the model folder's
            detokenize=False,
        )

    def _completion(self, output: Any) -> Completion:
        ids = list(output.token_ids)
        told = output.logprobs or []
        logprobs = [float(step[token].logprob) for token, step in zip(ids, told, strict=False)]
        return Completion(ids, ids[-1] == self._eos, logprobs)
