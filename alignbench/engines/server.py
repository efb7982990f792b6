"""vLLM as a server of its own, which lives and dies with the stage (tried with 0.32, on CPU).

Its interpreter may be another than ours (environment variable ALIGNBENCH_VLLM_PYTHON), for a vLLM
whose packages do not go together with ours. It listens on a socket in a folder that only this user
can enter, and on no port: none can be taken, no proxy is in the way, and nobody else can ask it to
load other weights.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors.torch import save_file

from alignbench.engines.cost import DecodingCost
from alignbench.engines.probe import check_weights
from alignbench.engines.sampler import Progress
from alignbench.engines.settings import Settings, row_seed, weights_of
from alignbench.engines.vllm_package import ENVIRONMENT, INSTALL
from alignbench.errors import UserError
from alignbench.models.decode import Completion, Decoding

PYTHON = "ALIGNBENCH_VLLM_PYTHON"
START_LIMIT = 900.0  # seconds; weights are read and, with CUDA, graphs are captured
STOP_LIMIT = 20.0  # seconds
ASK_LIMIT = 3600.0  # seconds for one answer
LINES = 20  # of the log, in errors

# The kernel ends the server when we end, however we end; that survives exec, but not fork.
_LAUNCH = (
    "import ctypes, os, sys\n"
    "if sys.platform == 'linux':\n"
    "    ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)\n"
    "if os.getppid() != int(sys.argv[1]):\n"
    "    sys.exit('started by a process that is gone')\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)


class VllmServer:
    """A context manager that holds a vLLM server; it is started when it is made.

    Completions carry no log-probabilities in `sample` unless `Decoding.top_p` is 1.

    Args:
        settings: of the engine.
        eos: the token that ends a completion; no other does.
        waiting: called as ``waiting(seconds, limit)`` while the server starts.

    Raises:
        UserError: the interpreter has no vLLM, or the server does not come up; with the last lines
            of its log.
    """

    def __init__(
        self,
        settings: Settings,
        eos: int,
        waiting: Callable[[float, float], None] | None = None,
    ) -> None:
        self._eos, self._settings = eos, settings
        self._cost = DecodingCost.of(settings.folder)
        self._home = Path(tempfile.mkdtemp(prefix="alignbench-vllm-"))  # ours alone, by its mode
        self._socket, self._log = self._home / "socket", self._home / "log"
        self._weights = self._home / "weights"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = self._start(settings)
            self._wait(waiting)
        except BaseException:
            self._stop()
            raise

    def sample(
        self,
        prompt_ids: Sequence[Sequence[int]],
        decoding: Decoding,
        seed: int,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """As `Sampler` says; one request for each row, `settings.rows` of them at once."""

        def ask(row: int) -> Completion:
            return self._completion(prompt_ids[row], decoding, row_seed(seed, row))

        completions = []
        with ThreadPoolExecutor(self._settings.rows) as pool:
            try:
                for completion in pool.map(ask, range(len(prompt_ids))):
                    completions.append(completion)
                    if progress is not None:
                        progress(len(completions), len(prompt_ids))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        self._cost.charge(prompt_ids, completions)
        return completions

    def update(self, model: Any) -> None:
        """Sample from the weights of `model` from now on; an adapter counts as merged.

        They go through a file in the server's folder.

        Raises:
            RuntimeError: what it samples from now is not `model`.
        """
        self._weights.mkdir(exist_ok=True)
        # Copies, since tied weights share memory, which the format cannot say.
        held = {name: tensor.cpu().clone() for name, tensor in weights_of(model).items()}
        save_file(held, str(self._weights / "model.safetensors"), metadata={"format": "pt"})
        renewed = {"method": "reload_weights", "kwargs": {"weights_path": str(self._weights)}}
        self._post("/collective_rpc", renewed)
        self._post("/reset_prefix_cache", {})
        check_weights(self, model, self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _start(self, settings: Settings) -> subprocess.Popen[bytes]:
        python = os.environ.get(PYTHON) or sys.executable
        options = [f for k, v in settings.arguments().items() for f in _option(k, v)]
        module = ["-m", "vllm.entrypoints.openai.api_server", "--uds", str(self._socket)]
        threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # the stage's
        # Development mode has the request that loads other weights.
        fixed = {"HF_HUB_OFFLINE": "1", "VLLM_SERVER_DEV_MODE": "1"}
        with self._log.open("wb") as log:
            try:
                return subprocess.Popen(
                    [python, "-c", _LAUNCH, str(os.getpid()), *module, *options],
                    env={**ENVIRONMENT, **os.environ, **threads, **fixed},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # a group of its own, to be ended as a whole
                )
            except OSError as error:
                raise UserError(f"{PYTHON}={python} cannot be started: {error}") from error

    def _wait(self, waiting: Callable[[float, float], None] | None) -> None:
        assert self._process is not None
        began = time.monotonic()
        while True:
            seconds = time.monotonic() - began
            if self._process.poll() is not None:
                raise self._failure("vLLM's server ended before it was ready")
            if seconds > START_LIMIT:
                raise self._failure(f"vLLM's server is not ready after {seconds:.0f} s")
            if self._socket.exists():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if self._request("GET", "/health", None, 5.0)[0] == 200:
                        return
            if waiting is not None:
                waiting(seconds, START_LIMIT)
            time.sleep(0.25)

    def _completion(self, prompt: Sequence[int], decoding: Decoding, seed: int) -> Completion:
        answer = self._post(
            "/v1/completions",
            {
                "prompt": list(prompt),
                "max_tokens": decoding.max_new_tokens,
                "temperature": decoding.temperature,
                "top_p": decoding.top_p,
                "seed": seed,
                "logprobs": 0 if decoding.top_p == 1 else None,
                "stop_token_ids": [self._eos],
                "ignore_eos": True,
                "return_token_ids": True,
            },
        )
        choice = answer["choices"][0]
        ids = choice.get("token_ids")
        if ids is None:
            raise self._failure("this vLLM does not return token ids; it is too old")
        told = (choice.get("logprobs") or {}).get("token_logprobs") or []
        return Completion(list(ids), ids[-1] == self._eos, [float(value) for value in told])

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer as JSON, None if it is empty.

        Raises:
            UserError: the server has ended.
            RuntimeError: it refuses.
        """
        try:
            status, text = self._request("POST", path, body, ASK_LIMIT)
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(f"vLLM's server does not answer ({error!r})") from error
        if status != 200:
            raise RuntimeError(f"vLLM's server answers {status} to {path}: {text[:2000]}")
        return json.loads(text) if text else None

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None, limit: float
    ) -> tuple[int, str]:
        connection = _Connection(self._socket, limit)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def _failure(self, what: str) -> UserError:
        lines = self._log.read_text(errors="replace").splitlines()[-LINES:]
        return UserError(
            f"engine: {what}. {INSTALL}, or name an interpreter that has vLLM in {PYTHON}, or set "
            "engine to transformers. The end of its log:\n" + "\n".join(f"  {x}" for x in lines)
        )

    def _stop(self) -> None:
        """End the server and all its processes, and remove its folder."""
        if self._process is not None:
            _signal_group(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_LIMIT)
            _signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: Path, limit: float) -> None:
        super().__init__("localhost", timeout=limit)
        self._path, self._limit = path, limit

    def connect(self) -> None:
        """Connect to the file, as soon as the server's queue has room."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._limit)
        deadline = time.monotonic() + self._limit
        while True:
            try:
                return self.sock.connect(str(self._path))
            except BlockingIOError:  # the queue is full; unlike TCP's, this does not wait
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.02)


def _option(name: str, value: Any) -> list[str]:
    """Command-line options of one engine argument."""
    flag = f"--{name.replace('_', '-')}"
    if value is False:
        return []
    if value is True:
        return [flag]
    return [flag, json.dumps(value) if isinstance(value, dict) else str(value)]


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
