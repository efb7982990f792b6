"""A worker process: runs one stage after another and tells its parent how they go.

It is a fresh interpreter, so nothing but a stage's key decides what the stage makes: threads,
hash seed and the global random generators are set the same for every stage, whatever ran before.
It never outlives its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import faulthandler
import gc
import importlib
import json
import math
import os
import random
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from alignbench import machine
from alignbench.errors import UserError
from alignbench.stage import StageContext

PROGRESS_INTERVAL = 0.2
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Job:
    """One stage to run, with everything resolved to paths."""

    name: str
    entry: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    out: str
    log: str
    threads: int
    cache: str


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units, with the last metrics as numbers or short texts."""

    done: float
    total: float
    metrics: Mapping[str, float | str]


@dataclass(frozen=True)
class Note:
    """A ``warning`` or ``substitution`` that belongs into the manifest."""

    kind: str
    message: str


@dataclass(frozen=True)
class Done:
    """The stage's function returned, after this many seconds of wall time."""

    seconds: float
    peak_rss_bytes: int


@dataclass(frozen=True)
class Failed:
    """The stage raised. `user` says that `message` is for the user; a bug's is one line of it."""

    message: str
    user: bool


Message = Progress | Note | Done | Failed


def environment(offline: bool, number: int = 0) -> dict[str, str]:
    """The environment of a worker: the parent's, single-threaded, quiet, hashing fixed.

    Args:
        offline: keep Hugging Face's libraries off the network.
        number: of the worker, from 0: workers share out the GPUs, one each, in turn.
    """
    fixed = {
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "DATASETS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    if offline:
        fixed["HF_HUB_OFFLINE"] = "1"
    # A stage runs on one device: TRL refuses several visible ones in one process.
    devices = machine.visible_gpus()
    fixed["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)] if devices else ""
    return {**os.environ, **fixed, **_thread_settings(1)}


def _thread_settings(threads: int) -> dict[str, str]:
    libraries = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")
    return {f"{library}_NUM_THREADS": str(threads) for library in libraries}


def command(handle: int) -> list[str]:
    """Command line of a worker that talks over the open file `handle`, which it inherits."""
    code = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[3]); "
        "from alignbench.worker import main; main()"
    )
    return [sys.executable, "-c", code, str(handle), str(os.getpid()), json.dumps(sys.path)]


def main() -> None:
    """Serve jobs from the connection named on the command line until it is closed."""
    _die_with_parent(int(sys.argv[2]))
    faulthandler.enable()
    connection = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        while (job := connection.recv()) is not None:
            connection.send(_run(job, connection.send))
            gc.unfreeze()
            gc.collect()


def _die_with_parent(parent: int) -> None:
    """Be killed when `parent` ends, however it ends; it must be the process that started us."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before we could ask to be told
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _run(job: Job, send: Callable[[Message], None]) -> Done | Failed:
    """Run one stage with all its output in its log."""
    _log_to(job.log)
    try:
        run = _entry(job.entry)
        _same_start(job.threads)
        _reset_peak_rss()
        started = time.monotonic()
        run(
            StageContext(
                out=Path(job.out),
                config=job.config,
                inputs={role: Path(folder) for role, folder in job.inputs.items()},
                progress=_Reporter(send),
                note=lambda kind, message: send(Note(str(kind), str(message))),
                cache=Path(job.cache),
            )
        )
        return Done(time.monotonic() - started, _peak_rss())
    except UserError as error:
        print(error, file=sys.stderr)
        return Failed(str(error), user=True)
    except OSError as error:
        traceback.print_exc()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        message = f"no space left for {job.out}; free some, or set ALIGNBENCH_STORE" if full else ""
        return Failed(message or _summary(error), user=full)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        return Failed(_summary(error), user=False)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _summary(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _entry(entry: str) -> Callable[[StageContext], None]:
    module, _, function = entry.partition(":")
    found: Callable[[StageContext], None] = getattr(importlib.import_module(module), function)
    return found


def _log_to(path: str) -> None:
    """Send file descriptors 1 and 2, and so the output of native code too, to `path`."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    for target in (1, 2):
        os.dup2(handle, target)
    os.close(handle)


def _same_start(threads: int) -> None:
    """Threads and global generators as if this worker had just started."""
    random.seed(0)
    os.environ.update(_thread_settings(threads))  # for a stage that imports torch while it runs
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(0)
    if "numpy" in sys.modules:
        import numpy

        numpy.random.seed(0)


class _Reporter:
    """``progress(done, total, **metrics)`` that sends a few messages a second at most."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self.send, self.last = send, -math.inf

    def __call__(self, done: float, total: float, /, **metrics: Any) -> None:
        now = time.monotonic()
        if now - self.last < PROGRESS_INTERVAL and done < total:
            return
        self.last = now
        self.send(Progress(done, total, {name: _metric(value) for name, value in metrics.items()}))


def _metric(value: Any) -> float | str:
    try:
        return float(value)  # also a tensor or array of one element
    except (TypeError, ValueError):
        return str(value)[:40]


def _reset_peak_rss() -> None:
    """Let the kernel's peak of resident memory begin anew (Linux; elsewhere it is since start)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_rss() -> int:
    """Peak resident memory in bytes since `_reset_peak_rss`."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
