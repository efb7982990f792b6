"""Workers and the devices they are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignbench import worker
from alignbench.pool import Pool
from alignbench.worker import Done, Job


@pytest.mark.parametrize(
    ("named", "given"),
    [("3,5", ["3", "5", "3"]), ("7", ["7", "7", "7"]), ("", ["", "", ""])],
)
def test_workers_share_out_the_gpus(
    named: str, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    found = [worker.environment(offline=True, number=n)["CUDA_VISIBLE_DEVICES"] for n in range(3)]
    assert found == given


def test_two_jobs_at_once_are_on_two_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    (tmp_path / "logs").mkdir()
    with Pool(tmp_path / "logs", offline=True) as pool:
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            log = str(tmp_path / f"{name}.log")
            out, entry = str(tmp_path / name), "tests.test_pool:say_device"
            pool.start(Job(name, entry, {}, {}, out, log, 1, str(tmp_path)))
        done = 0
        while done < 2:
            done += sum(isinstance(message, Done) for _, message in pool.messages(30))
        numbers = [each.number for each in pool.workers]
    said = {(tmp_path / name / "device").read_text() for name in ("one", "other")}
    assert said == {"3", "5"}
    assert numbers == [0, 1]


def say_device(ctx: object) -> None:
    """Stage: write down the device that is visible."""
    import os

    (ctx.out / "device").write_text(os.environ["CUDA_VISIBLE_DEVICES"])  # type: ignore[attr-defined]
