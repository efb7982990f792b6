"""What this machine has: CUDA, network, memory, disk. No torch unless a GPU seems to be there."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path
from urllib.parse import quote

HUB_TIMEOUT = 2.0
_DEVICE_FILES = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd")
_PACKAGES = ("torch", "transformers", "trl", "tokenizers", "vllm", "ray", "deepspeed", "peft")
_FALSE = ("", "0", "false", "no", "off")


def version_of(package: str) -> str | None:
    """Installed version of `package`, without importing it; None when it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cuda() -> tuple[bool, str]:
    """Whether torch can use a CUDA device, and one clause that says why (not).

    torch is imported only when a device seems to be present, to confirm.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return False, f'CUDA_VISIBLE_DEVICES="{visible}" hides every device'
    if not any(os.path.exists(file) for file in _DEVICE_FILES) and not shutil.which("nvidia-smi"):
        return False, "no CUDA device on this machine"
    version = version_of("torch")
    if version is None or version.endswith("+cpu"):
        return False, f"a GPU seems to be present, but torch {version} is built without CUDA"
    import torch

    if not torch.cuda.is_available():
        return False, f"a GPU seems to be present, but torch {version} cannot use it"
    return True, f"CUDA device {torch.cuda.get_device_name(0)}"


def visible_gpus() -> list[str]:
    """The GPUs that processes of this user may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    found = sorted(
        int(file.name.removeprefix("nvidia")) for file in Path("/dev").glob("nvidia[0-9]*")
    )
    # Where devices have other names (ROCm, some containers), the first one at least.
    return [str(number) for number in found] or ["0"]


def hub_offline() -> bool:
    """Whether the user has told the Hugging Face libraries to stay off the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() not in _FALSE


def hub_reach(repository: str = "", timeout: float = HUB_TIMEOUT) -> tuple[bool, str]:
    """Whether the hub answers within `timeout` seconds (DNS and proxies included), and why not.

    Args:
        repository: ask for this model's config.json; "" asks for the hub's front page.
        timeout: seconds.
    """
    if hub_offline():
        return False, "HF_HUB_OFFLINE is set"
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    url = f"{endpoint}/{repository}/resolve/main/config.json" if repository else endpoint
    answer: list[tuple[bool, str]] = []
    asking = threading.Thread(target=lambda: answer.append(_head(url, timeout)), daemon=True)
    asking.start()
    asking.join(timeout)  # urllib's time-out does not cover name resolution
    return answer[0] if answer else (False, f"{endpoint} did not answer within {timeout:g} s")


def _head(url: str, timeout: float) -> tuple[bool, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=timeout):
            return True, f"{url} answers"
    except urllib.error.HTTPError as error:
        return False, f"{url} answers {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return False, f"{url} cannot be reached: {reason}"


@cache
def processor() -> str:
    """The CUDA device that stages use, else the CPU's model as Linux names it."""
    usable, device = cuda()
    if usable:
        return device
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def hub_cached(repository: str, revision: str) -> bool:
    """Whether the local hub cache holds config.json of `repository` at `revision`."""
    return hub_folder(repository, revision) is not None


def hub_folder(repository: str, revision: str) -> Path | None:
    """Folder of a repository's snapshot in the local hub cache, if it has a config.json."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


@cache
def hub_commit(repository: str, revision: str, kind: str = "model") -> str | None:
    """Commit that `revision` stands for now: the hub's answer, else that of the local cache.

    Args:
        repository: name on the hub.
        revision: branch, tag or commit.
        kind: ``model`` or ``dataset``.
    """
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    asked: list[str] = []
    if not hub_offline():
        asking = threading.Thread(
            target=lambda: asked.extend(_asked_commit(repository, revision, kind)), daemon=True
        )
        asking.start()
        asking.join(HUB_TIMEOUT)
    return asked[0] if asked else _cached_commit(repository, revision, kind)


def _asked_commit(repository: str, revision: str, kind: str) -> list[str]:
    """The commit in a list, or nothing: for a thread, whose answer may come too late."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    named = f"{quote(repository)}/revision/{quote(revision, safe='')}"
    try:
        with urllib.request.urlopen(f"{endpoint}/api/{kind}s/{named}", timeout=HUB_TIMEOUT) as page:
            found = json.load(page)
    except (OSError, ValueError):
        return []
    commit = found.get("sha") if isinstance(found, dict) else None
    return [commit] if isinstance(commit, str) else []


def _cached_commit(repository: str, revision: str, kind: str) -> str | None:
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    try:
        folder = repo_folder_name(repo_id=repository, repo_type=kind)
        return (Path(HF_HUB_CACHE) / folder / "refs" / revision).read_text().strip() or None
    except (OSError, ValueError):
        return None


def memory_gib() -> tuple[float, float]:
    """(total, available) memory in GiB."""
    import psutil

    memory = psutil.virtual_memory()
    return memory.total / 2**30, memory.available / 2**30


def free_disk_gib(folder: Path) -> float:
    """Free space in GiB where `folder` is, or where it would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free / 2**30


def facts(store: Path) -> list[tuple[str, str]]:
    """(what, finding) of everything `alignbench doctor` shows. Asks the hub (at most 2 s)."""
    total, available = memory_gib()
    rows = [
        ("alignbench", version_of("alignbench") or "not installed"),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
    ]
    rows += [(package, version_of(package) or "not installed") for package in _PACKAGES]
    rows += [
        ("CUDA", _yes_no(cuda)),
        ("cores", f"{usable_cores()} usable of {os.cpu_count()}"),
        ("memory", f"{available:.1f} GiB free of {total:.1f} GiB"),
        ("store", f"{store} ({free_disk_gib(store):.1f} GiB free)"),
        ("hub", _yes_no(hub_reach)),
        ("threads", _thread_settings()),
    ]
    return rows


def usable_cores() -> int:
    """Processor cores this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _yes_no(ask: Callable[[], tuple[bool, str]]) -> str:
    fine, why = ask()
    return f"{'yes' if fine else 'no'}: {why}"


def _thread_settings() -> str:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    settings = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    return (", ".join(settings) or "not set") + " (stages set their own)"
