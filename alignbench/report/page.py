"""What all HTML pages share: self-contained, and safe with texts that nobody here wrote.

A page loads nothing, so it can be mailed, archived and printed. Everything a model, a prompt or a
recipe wrote is hostile: templates escape every expression, invisible and bidirectional control
characters are made visible, and a Content-Security-Policy forbids what the page does not bring.
"""

from __future__ import annotations

from typing import Any

from alignbench.report.reveal import reveal

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Of a page without scripts."""


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
    return environment.get_template(template).render(policy=policy, **values)
