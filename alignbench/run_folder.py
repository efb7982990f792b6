"""The folder of a run: finding it, making it ready, and what a run writes into it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import alignbench
from alignbench.errors import UserError, nearest, printable
from alignbench.run_record import FOLDERS, RECORD, SCHEMA, all_changes, is_newer, parse, save
from alignbench.tamper import Change, digests

if TYPE_CHECKING:
    from alignbench.plan import PlannedStage
    from alignbench.store import Artifact

OUTPUTS = {
    "results": ("results.json", "results.csv", "certificate.json"),
    "report": ("report.html",),
}
CARDS = "cards"
"""Stage whose files, one for each trained model, are copied into the folder of its name."""
LONGEST_MESSAGE = 10_000


@dataclass(frozen=True)
class About:
    """What a run is of, as ``run.json`` names it: a recipe and the choice of its profile."""

    recipe: str
    digest: str
    profile: str
    reason: str
    differences: Sequence[str] = ()


def store_root(out: Path) -> Path:
    """``ALIGNBENCH_STORE``, else ``store`` beside the run's folder."""
    named = os.environ.get("ALIGNBENCH_STORE")
    return Path(named) if named else out.absolute().parent / "store"


def prepare(out: Path, store: Path, recipe_name: str) -> list[str]:
    """Make `out`, or make sure that it is a run of this recipe that can be continued.

    What stands in the way of writing is put aside: links are removed, folders and changed logs
    renamed. The run then writes every file of the folder anew.

    Returns:
        A sentence for each file that was changed since the run finished.

    Raises:
        UserError: a file, another folder's content, another recipe's run, or not writable.
    """
    if out.absolute() == store.absolute():
        raise UserError(f"--out {out} is the stage store; choose another folder")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; choose a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        found = _continue(out, recipe_name) if any(out.iterdir()) else []
        probe = out / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror}") from error
    return found


def _continue(out: Path, recipe_name: str) -> list[str]:
    """Check that a folder with content is a run of this recipe; name and clear what was changed."""
    record, problem = parse(out)
    if record is None and not _manifests(out):
        if os.path.lexists(out / RECORD):
            raise UserError(f"{out / RECORD}: {problem}; choose another --out, or remove {out}")
        raise UserError(
            f"--out {out} is not empty and no run of alignbench; choose a new or empty folder"
        )
    if record is not None and is_newer(record):
        raise UserError(f"{out / RECORD}: {problem}; choose another --out, or that version")
    other = _recipe_of(out) if record is None else record.get("recipe")
    if other is not None and other != recipe_name:
        raise UserError(
            f'--out {out} holds a run of recipe "{printable(str(other))}", not "{recipe_name}"; '
            "choose another"
        )
    found = [] if problem is None else [f"{out / RECORD}: {problem}; written anew"]
    if problem is None and record is not None and record["state"] == "finished":
        found += [_restored(out, change) for change in all_changes(out, record)]
    _clear(out)
    return found


def _restored(out: Path, change: Change) -> str:
    """What happens to a changed file of a finished run; a log, which no store has, is kept."""
    said = f"{out / printable(change.name)}: {change.what}"
    if change.extra:
        return said
    path = out / change.name
    if not change.name.startswith("logs"):
        return f"{said}; restored from the store"
    if not path.is_file() or path.is_symlink():
        return f"{said}; logs cannot be restored"
    aside = path.with_name(f"{path.name}.changed")
    os.replace(path, aside)
    return f"{said}; logs cannot be restored, moved to {aside.name}"


def _clear(out: Path) -> None:
    """Remove links and rename folders where the run will write files, and the like."""
    for folder in FOLDERS:
        _make_way(out / folder, folder=True)
    for name in (RECORD, *(name for names in OUTPUTS.values() for name in names)):
        _make_way(out / name, folder=False)
    written = (("manifests", "*.json"), ("logs", "*.log"), (CARDS, "*.md"))
    for path in [path for folder, names in written for path in list((out / folder).glob(names))]:
        _make_way(path, folder=False)


def _make_way(path: Path, folder: bool) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file() and not path.is_dir()):
        path.unlink()
    elif path.is_dir() and not folder and not any(path.iterdir()):
        path.rmdir()
    elif path.exists() and path.is_dir() != folder:
        os.replace(path, path.with_name(f"{path.name}.{os.urandom(3).hex()}.aside"))


