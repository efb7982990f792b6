from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from alignbench.errors import Exit, StageFailed, UserError
from alignbench.executor import execute
from alignbench.plan import PlannedStage, plan, remaining_paths
from alignbench.pool import Pool
from alignbench.progress import Display, duration
from alignbench.stage import Stage
from alignbench.store import Artifact, Store
from tests.executor_stages import slow_pipeline, stage

ROOT = Path(__file__).parent.parent


class Bench:
    """A store, a run folder, and the text that runs have shown."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store, self.out = folder, Store(folder / "store"), folder / "out"
        self.trace_file = folder / "trace.txt"
        folder.mkdir(exist_ok=True)
        self.trace_file.touch()
        self.pace(0)
        self.shown = io.StringIO()

    def run(self, *stages: Stage, jobs: int = 2) -> dict[str, Artifact]:
        console = Console(file=self.shown, width=100)
        return execute(stages, self.store, self.out, jobs, console)

    def pace(self, seconds: float) -> None:
        """How long the slow stage takes; no part of its config, so its key stays."""
        (self.folder / "pace.txt").write_text(str(seconds))

    def events(self) -> list[tuple[str, str]]:
        return [(line.split()[0], line.split()[1]) for line in self.trace_file.open()]

    def value(self, made: dict[str, Artifact], name: str) -> str:
        return (made[name].folder / "value.txt").read_text()

    def log(self, name: str) -> str:
        return (self.out / "logs" / f"{name}.log").read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_stages_see_their_inputs_and_a_second_run_does_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = str(bench.trace_file)
    stages = [
        stage("a", trace=trace),
        stage("b/x/0", inputs=["a"], trace=trace),
        stage("c", inputs=["a", "b/x/0"], trace=trace),
    ]
    made = bench.run(*stages)
    assert list(made) == ["a", "b/x/0", "c"]
    a = sha("a")
    b = sha("b/x/0" + a)
    assert [bench.value(made, name) for name in made] == [a, b, sha("c" + a + b)]
    assert made["c"].manifest["inputs"]["a"] == {"key": made["a"].key, "digest": made["a"].digest}
    assert made["a"].manifest["peak_rss_bytes"] > 5_000_000
    copied = json.loads((bench.out / "manifests" / "b__x__0.json").read_text())
    assert copied == made["b/x/0"].manifest
    before = bench.events()
    assert len(before) == 6

    monkeypatch.setattr(Pool, "start", lambda *_: pytest.fail("a worker was started"))
    assert bench.run(*stages) == made
    assert bench.events() == before
    assert "3 of 3 stages were in the store" in bench.shown.getvalue()


def test_what_a_stage_keeps_outlives_it_and_the_run(bench: Bench) -> None:
    assert bench.value(bench.run(stage("a", "kept")), "a") == "nothing"
    assert bench.value(bench.run(stage("b", "kept")), "b") == "a"
    assert bench.store.cache == bench.store.root / "cache"


def test_a_change_reruns_its_own_branch_only(bench: Bench) -> None:
    trace = str(bench.trace_file)

    def stages(rate: float) -> list[Stage]:
        return [
            stage("sft", trace=trace),
            stage("train/ppo/0", inputs=["sft"], trace=trace, rate=rate),
            stage("train/dpo/0", inputs=["sft"], trace=trace),
            stage("results", inputs=["train/ppo/0", "train/dpo/0"], trace=trace),
        ]

    bench.run(*stages(0.1))
    assert [item.cached for item in plan(stages(0.2), bench.store)] == [True, False, True, False]
    bench.trace_file.write_text("")
    bench.run(*stages(0.2))
    assert [name for name, event in bench.events() if event == "start"] == [
        "train/ppo/0",
        "results",
    ]
    assert all(item.cached for item in plan(stages(0.1), bench.store))


def test_stages_that_do_the_same_work_share_it(bench: Bench) -> None:
    trace = str(bench.trace_file)
    config = {"name": "same", "trace": trace}
    twins = [Stage(f"generate/{row}/0", "tests.executor_stages:write", config) for row in "ab"]
    made = bench.run(*twins)
    assert made["generate/a/0"].folder == made["generate/b/0"].folder
    assert [event for _, event in bench.events()] == ["start", "end"]


def test_longest_remaining_path_starts_first(bench: Bench) -> None:
    trace = str(bench.trace_file)
    bench.run(
        stage("short", trace=trace),
        stage("long1", trace=trace),
        stage("long2", inputs=["long1"], trace=trace),
        stage("long3", inputs=["long2"], trace=trace),
        jobs=1,
    )
    order = [name for name, event in bench.events() if event == "start"]
    assert order[:2] == ["long1", "long2"]


def test_two_jobs_overlap_and_a_stage_of_two_threads_runs_alone(bench: Bench) -> None:
    trace = str(bench.trace_file)
    bench.run(
        stage("a", trace=trace, seconds=0.6),
        stage("b", trace=trace, seconds=0.6),
        stage("wide", trace=trace, seconds=0.2, threads=2),
    )
    times = {
        (name, event): float(at)
        for name, event, at, _ in (line.split() for line in bench.trace_file.open())
    }
    assert max(times["a", "start"], times["b", "start"]) < min(times["a", "end"], times["b", "end"])
    before = times["wide", "end"] <= min(times["a", "start"], times["b", "start"])
    after = times["wide", "start"] >= max(times["a", "end"], times["b", "end"])
    assert before or after


def test_more_threads_than_jobs_still_runs(bench: Bench) -> None:
    assert list(bench.run(stage("wide", threads=2), jobs=1)) == ["wide"]


def test_a_bug_names_stage_log_and_remedy(bench: Bench) -> None:
    trace = str(bench.trace_file)
    with pytest.raises(StageFailed) as caught:
        bench.run(
            stage("train/bad/0", "boom"),
            stage("good", trace=trace, seconds=1.5),
            stage("after", inputs=["train/bad/0"], trace=trace),
            stage("unrelated", inputs=["good"], trace=trace),
        )
    text = str(caught.value)
    assert caught.value.exit_code == Exit.STAGE_FAILED == 4
    assert "stage train/bad/0 failed: ZeroDivisionError: what a pity\\x1b[31m" in text
    assert "| a line on stdout" in text
    assert "| a line of a child" in text
    assert str(bench.out / "logs" / "train__bad__0.log") in text
    assert "the same command continues" in text
    assert "\x1b" not in text
    # What ran beside it was allowed to finish and is kept; nothing was started after it.
    assert bench.events() == [("good", "start"), ("good", "end")]
    assert bench.store.read(
        "good", plan([stage("good", trace=trace, seconds=1.5)], bench.store)[0].key
    )
    assert not list(bench.store.root.glob(".tmp-*"))


def test_a_users_error_in_a_stage_stays_one(bench: Bench) -> None:
    with pytest.raises(UserError) as caught:
        bench.run(stage("data", "complain"))
    assert type(caught.value) is UserError
    assert str(caught.value) == "stage data: the file x.jsonl is empty; fill it"


def test_a_killed_worker_is_a_failed_stage(bench: Bench) -> None:
    with pytest.raises(StageFailed, match="killed by SIGKILL; probably out of memory"):
        bench.run(stage("data", "die"))
    assert list(bench.run(stage("data", "write"))) == ["data"]


def test_a_link_in_the_result_fails_the_stage(bench: Bench) -> None:
    with pytest.raises(StageFailed, match=r"cannot be stored: .*link: is a symbolic link"):
        bench.run(stage("data", "link"))
    assert not list(bench.store.root.glob("data-*"))


def test_a_missing_function_fails_the_stage(bench: Bench) -> None:
    with pytest.raises(StageFailed, match="AttributeError"):
        bench.run(stage("data", "no_such_function"))


def test_output_goes_to_the_log_and_notes_to_both(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    made = bench.run(stage("reward/proxy", "chatter"))
    told = "accuracy 0.61 is below 0.70"
    assert made["reward/proxy"].manifest["notes"] == [{"kind": "warning", "message": told}]
    shown = bench.shown.getvalue()
    assert f"reward/proxy: warning: {told}" in shown
    assert "reward/proxy: started" in shown
    assert "reward/proxy: finished in" in shown
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert bench.log("reward__proxy") == "only for the log\n"
    assert capfd.readouterr() == ("", "")
    bench.run(stage("reward/proxy", "chatter"))
    assert bench.shown.getvalue().count(told) == 2  # a cached warning is still a warning


def test_workers_are_single_threaded_offline_and_hash_alike(bench: Bench) -> None:
    stages = [stage("a", "report_environment"), stage("b", "report_environment", threads=2)]
    made = bench.run(*stages, stage("c", "report_environment"), jobs=2)
    fixed = {"PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1"}
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **fixed}
    assert json.loads(bench.value(made, "a")) == json.loads(bench.value(made, "c")) == one
    two = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", **fixed}
    assert json.loads(bench.value(made, "b")) == two


def test_a_stage_does_not_feel_what_ran_before_it(bench: Bench) -> None:
    made = bench.run(*(stage(f"s{i}", "draw", disturb=i) for i in range(4)), jobs=1)
    assert len({bench.value(made, name) for name in made}) == 1


def test_a_flipped_bit_is_named_and_the_artifact_made_again(bench: Bench) -> None:
    stages = [stage("data"), stage("sft", inputs=["data"])]
    made = bench.run(*stages)
    file = made["data"].folder / "value.txt"
    file.write_text("0" + file.read_text()[1:])
    again = bench.run(*stages)
    folder = made["data"].folder.name
    told = (
        f"data: warning: stored artifact was corrupt and is made again: {folder}: value.txt changed"
    )
    assert told in bench.shown.getvalue()
    assert again["data"].digest == made["data"].digest
    assert again["data"].manifest["notes"][0]["message"].startswith("stored artifact was corrupt")
    assert again["sft"].manifest == made["sft"].manifest  # same content, so what follows holds
    assert len(list((bench.store.root / "corrupt").iterdir())) == 1


def test_what_was_made_from_other_content_is_made_again(bench: Bench) -> None:
    stages = [stage("data", "chance"), stage("sft", inputs=["data"])]
    made = bench.run(*stages)
    (made["data"].folder / "value.txt").unlink()
    again = bench.run(*stages)
    assert again["data"].digest != made["data"].digest
    assert again["sft"].key == made["sft"].key
    assert bench.value(again, "sft") == sha("sft" + bench.value(again, "data"))
    assert "sft: its inputs have changed; made again" in bench.shown.getvalue()


def test_code_edited_while_it_runs_is_noticed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = bench.folder / "edited_stage.py"
    module.write_text("def run(ctx):\n    open(__file__, 'a').write('# edited')\n")
    monkeypatch.syspath_prepend(str(bench.folder))
    with pytest.raises(UserError, match="stage data: its source was edited during the run"):
        bench.run(Stage("data", "edited_stage:run", {}))
    assert not list(bench.store.root.glob("data-*"))


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ([stage("a"), stage("a", x=1)], "two stages are named a"),
        ([stage("a", inputs=["b"]), stage("b")], "stage a needs b, which must come before it"),
        ([stage("../a")], "must be"),
    ],
)
def test_a_malformed_pipeline_is_a_bug(bench: Bench, stages: list[Stage], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        plan(stages, bench.store)


def start(bench: Bench, seconds: float, out: str = "out") -> subprocess.Popen[str]:
    bench.pace(seconds)
    arguments = [str(bench.folder / out), str(bench.folder / "store")]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.executor_stages", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(what: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.02)


def slow_has_started(bench: Bench) -> bool:
    return ("train/slow/0", "start") in bench.events()


def workers(bench: Bench) -> list[int]:
    return [int(line.split()[3]) for line in bench.trace_file.open()]


def gone(pids: Sequence[int]) -> bool:
    return not any(
        psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        for pid in pids
    )


def test_sigkill_in_the_middle_leaves_no_orphan_and_the_next_run_continues(bench: Bench) -> None:
    process = start(bench, 30)
    wait_for(lambda: slow_has_started(bench))
    process.kill()
    process.communicate()
    wait_for(lambda: gone(workers(bench)), 5)
    assert [path.name for path in bench.store.root.glob(".tmp-train-*")] != []

    stages = slow_pipeline(str(bench.trace_file))
    assert [item.cached for item in plan(stages, bench.store)] == [True, True, False, False]
    bench.trace_file.write_text("")
    again = start(bench, 0)
    output, errors = again.communicate(timeout=30)
    assert again.returncode == 0, errors
    started = [name for name, event in bench.events() if event == "start"]
    assert started == ["train/slow/0", "last"]
    assert not list(bench.store.root.glob(".tmp-*"))

    undisturbed = Bench(bench.folder / "other")
    expected = undisturbed.run(*slow_pipeline(str(undisturbed.trace_file)))
    digests = {name: artifact.digest for name, artifact in expected.items()}
    assert json.loads(output)["digests"] == digests


def test_a_cached_run_starts_no_worker_imports_no_torch_and_is_quick(bench: Bench) -> None:
    bench.run(*slow_pipeline(str(bench.trace_file)))
    events = bench.events()
    began = time.monotonic()
    process = start(bench, 0)
    output, errors = process.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert process.returncode == 0, errors
    assert json.loads(output)["torch"] is False
    assert "4 of 4 stages were in the store" in errors
    assert bench.events() == events


def test_two_runs_at_once_do_each_stage_once(bench: Bench) -> None:
    first = start(bench, 1.5, "one")
    wait_for(lambda: slow_has_started(bench))
    second = start(bench, 1.5, "two")
    results = [json.loads(process.communicate(timeout=30)[0]) for process in (first, second)]
    assert results[0] == results[1]
    started = sorted(name for name, event in bench.events() if event == "start")
    assert started == ["first", "last", "second", "train/slow/0"]


def test_ctrl_c_ends_the_workers(bench: Bench) -> None:
    process = start(bench, 30)
    wait_for(lambda: slow_has_started(bench))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert gone(workers(bench))
    assert not list(bench.store.root.glob(".tmp-*"))


def planned(name: str, seconds: float | None, *inputs: str, cached: bool = False) -> PlannedStage:
    return PlannedStage(stage(name, inputs=inputs), "0" * 64, cached, seconds)


def test_estimates_come_from_past_runs_of_the_same_work(bench: Bench) -> None:
    bench.run(stage("train/a/0", seconds=0.3, seed=0), stage("train/b/0", seconds=0.5, seed=0))
    items = plan(
        [
            stage("train/a/0", seconds=0.3, seed=1),
            stage("train/b/0", seconds=0.4, seed=0),
            stage("data"),
        ],
        bench.store,
    )
    other_seed, other_config, other_kind = (item.seconds_estimate for item in items)
    assert other_seed == pytest.approx(0.3, abs=0.1)
    assert other_config is None
    assert other_kind is None


def test_remaining_paths_by_hand() -> None:
    items = [
        planned("a", None),
        planned("b", None, "a"),
        planned("c", None, "a"),
        planned("d", None),
    ]
    costs = {"a": 1.0, "b": 5.0, "c": 2.0, "d": 3.0}
    assert remaining_paths(items, costs) == {"a": 6.0, "b": 5.0, "c": 2.0, "d": 3.0}


def test_time_left_by_hand() -> None:
    items = [
        planned("data", 100, cached=True),
        planned("base", 10, "data"),
        planned("sft", 4, "base"),
        planned("x/1", None, "base"),
        planned("x/2", None, "base"),
    ]
    display = Display(Console(file=io.StringIO()), items, jobs=2)
    assert display.seconds_left(0) is None  # nothing is known about x
    display.took["x/0"] = 6.0
    # path: base + x = 16; all work: 10 + 4 + 6 + 6 = 26, for two workers 13
    assert display.seconds_left(0) == 16
    display.started("base")
    live = display.running["base"]
    assert display.seconds_left(live.started + 3) == pytest.approx(7 + 6)
    display.progress("base", 1, 5, {})
    assert display.seconds_left(live.started + 3) == pytest.approx(12 + 6)  # 3 s for a fifth
    display.finished("base", 15, cached=False)
    assert display.seconds_left(0) == 8  # (4 + 6 + 6) / 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
