"""Whether an engine that was given new weights samples from them.

That can fail in silence: vLLM packs weights when it loads them, and a packed copy that is not made
again is the old model (seen with vLLM 0.32 on a CPU, of a head tied to its embedding).
"""

from __future__ import annotations

from typing import Any

import torch

from alignbench.engines.sampler import Sampler
from alignbench.engines.settings import Settings
from alignbench.metering.engine import uncounted
from alignbench.models.decode import Decoding

TOLERANCE = {"fp32": 1e-3, "bf16": 0.5, "fp16": 0.1}
"""Largest difference of a log-probability between the engine and the model in this process."""
PROMPT, TOKENS = 8, 4
STRIDE = 7919
"""Between the ids of the prompt, which are spread over the vocabulary. (A row of special tokens
makes activations so large that fp32 alone differs from fp64 by 5e-4; here it is 1e-5.)"""


def check_weights(sampler: Sampler, model: Any, settings: Settings) -> None:
    """Compare the log-probabilities of a few sampled tokens with the model's own; on nobody's bill.

    Raises:
        RuntimeError: they differ by more than the rounding of the engine's precision.
    """
    length = max(1, min(PROMPT, settings.longest - TOKENS))
    vocabulary = model.config.get_text_config().vocab_size
    prompt = [i * STRIDE % vocabulary for i in range(1, length + 1)]
    with uncounted(), torch.inference_mode():
        (found,) = sampler.sample([prompt], Decoding(TOKENS, 1.0), 0)
        ids = torch.tensor([[*prompt, *found.ids]], device=model.device)
        logits = model(input_ids=ids, use_cache=False).logits[0, length - 1 : -1].float()
        chosen = ids[0, length:, None]
        own = logits.log_softmax(-1).gather(-1, chosen)[:, 0].cpu()
    limit = TOLERANCE[settings.precision]
    error = float((own - torch.tensor(found.logprobs)).abs().max())
    if not error <= limit:
        raise RuntimeError(
            f"engine: vLLM was given new weights and samples from others: log-probabilities differ "
            f"by {error:.2g} (limit {limit}). Set engine to transformers"
        )