def write_record(
    out: Path,
    about: About,
    planned: Sequence[PlannedStage],
    state: str,
    artifacts: Mapping[str, Artifact] | None = None,
    message: str | None = None,
) -> None:
    """Write ``run.json``; once finished, with the digest of every file of the folder.

    Args:
        out: the run's folder.
        about: what is run.
        planned: the plan before the run, in order.
        state: ``running``, ``finished``, ``failed`` or ``interrupted``.
        artifacts: stage name -> artifact, once all are there.
        message: why it failed.
    """
    made = artifacts or {}
    names = _own_files(out, [item.stage.name for item in planned]) if state == "finished" else []
    names += _cards(made) if state == "finished" else []
    record = {
        "schema_version": SCHEMA,
        "state": state,
        "message": None if message is None else message[:LONGEST_MESSAGE],
        "recipe": about.recipe,
        "recipe_digest": about.digest,
        "profile": about.profile,
        "profile_reason": about.reason,
        "profile_differences": list(about.differences),
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
        "files": digests(out, names),
    }
    save(out, record)


def _own_files(out: Path, stages: Sequence[str]) -> list[str]:
    """Names of the files that a finished run of these stages has, but ``run.json``."""
    outputs = [name for names in OUTPUTS.values() for name in names]
    manifests = [f"manifests/{manifest_name(stage)}" for stage in stages]
    logs = [f"logs/{Path(manifest_name(stage)).stem}.log" for stage in stages]
    workers = [f"logs/{path.name}" for path in sorted((out / "logs").glob("worker_*.log"))]
    return [*outputs, *manifests, *logs, *workers]


def _cards(artifacts: Mapping[str, Artifact]) -> list[str]:
    files = artifacts[CARDS].manifest["files"] if CARDS in artifacts else ()
    return [f"{CARDS}/{name}" for name in files]


def publish(out: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Copy results, report and cards from the store to the run's folder."""
    for stage, names in OUTPUTS.items():
        for name in names:
            source = artifacts[stage].folder / name if stage in artifacts else None
            if source is not None and source.is_file():
                _write_atomic(out / name, source.read_bytes())
    cards = _cards(artifacts)
    for path in list((out / CARDS).glob("*.md")):
        if f"{CARDS}/{path.name}" not in cards:
            path.unlink()
    for card in cards:
        (out / CARDS).mkdir(exist_ok=True)
        _write_atomic(out / card, (artifacts[CARDS].folder / Path(card).name).read_bytes())


def forget_other_stages(out: Path, names: Sequence[str]) -> None:
    """Remove manifests and logs of stages that the recipe no longer has."""
    kept = {manifest_name(name) for name in names}
    for path in list((out / "manifests").glob("*.json")):
        if path.name not in kept and not path.is_dir():
            path.unlink()
            (out / "logs" / f"{path.stem}.log").unlink(missing_ok=True)


def manifest_name(stage: str) -> str:
    """``train__ppo__0.json``: the copy of a stage's manifest in ``manifests/``."""
    return f"{stage.replace('/', '__')}.json"


def find_run(name: str) -> Path:
    """The run's folder for what a user typed: a path, or a name below ``runs/``.

    Raises:
        UserError: no such run, with the nearest.
    """
    for candidate in (Path(name), Path("runs") / name):
        if os.path.lexists(candidate / RECORD):
            return candidate
    if os.path.isdir(name):
        raise UserError(f"{name}: no {RECORD} in it, so it is no run of alignbench")
    known = sorted(path.parent.name for path in Path("runs").glob(f"*/{RECORD}"))
    listed = ", ".join(f"runs/{each}" for each in known) or "none"
    shown = printable(name)
    raise UserError(f"{shown}: no such run{nearest(Path(name).name, known)}; runs here: {listed}")


def _manifests(out: Path) -> list[dict[str, Any]]:
    """The stage manifests in a folder: what shows that it is a run's where ``run.json`` cannot."""
    found = []
    for path in sorted((out / "manifests").glob("*.json")):
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(manifest, dict) and {"stage", "key", "seal"} <= manifest.keys():
            found.append(manifest)
    return found


def _recipe_of(out: Path) -> str | None:
    """The recipe's name by the manifest of the `results` stage; None where that does not say."""
    for manifest in _manifests(out):
        config = manifest.get("config")
        if manifest["stage"] == "results" and isinstance(config, dict):
            recipe = config.get("recipe")
            return recipe.get("name") if isinstance(recipe, dict) else None
    return None


def _write_atomic(path: Path, content: bytes) -> None:
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
