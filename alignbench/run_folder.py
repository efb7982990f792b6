"""The folder of a run: `run.json` (what it is and how far), manifests, logs and results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import alignbench
from alignbench.errors import UserError, nearest, printable

if TYPE_CHECKING:
    from alignbench.plan import PlannedStage
    from alignbench.recipe.load import LoadedRecipe
    from alignbench.store import Artifact

SCHEMA = 1
RECORD = "run.json"
OUTPUTS = {"results": ("results.json", "results.csv"), "report": ("report.html",)}


def store_root(out: Path) -> Path:
    """``ALIGNBENCH_STORE``, else ``store`` beside the run's folder."""
    named = os.environ.get("ALIGNBENCH_STORE")
    return Path(named) if named else out.absolute().parent / "store"


def prepare(out: Path, store: Path, recipe_name: str) -> None:
    """Make `out`, or make sure that it is a run of this recipe that can be continued.

    Raises:
        UserError: a file, another folder's content, another recipe's run, or not writable.
    """
    if out.absolute() == store.absolute():
        raise UserError(f"--out {out} is the stage store; choose another folder")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; choose a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        present = {path.name for path in out.iterdir()}
        if present and RECORD not in present:
            raise UserError(
                f"--out {out} is not empty and no run of alignbench; choose a new or empty folder"
            )
        if present and (other := load_record(out)["recipe"]) != recipe_name:
            raise UserError(
                f'--out {out} holds a run of recipe "{other}", not "{recipe_name}"; choose another'
            )
        probe = out / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror}") from error


def write_record(
    out: Path,
    loaded: LoadedRecipe,
    planned: Sequence[PlannedStage],
    state: str,
    artifacts: Mapping[str, Artifact] | None = None,
) -> None:
    """Write ``run.json``.

    Args:
        out: the run's folder.
        loaded: the recipe and the choice of its profile.
        planned: the plan before the run, in order.
        state: ``running``, ``finished``, ``failed`` or ``interrupted``.
        artifacts: stage name -> artifact, once all are there.
    """
    made = artifacts or {}
    record = {
        "schema_version": SCHEMA,
        "state": state,
        "recipe": loaded.recipe.name,
        "recipe_digest": loaded.digest,
        "profile": loaded.profile.name,
        "profile_reason": loaded.profile.reason,
        "profile_differences": list(loaded.profile.differences),
        "alignbench": alignbench.__version__,
        "git_commit": git_commit(),
        "stages": [
            {
                "stage": item.stage.name,
                "key": item.key,
                "cached": item.cached,
                "digest": made[item.stage.name].digest if item.stage.name in made else None,
            }
            for item in planned
        ],
    }
    write_atomic(out / RECORD, (json.dumps(record, indent=1) + "\n").encode())


def publish(out: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Copy results and report from the store to the top of the run's folder."""
    for stage, names in OUTPUTS.items():
        for name in names:
            source = artifacts[stage].folder / name if stage in artifacts else None
            if source is not None and source.is_file():
                write_atomic(out / name, source.read_bytes())


def forget_other_stages(out: Path, names: Sequence[str]) -> None:
    """Remove manifests of stages that the recipe no longer has."""
    kept = {manifest_name(name) for name in names}
    for path in (out / "manifests").glob("*.json"):
        if path.name not in kept:
            path.unlink()


def manifest_name(stage: str) -> str:
    """``train__ppo__0.json``: the copy of a stage's manifest in ``manifests/``."""
    return f"{stage.replace('/', '__')}.json"


def find_run(name: str) -> Path:
    """The run's folder for what a user typed: a path, or a name below ``runs/``.

    Raises:
        UserError: no such run, with the nearest.
    """
    for candidate in (Path(name), Path("runs") / name):
        if (candidate / RECORD).is_file():
            return candidate
    if Path(name).is_dir():
        raise UserError(f"{name}: no {RECORD} in it, so it is no run of alignbench")
    known = sorted(path.parent.name for path in Path("runs").glob(f"*/{RECORD}"))
    listed = ", ".join(f"runs/{each}" for each in known) or "none"
    shown = printable(name)
    raise UserError(f"{shown}: no such run{nearest(Path(name).name, known)}; runs here: {listed}")


def load_record(out: Path) -> dict[str, Any]:
    """``run.json`` of a run.

    Raises:
        UserError: it is damaged, or of a newer alignbench.
    """
    path = out / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("not a mapping")
        version = record["schema_version"]
        missing = {"state", "recipe", "profile", "stages"} - record.keys()
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}); run the recipe again to repair it") from error
    if version != SCHEMA or missing:
        raise UserError(f"{path}: written by another version of alignbench; run the recipe again")
    return record


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` with `content`: a reader sees the old file or the new one, whole."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    with temporary.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)


def git_commit() -> str | None:
    """Commit of the checkout that alignbench runs from, "+changes" if edited; None outside one."""
    root = Path(alignbench.__file__).parent.parent
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    try:
        commit = _git(git, root, "rev-parse", "HEAD")
        changed = _git(git, root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")


def _git(git: str, root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [git, "-C", str(root), *arguments], capture_output=True, text=True, timeout=5, check=True
    )
    return done.stdout.strip()
