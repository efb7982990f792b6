"""From a Vega-Lite specification to static SVG, and the library that makes it interactive."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from markupsafe import Markup

CONFIG: dict[str, Any] = {
    "aria": False,  # the figure has one label; its parts would only be noise
    "background": "transparent",
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--soft)",
        "titleColor": "var(--soft)",
        "titleFontWeight": "normal",
        "titleFontSize": 12,
        "labelFontSize": 11,
        "labelLimit": 110,
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
    },
    "axisY": {"tickCount": 5},
    "legend": {"labelColor": "var(--ink)", "labelFontSize": 12, "labelLimit": 110},
}
"""Looks of every chart; given to the page once."""
LEGEND_ENTRY = 110
"""Pixels for a line's name."""

_SVG = "{http://www.w3.org/2000/svg}"
_TAGS = {"svg", "g", "path", "line", "rect", "text", "circle"}
_LOOKS = (
    {"fill", "stroke", "opacity"}
    | {"stroke-width", "stroke-dasharray", "stroke-linecap", "fill-opacity", "stroke-opacity"}
    | {"text-anchor", "font-size", "font-weight"}
)
_PLACES = {"d", "transform", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r"}
_KEPT = _LOOKS | _PLACES | {"width", "height", "viewBox"}
_LONG = re.compile(r"\d+\.\d{2,}")


def draw(spec: Mapping[str, Any]) -> Markup:
    """The SVG of a specification, for use inside HTML.

    Raises:
        ValueError: Vega drew an element that no chart of ours has.
    """
    # As many entries side by side as fit; `figures.js` does the same for its width.
    legend = {**CONFIG["legend"], "columns": max(2, spec["width"] // LEGEND_ENTRY)}
    return _drawn(json.dumps({**spec, "config": {**CONFIG, "legend": legend}}))


@lru_cache(maxsize=128)
def _drawn(spec: str) -> Markup:
    import vl_convert
    from markupsafe import Markup

    tree = ElementTree.fromstring(vl_convert.vegalite_to_svg(spec))
    _simplify(tree)
    tree.set("focusable", "false")
    tree.set("aria-hidden", "true")
    return Markup(ElementTree.tostring(tree, encoding="unicode"))


def _simplify(element: ElementTree.Element) -> None:
    """Keep what is seen: known elements and attributes, numbers to a tenth, no empty paths."""
    element.tag = element.tag.removeprefix(_SVG)
    if element.tag not in _TAGS:
        raise ValueError(f"a chart has an element <{element.tag}>")
    for name in [name for name in element.attrib if name not in _KEPT]:
        del element.attrib[name]
    for name, value in element.attrib.items():
        element.attrib[name] = _LONG.sub(lambda found: f"{float(found[0]):.1f}", value)
    if element.attrib.get("opacity") == "1":
        del element.attrib["opacity"]
    for child in list(element):
        if _seen(child):
            _simplify(child)
        else:
            element.remove(child)


def _seen(element: ElementTree.Element) -> bool:
    if element.get("display") == "none":
        return False
    if element.tag == f"{_SVG}path":
        return element.get("d") not in (None, "", "M0,0h0v0h0Z")
    return element.tag != f"{_SVG}g" or any(map(_seen, element))


@cache
def library() -> str:
    """Vega-Embed, Vega-Lite and Vega as one script (about 0.9 MB)."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
