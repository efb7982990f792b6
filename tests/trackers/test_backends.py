"""TensorBoard's event files for real; the others by modules with their exact signatures."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from alignbench.trackers.backends import Mlflow, TensorBoard, Trackio, Wandb


def scalars(folder: Path) -> list[tuple[int, str, float]]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                number = value.tensor.float_val[0] if value.tensor.float_val else value.simple_value
                found.append((event.step, value.tag, round(number, 5)))
    return found


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    curve = TensorBoard(tmp_path).open("tiny ä/train/ppo/0", "k", None, False)
    curve.log(1, {"loss": 0.5, "reward_raw": -1.0})
    place = tmp_path / "tiny ä" / "train" / "ppo" / "0"
    assert scalars(place) == [(1, "loss", 0.5), (1, "reward_raw", -1.0)]  # while it is open
    curve.log(2, {"loss": 0.25})
    curve.close(True)
    assert scalars(place)[2:] == [(2, "loss", 0.25)]


def test_tensorboard_adds_to_a_curve_or_begins_it_anew(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    backend = TensorBoard(tmp_path)
    for step, again in ((1, False), (2, True), (3, False)):
        curve = backend.open("tiny/sft", "k", None, again)
        curve.log(step, {"loss": 1.0})
        curve.close(True)
        steps = sorted(step for step, _, _ in scalars(tmp_path / "tiny" / "sft"))
        assert steps == {1: [1], 2: [1, 2], 3: [3]}[step]


def test_tensorboard_needs_no_torch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    import subprocess

    code = (
        "import sys; from pathlib import Path;"
        "from alignbench.trackers.backends import TensorBoard;"
        f"c = TensorBoard(Path({str(tmp_path)!r})).open('a/b', 'k', None, False);"
        "c.log(1, {'x': 1.0}); c.close(True); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class Calls(list[Any]):
    """What a fake module was asked to do."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    made = Calls()
    for name in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME", "TRACKIO_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for name, module in (
        ("wandb", fake_wandb(made)),
        ("trackio", fake_trackio(made)),
        *fake_mlflow(made),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    return made


class FakeRun:
    """``wandb.Run`` and ``trackio.Run``: ``log(data, step=...)`` and ``finish()``."""

    def __init__(self, calls: Calls, first: str) -> None:
        self.calls, self.first = calls, first

    def log(self, data: dict[str, Any], step: int | None = None) -> None:
        self.calls.append(("log", data, step))

    def finish(self) -> None:
        self.calls.append(("finish",))


def fake_wandb(calls: Calls) -> Any:
    module: Any = ModuleType("wandb")

    def init(  # wandb 0.19.10 and later: docs.wandb.ai/ref/python/init
        entity: str | None = None, project: str | None = None, dir: str | None = None,
        id: str | None = None, name: str | None = None, notes: str | None = None,
        tags: Any = None, config: Any = None, config_exclude_keys: Any = None,
        config_include_keys: Any = None, allow_val_change: bool | None = None,
        group: str | None = None, job_type: str | None = None, mode: Any = None,
        force: bool | None = None, reinit: Any = None, resume: Any = None,
        resume_from: str | None = None, fork_from: str | None = None,
        save_code: bool | None = None, settings: Any = None,
    ) -> FakeRun:  # fmt: skip
        calls.append(("init", project, name, group, id, resume, reinit, settings))
        return FakeRun(calls, "data")

    def setup(settings: Any = None) -> None:
        calls.append(("setup", settings))

    module.init, module.setup = init, setup
    module.Settings = lambda **settings: settings
    return module


def fake_trackio(calls: Calls) -> Any:
    module: Any = ModuleType("trackio")

    def init(  # trackio 0.4: huggingface.co/docs/trackio/api
        project: str, name: str | None = None, group: str | None = None,
        space_id: str | None = None, space_storage: Any = None, dataset_id: str | None = None,
        config: Any = None, resume: str = "never", settings: Any = None,
        private: bool | None = None, embed: bool = True,
    ) -> FakeRun:  # fmt: skip
        calls.append(("init", project, name, resume))
        return FakeRun(calls, "metrics")

    module.init = init
    return module


def fake_mlflow(calls: Calls) -> list[tuple[str, Any]]:
    module: Any = ModuleType("mlflow")
    entities: Any = ModuleType("mlflow.entities")

    class Metric:
        def __init__(self, key: str, value: float, timestamp: int, step: int) -> None:
            assert isinstance(timestamp, int)
            self.shown = (key, value, step)

    class MlflowClient:
        def __init__(self, tracking_uri: str | None = None, registry_uri: str | None = None):
            self.experiments: dict[str, str] = {}

        def get_experiment_by_name(self, name: str) -> Any:
            known = self.experiments.get(name)
            return None if known is None else SimpleNamespace(experiment_id=known)

        def create_experiment(
            self, name: str, artifact_location: str | None = None, tags: Any = None
        ) -> str:
            calls.append(("create_experiment", name))
            self.experiments[name] = "7"
            return "7"

        def create_run(
            self, experiment_id: str, start_time: int | None = None,
            tags: dict[str, Any] | None = None, run_name: str | None = None,
        ) -> Any:  # fmt: skip
            calls.append(("create_run", experiment_id, tags, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id="abc"))

        def log_batch(
            self, run_id: str, metrics: Any = (), params: Any = (), tags: Any = (),
            synchronous: bool | None = None,
        ) -> None:  # fmt: skip
            calls.append(("log_batch", run_id, [metric.shown for metric in metrics]))

        def set_terminated(
            self, run_id: str, status: str | None = None, end_time: int | None = None
        ) -> None:
            calls.append(("set_terminated", run_id))

    module.MlflowClient, entities.Metric, module.entities = MlflowClient, Metric, entities
    return [("mlflow", module), ("mlflow.entities", entities)]


def test_wandb(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    curve = Wandb().open("tiny/train/ppo/0", "k", None, False)
    curve.log(3, {"loss": 0.5})
    curve.close(True)
    quiet = {"console": "off", "silent": True}
    setup, (_, *init), log, finish = calls
    assert setup == ("setup", {"silent": True})  # before it may ask for a key on the terminal
    assert init == [
        "alignbench", "tiny/train/ppo/0", "tiny", curve.id, "allow", "create_new", quiet,
    ]  # fmt: skip
    assert (log, finish) == (("log", {"loss": 0.5}, 3), ("finish",))
    assert curve.id is not None
    # Equal stages are one run, others are others.
    again = Wandb()
    assert again.open("tiny/train/ppo/0", "k", None, False).id == curve.id
    assert again.open("tiny/train/ppo/0", "other", None, False).id != curve.id
    assert again.open("tiny/train/ppo/0", "k", "known", True).id == "known"
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    again.open("a/b", "k", None, False)
    assert calls[-1][1] == "mine"


def test_trackio(calls: Calls) -> None:
    curve = Trackio().open("tiny/sft", "0123456789", None, False)
    curve.log(3, {"loss": 0.5})
    curve.close(False)
    assert calls == [
        ("init", "alignbench", "tiny/sft 01234567", "allow"),
        ("log", {"loss": 0.5}, 3),
        ("finish",),
    ]
    assert curve.id == "tiny/sft 01234567"


def test_mlflow(calls: Calls) -> None:
    backend = Mlflow()
    curve = backend.open("tiny/sft", "k", None, False)
    curve.log(3, {"loss": 0.5, "kl": 1.0})
    curve.close(False)
    assert calls == [
        ("create_experiment", "alignbench"),
        ("create_run", "7", {"alignbench.key": "k"}, "tiny/sft"),
        ("log_batch", "abc", [("loss", 0.5, 3), ("kl", 1.0, 3)]),
    ]
    calls.clear()
    curve = backend.open("tiny/sft", "k", curve.id, True)
    curve.close(True)
    assert calls == [("set_terminated", "abc")]
    backend.open("tiny/other", "k", None, False)
    assert calls[1:] == [("create_run", "7", {"alignbench.key": "k"}, "tiny/other")]


def test_names_that_mlflow_refuses(calls: Calls) -> None:
    # mlflow.utils.validation: [/\w.\- :]*, a normal relative path, at most 250 characters.
    names = {
        "reward_gold/ppo": "reward_gold/ppo",
        "acc@1 (ä%)": "acc_1 (ä__".replace("(", "_"),
        "../../etc//x/.": "etc/x",
        "/": "_",
        "": "_",
        "a" * 300: "a" * 250,
    }
    curve = Mlflow().open("tiny/sft", "k", None, False)
    for name, allowed in names.items():
        curve.log(1, {name: 1.0})
        assert calls[-1] == ("log_batch", "abc", [(allowed, 1.0, 1)])
