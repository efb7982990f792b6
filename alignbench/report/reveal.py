"""Characters that a reader cannot see, made visible: model text must not disguise itself."""

from __future__ import annotations

import re
import unicodedata

#: Control, format (bidi overrides, zero-width, tags), surrogate, line and paragraph separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_CANDIDATES = re.compile(r"[^\n\t -~]")


def reveal(text: str) -> str:
    """`text` with each invisible or direction-changing character as ⟦U+XXXX⟧.

    Newlines and tabs stay. Escaping for HTML is the template's, after this.
    """
    return _CANDIDATES.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    character = match[0]
    if unicodedata.category(character) in _HIDDEN:
        return f"⟦U+{ord(character):04X}⟧"
    return character
