from __future__ import annotations

from alignbench.errors import Exit, StageFailed, UserError, nearest, printable


def test_exit_codes_are_the_documented_ones() -> None:
    assert [code.value for code in Exit] == [0, 1, 2, 3, 4, 70, 130, 141]
    assert UserError("x").exit_code == 2
    assert StageFailed("x").exit_code == 4


def test_all_problems_are_in_the_message() -> None:
    error = UserError("first", "second")
    assert str(error) == "first\nsecond"
    assert error.problems == ("first", "second")


def test_nearest() -> None:
    assert (
        nearest("learning_rat", ["learning_rate", "epochs"]) == ' (did you mean "learning_rate"?)'
    )
    assert nearest("xyz", ["learning_rate"]) == ""
    assert nearest("a", []) == ""


def test_printable_escapes_only_what_upsets_terminals() -> None:
    assert printable("é 日本 x") == "é 日本 x"
    assert printable("\x1b[31m\r\n\u202e") == "\\x1b[31m\\r\\n\\u202e"
