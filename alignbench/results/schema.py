"""results.json and results.csv: what they hold, and reading and writing them.

results.json is the one source that every table and report renders. All of it is equal in equal
runs, except "costs", the only place for times and memory (its "bills" are those in seconds and
bytes, with the choice of a method by memory and the machine; the others of its keys are stages).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from alignbench.errors import UserError
from alignbench.files import write_atomic
from alignbench.results.sections import Results

SCHEMA_VERSION = 1
SIGNIFICANT_DIGITS = 10
#: Seed of all resampling: fixed, so that intervals do not change with anything but the data.
RESAMPLING_SEED = 20_240
CSV_COLUMNS = ("model", "metric", "value", "low", "high", "n_seeds", "n_prompts")


def load(path: Path) -> dict[str, Any]:
    """Read and check a results.json.

    Raises:
        UserError: no such file, not JSON, another schema version, or another shape; says where.
    """
    try:
        text = path.read_text(encoding="utf-8")
        results = json.loads(text)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give the results.json of a finished run."
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({error}).") from error
    if not isinstance(results, dict) or "schema_version" not in results:
        raise UserError(f'{path}: not a results file of alignbench (no "schema_version").')
    version = results["schema_version"]
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: schema_version is {version!r}, this alignbench reads {SCHEMA_VERSION}. "
            "Make the results again with `alignbench run`, or use the version that made them."
        )
    try:
        Results.model_validate(results)
    except ValidationError as error:
        raise UserError(
            *(
                f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}"
                for problem in error.errors()[:10]
            )
        ) from error
    return results


def save(results: Mapping[str, Any], folder: Path) -> None:
    """Write results.json and results.csv, each whole or not at all, floats to 10 digits."""
    rounded = rounded_floats(results)
    text = json.dumps(rounded, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomic(folder / "results.json", text + "\n")
    write_atomic(folder / "results.csv", csv_text(rounded))


def csv_text(results: Mapping[str, Any]) -> str:
    """The rows as CSV with the columns `CSV_COLUMNS`; unknown is empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, CSV_COLUMNS, restval="", extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(results["rows"])
    return buffer.getvalue()


def rounded_floats(value: Any) -> Any:
    """`value` with every float at 10 significant digits (differences beyond are noise of BLAS)."""
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded_floats(item) for item in value]
    return value
