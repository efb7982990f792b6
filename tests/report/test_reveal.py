from __future__ import annotations

from alignbench.report.reveal import reveal


def test_reveal() -> None:
    assert reveal("plain é 漢 🙂\n\ttext") == "plain é 漢 🙂\n\ttext"
    assert reveal("a\u202eb\u2066c\u200d\ufeff\x1b\x7f\u2028") == (
        "a⟦U+202E⟧b⟦U+2066⟧c⟦U+200D⟧⟦U+FEFF⟧⟦U+001B⟧⟦U+007F⟧⟦U+2028⟧"
    )
    assert reveal("\U000e0041") == "⟦U+E0041⟧"
