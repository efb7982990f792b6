"""What `test_real_vllm` lets the engine do in vLLM's environment; prints JSON after FOUND.

That environment has vLLM and torch; what else alignbench needs comes from the tests' own one, whose
packages are put behind it on the path.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def sampled(model: str, given: dict[str, Any]) -> dict[str, Any]:
    """Greedy and drawn completions of a model, before and after its weights change."""
    import torch

    from alignbench.engines.in_process import VllmSampler
    from alignbench.engines.settings import Settings
    from alignbench.metering.meter import Meter
    from alignbench.metering.watch import watch
    from alignbench.models.decode import Decoding
    from alignbench.models.load import load_policy
    from tests.engines.disturbed import disturb

    policy, tokenizer = load_policy(Path(model))
    prompts, tokens = given["prompts"], given["tokens"]
    eos, found = int(tokenizer.eos_token_id), {}
    threads = torch.get_num_threads()
    with VllmSampler(Settings(Path(model), given["precision"], 128, 64, 0.3), eos) as engine:
        meter = Meter()
        with watch(meter):
            greedy = engine.sample(prompts, Decoding(tokens, 0.0), 1)
        found["bill"] = meter.bill()
        drawn = engine.sample(prompts, Decoding(tokens, 0.7), 1)
        found["alone"] = [engine.sample(prompts[:1], Decoding(tokens, 0.7), 1)[0].ids, drawn[0].ids]
        found["first"] = [
            [
                done.ids[0]
                for done in engine.sample(
                    [given["opening"]] * given["draws"], Decoding(1, *heat), 2
                )
            ]
            for heat in given["heats"]
        ]
        disturb(policy)
        engine.update(policy)
        after = engine.sample(prompts, Decoding(tokens, 0.0), 1)
    found["left"] = [torch.get_num_threads() == threads, not torch.distributed.is_initialized()]
    for name, completions in (("greedy", greedy), ("drawn", drawn), ("after", after)):
        found[name] = [[done.ids, done.finished, done.logprobs] for done in completions]
    return found


def trained(scratch: str) -> dict[str, Any]:
    """Three rollouts of GRPO on a tiny GPT-2; a second engine in the same process."""
    from alignbench.engines.opening import policy_samplers
    from alignbench.methods.grpo import GRPO
    from alignbench.models.load import weights_digest
    from tests import tiny
    from tests.engines.stage import context

    size = {"n_embd": 64}  # heads of 32, the smallest that vLLM has on a CPU
    folder = tiny.start_folder(Path(scratch), **size)
    method = GRPO(learning_rate=1e-2, rollouts=3, prompts_per_rollout=4, samples_per_prompt=4)
    with policy_samplers(context("vllm"), folder, "fp32", 20) as sampler:
        subject, inputs, meter = tiny.train(Path(scratch), method, size=size, sampler=sampler)
    return {
        "error": inputs.facts["rollout_logprob_error"],
        "bill": meter.bill(),
        "changed": subject.digest != weights_digest(subject.model),
    }


def main() -> None:
    sys.path.append(sys.argv[1])
    model, scratch = sys.argv[2], sys.argv[3]
    found = sampled(model, json.load(sys.stdin))
    found["trained"] = trained(scratch)
    print("FOUND " + json.dumps(found))


if __name__ == "__main__":
    main()
