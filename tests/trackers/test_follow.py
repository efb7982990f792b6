"""Following logs: live, from the store, begun again, killed, and with trackers that fail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from alignbench.trackers.backends import Curve
from alignbench.trackers.follow import STATE, Tracking

Point = tuple[int, dict[str, float]]


class Memory:
    """A tracker that keeps what it is given, as a server would."""

    def __init__(self) -> None:
        self.points: dict[str, list[Point]] = {}
        self.opened: list[tuple[str, str | None, bool]] = []
        self.closed: list[tuple[str, bool]] = []
        self.fail: Callable[[str], None] = lambda what: None

    def open(self, name: str, key: str, known: str | None, again: bool) -> Curve:
        self.fail("open")
        self.opened.append((name, known, again))
        if not again:
            self.points[name] = []
        return _MemoryCurve(self, name)


class _MemoryCurve:
    def __init__(self, memory: Memory, name: str) -> None:
        self.memory, self.name, self.id = memory, name, f"id of {name}"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.memory.fail("log")
        self.memory.points[self.name].append((step, dict(values)))

    def close(self, finished: bool) -> None:
        self.memory.fail("close")
        self.memory.closed.append((self.name, finished))


class Setting:
    def __init__(self, root: Path) -> None:
        self.root, self.memory = root, Memory()
        self.said: list[str] = []

    def tracking(self, **changes: Any) -> Tracking:
        settings: dict[str, Any] = {"interval": 0.01, "patience": 5.0, **changes}
        return Tracking(self.memory, "memory", "tiny", self.root, self.said.append, **settings)

    def log(self, name: str, *steps: int, **more: Any) -> Path:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        with (folder / "log.jsonl").open("a") as file:
            for step in steps:
                file.write(json.dumps({"step": step, "loss": step / 10, **more}) + "\n")
        return folder

    def state(self) -> Any:
        return json.loads((self.root / STATE).read_text())["memory"]


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def points(*steps: int) -> list[Point]:
    return [(step, {"loss": step / 10}) for step in steps]


def test_a_running_stage_is_followed_and_stays_one_curve(setting: Setting) -> None:
    seen = setting.memory.points
    with setting.tracking() as tracking:
        folder = setting.log("tmp", 1, 2)
        tracking.running("train/ppo/0", "k", folder)
        wait_for(lambda: seen.get("tiny/ppo/0") == points(1, 2))
        with (folder / "log.jsonl").open("a") as file:
            file.write('{"step": 3, "lo')  # half a line
            file.flush()
            time.sleep(0.05)
            assert seen["tiny/ppo/0"] == points(1, 2)
            file.write('ss": 0.3}\n')
        wait_for(lambda: seen["tiny/ppo/0"] == points(1, 2, 3))
        setting.log("tmp", 4)
        final = folder.rename(setting.root / "artifact")
        tracking.finished("train/ppo/0", "k", final)
    assert seen == {"tiny/ppo/0": points(1, 2, 3, 4)}
    assert setting.memory.closed == [("tiny/ppo/0", True)]
    assert len(setting.memory.opened) == 1
    assert setting.said == []


def test_stages_from_the_store_have_curves_and_nothing_comes_twice(setting: Setting) -> None:
    folder = setting.log("artifact", 1, 2, 3)
    for _ in range(3):
        with setting.tracking() as tracking:
            tracking.finished("sft", "k", folder)
    assert setting.memory.points == {"tiny/sft": points(1, 2, 3)}
    assert len(setting.memory.opened) == 1
    assert setting.state()["runs"]["sft"] == {
        "key": "k", "lines": 3, "done": True, "id": "id of tiny/sft",
    }  # fmt: skip


def test_another_key_is_a_new_curve(setting: Setting) -> None:
    with setting.tracking() as tracking:
        tracking.finished("sft", "old", setting.log("a", 1, 2))
    with setting.tracking() as tracking:
        tracking.finished("sft", "new", setting.log("b", 5))
    assert setting.memory.points == {"tiny/sft": points(5)}
    assert setting.memory.opened == [("tiny/sft", None, False), ("tiny/sft", None, False)]


def test_what_a_killed_run_has_sent_is_not_sent_again(setting: Setting) -> None:
    seen = setting.memory.points
    with pytest.raises(KeyboardInterrupt), setting.tracking() as tracking:  # noqa: PT012
        tracking.running("sft", "k", setting.log("one", 1, 2))
        wait_for(lambda: "tiny/sft" in seen and len(seen["tiny/sft"]) == 2)
        raise KeyboardInterrupt
    assert setting.memory.closed == [("tiny/sft", False)]
    with setting.tracking() as tracking:
        tracking.running("sft", "k", setting.log("two", 1, 2, 3))
        tracking.finished("sft", "k", setting.root / "two")
    assert seen == {"tiny/sft": points(1, 2, 3)}
    assert setting.memory.opened[1] == ("tiny/sft", "id of tiny/sft", True)


def test_a_log_begun_again_after_out_of_memory_goes_on_where_it_was(setting: Setting) -> None:
    seen = setting.memory.points
    with setting.tracking() as tracking:
        folder = setting.log("tmp", 1, 2, 3)
        tracking.running("sft", "k", folder)
        wait_for(lambda: seen.get("tiny/sft") == points(1, 2, 3))
        (folder / "log.jsonl").unlink()
        setting.log("tmp", 1, 2, 3, 4)
        wait_for(lambda: seen["tiny/sft"] == points(1, 2, 3, 4))
        tracking.finished("sft", "k", folder)
    assert seen["tiny/sft"] == points(1, 2, 3, 4)


def test_the_final_table_comes_at_the_end(setting: Setting) -> None:
    (setting.root / "r").mkdir()
    rows = [
        {"model": "ppo", "metric": "reward_gold", "value": 6.5},
        {"model": "sft", "metric": "reward_gold", "value": None},
    ]
    (setting.root / "r" / "results.json").write_text(json.dumps({"rows": rows}))
    for _ in range(2):
        with setting.tracking() as tracking:
            tracking.finished("results", "k", setting.root / "r")
    assert setting.memory.points == {"tiny/results": [(0, {"reward_gold/ppo": 6.5})]}


def test_only_numbers_are_points(setting: Setting) -> None:
    folder = setting.log("a", 1, text="x", flag=True, none=None, nothing=[1])
    with (folder / "log.jsonl").open("a") as file:
        file.write('no json\n[1]\n{"loss": 1}\n{"step": "x", "loss": 1}\n')
        file.write('{"step": 2, "loss": NaN, "kl": 1e999}\n{"step": 3, "kl": 2}\n')
    with setting.tracking() as tracking:
        tracking.finished("sft", "k", folder)
        tracking.finished("data", "k", setting.root)  # has no log
    assert setting.memory.points == {"tiny/sft": [(1, {"loss": 0.1}), (3, {"kl": 2.0})]}
    assert setting.said == []


@pytest.mark.parametrize("where", ["open", "log", "close"])
@pytest.mark.parametrize("error", [ConnectionError("no\nnetwork"), SystemExit(1), KeyError()])
def test_a_failing_tracker_is_a_warning_and_the_rest_comes_later(
    setting: Setting, where: str, error: BaseException
) -> None:
    def fail(what: str) -> None:
        if what == where:
            raise error

    setting.memory.fail = fail
    folders = {name: setting.log(name, 1, 2) for name in ("a", "b")}
    with setting.tracking() as tracking:
        for name, folder in folders.items():
            tracking.finished(name, "k", folder)
    [said] = setting.said
    assert said.startswith(f"warning: tracker memory failed ({type(error).__name__}: ")
    assert "\n" not in said
    assert setting.state()["warning"].startswith(type(error).__name__)
    setting.memory.fail = lambda what: None
    with setting.tracking() as tracking:
        for name, folder in folders.items():
            tracking.finished(name, "k", folder)
    assert setting.memory.points == {"tiny/a": points(1, 2), "tiny/b": points(1, 2)}
    assert setting.state()["warning"] is None


def test_passwords_in_errors_are_not_told(setting: Setting) -> None:
    def fail(what: str) -> None:
        raise OSError("cannot reach https://me:hunter2@host/api")

    setting.memory.fail = fail
    with setting.tracking() as tracking:
        tracking.finished("a", "k", setting.log("a", 1))
    assert "hunter2" not in setting.said[0] + (setting.root / STATE).read_text()


def test_a_tracker_that_hangs_is_not_waited_for(setting: Setting) -> None:
    release = threading.Event()
    setting.memory.fail = lambda what: release.wait(10) and None
    started = time.monotonic()
    with setting.tracking(patience=0.05) as tracking:
        tracking.finished("a", "k", setting.log("a", 1))
    assert time.monotonic() - started < 2
    assert "did not take everything in time" in setting.said[0]
    release.set()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"memory": 1}', '{"memory": {"runs": {"sft": {"key": 1}}}}', "[" * 100_000],
)
def test_a_damaged_state_is_begun_anew(setting: Setting, content: str) -> None:
    (setting.root / STATE).write_text(content)
    with setting.tracking() as tracking:
        tracking.finished("sft", "k", setting.log("a", 1))
    assert setting.memory.points == {"tiny/sft": points(1)}
    assert setting.state()["runs"]["sft"]["done"]
