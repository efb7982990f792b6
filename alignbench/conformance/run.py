"""The conformance run: every check on one method."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from alignbench.conformance.checks import CHECKS, judge, name_of
from alignbench.conformance.options import tiny_options
from alignbench.conformance.trial import Bench
from alignbench.conformance.verdict import Verdict
from alignbench.methods.base import Method
from alignbench.methods.registry import method_class


def conformance(
    method: type[Method] | str,
    options: Mapping[str, Any] | None = None,
    told: Callable[[Verdict], None] = lambda verdict: None,
    only: Collection[str] = (),
) -> list[Verdict]:
    """Try a method in a tiny world and judge it by every check.

    Args:
        method: the class, a known name, or ``package.module:Class``.
        options: laid over the class's `example`.
        told: called with each verdict as it is reached.
        only: names of checks; none given, all.

    Raises:
        UserError: no such method, or options that it does not accept.
    """
    cls = method_class(method, {"uses": method}) if isinstance(method, str) else method
    chosen = tiny_options(cls, options or {})
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="alignbench-conformance-") as folder:
        bench = Bench(cls, chosen, Path(folder).resolve())
        for check in CHECKS:
            if only and name_of(check) not in only:
                continue
            verdict = judge(bench, check)
            told(verdict)
            verdicts.append(verdict)
    return verdicts
