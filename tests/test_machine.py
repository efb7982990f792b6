from __future__ import annotations

import http.server
import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignbench import machine


class _Hub(http.server.BaseHTTPRequestHandler):
    """Answers for the front page and for the model "there"; dawdles over the model "slow"."""

    def do_HEAD(self) -> None:
        if "slow" in self.path:
            time.sleep(1.5)
        found = self.path in ("/", "") or self.path == "/there/resolve/main/config.json"
        self.send_response(200 if found else 404)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield endpoint
    server.shutdown()
    server.server_close()


def test_hub_reach(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.hub_reach() == (True, f"{hub} answers")
    assert machine.hub_reach("there")[0]
    reached, why = machine.hub_reach("gone")
    assert not reached
    assert "404" in why
    began = time.monotonic()
    assert machine.hub_reach("slow", timeout=0.3)[0] is False
    assert time.monotonic() - began < 1
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert machine.hub_reach() == (False, "HF_HUB_OFFLINE is set")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "nonsense", "http://[bad"])
def test_hub_that_cannot_be_reached(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    reached, why = machine.hub_reach()
    assert not reached
    assert "cannot be reached" in why


def test_cuda_is_ruled_out_without_torch() -> None:
    code = (
        "import os, sys; os.environ['CUDA_VISIBLE_DEVICES'] = ''; from alignbench import machine;"
        "print(machine.cuda(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(False, 'CUDA_VISIBLE_DEVICES=\"\" hides every device') False\n"


def test_a_gpu_without_a_cuda_build_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "device").touch()
    monkeypatch.setattr(machine, "_DEVICE_FILES", (str(tmp_path / "device"),))
    monkeypatch.setattr(machine, "version_of", lambda package: "2.13.0+cpu")
    assert machine.cuda() == (
        False,
        "a GPU seems to be present, but torch 2.13.0+cpu is built without CUDA",
    )
    monkeypatch.setattr(machine, "_DEVICE_FILES", ())
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert machine.cuda() == (False, "no CUDA device on this machine")


def test_facts_name_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = dict(machine.facts(tmp_path / "not" / "yet" / "made"))
    assert found["hub"] == "no: HF_HUB_OFFLINE is set"
    assert "OMP_NUM_THREADS=7" in found["threads"]
    assert "GiB free" in found["store"]
    assert {"torch", "vllm", "ray", "deepspeed", "peft", "CUDA", "cores", "memory"} <= set(found)


def test_versions() -> None:
    assert machine.version_of("no-such-package-here") is None
    assert machine.version_of("click") is not None


@pytest.mark.parametrize(
    ("named", "found"), [("3,5", ["3", "5"]), ("", []), ("-1", []), (" 0 ,1", ["0", "1"])]
)
def test_gpus_are_those_that_are_named(
    named: str, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert machine.visible_gpus() == found


class TestCommit:
    COMMIT = "0123456789abcdef0123456789abcdef01234567"

    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        machine.hub_commit.cache_clear()
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        yield
        machine.hub_commit.cache_clear()

    def cached(self, tmp_path: Path, kind: str) -> None:
        refs = tmp_path / f"{kind}s--someone--thing" / "refs"
        refs.mkdir(parents=True)
        (refs / "main").write_text(self.COMMIT)

    def test_a_commit_stands_for_itself(self) -> None:
        assert machine.hub_commit("someone/thing", self.COMMIT) == self.COMMIT

    def test_unreachable_and_not_cached(self) -> None:
        assert machine.hub_commit("someone/thing", "main") is None

    @pytest.mark.parametrize("kind", ["model", "dataset"])
    def test_unreachable_the_cache_tells(self, kind: str, tmp_path: Path) -> None:
        self.cached(tmp_path, kind)
        assert machine.hub_commit("someone/thing", "main", kind) == self.COMMIT

    @pytest.mark.parametrize("name", ["../../etc", "a/b/c", "", "x" * 500])
    def test_names_that_are_none(self, name: str) -> None:
        assert machine.hub_commit(name, "main") is None

    @pytest.mark.parametrize(
        ("body", "found"),
        [(b'{"sha": "abc"}', "abc"), (b"[]", None), (b"no json", None), (b'{"sha": 1}', None)],
    )
    def test_the_hub_tells(
        self, body: bytes, found: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def urlopen(url: str, timeout: float) -> io.BytesIO:
            asked.append(url)
            return io.BytesIO(body)

        monkeypatch.setattr("urllib.request.urlopen", urlopen)
        assert machine.hub_commit("someone/thing", "a b/c", "dataset") == found
        assert asked == ["http://127.0.0.1:9/api/datasets/someone/thing/revision/a%20b%2Fc"]
