"""What all HTML pages share: self-contained, and safe with texts that nobody here wrote.

A page loads nothing, so it can be mailed, archived and printed. Everything a model, a prompt or a
recipe wrote is hostile: templates escape every expression, data for scripts is escaped JSON,
invisible and bidirectional control characters are made visible, and a Content-Security-Policy
forbids what the page does not bring.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from alignbench.report.reveal import reveal

if TYPE_CHECKING:
    from markupsafe import Markup

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Of a page without scripts."""

#: What could end a script element or a line of JavaScript, as JSON may write it instead.
_IN_SCRIPT = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def render(template: str, *, policy: str = POLICY, **values: Any) -> str:
    """The HTML text of a template of this package, which extends ``base.html.jinja``.

    Args:
        template: file name in ``templates``.
        policy: Content-Security-Policy of the page.
        values: names in the template; a missing one is an error.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("alignbench.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: reveal(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json_block"] = json_block
    return environment.get_template(template).render(policy=policy, **values)


def json_block(value: Any) -> Markup:
    """`value` as JSON that may stand in ``<script type="application/json">``.

    Texts (keys too) are revealed; nothing in it can end the script element.
    """
    from markupsafe import Markup

    text = json.dumps(revealed(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(_IN_SCRIPT))


def revealed(value: Any) -> Any:
    """A JSON value with every text in it as `reveal` shows it."""
    if isinstance(value, str):
        return reveal(value)
    if isinstance(value, Mapping):
        return {reveal(str(key)): revealed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [revealed(item) for item in value]
    return value


def script(*names: str) -> Markup:
    """JavaScript files of ``templates`` as one script, to stand in a script element."""
    folder = resources.files("alignbench.report") / "templates"
    return inline("".join((folder / name).read_text("utf-8") for name in names))


def inline(code: str) -> Markup:
    """Code of ours or of a library, unescaped.

    Raises:
        ValueError: it would end its script element before its end.
    """
    from markupsafe import Markup

    if "</script" in code.lower() or "<!--" in code:
        raise ValueError("code with </script or <!-- cannot stand in a page")
    return Markup(code)


def policy_of(*scripts: str) -> str:
    """The policy of a page in which these scripts, and no others, may run."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
        for code in scripts
    )
    return f"{POLICY}; script-src {hashes}; base-uri 'none'; form-action 'none'"
