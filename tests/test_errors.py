import pytest

from makemore.errors import LONGEST, UserError, make_printable


@pytest.mark.parametrize(
    "unsafe", ["\x1b", "\x00", "\n", "\r", "\x85", "\u202e", "\u2066", "\u2028", "\ufeff", "\udcff"]
)
def test_what_could_move_a_cursor_or_reorder_text_is_escaped(unsafe: str) -> None:
    shown = make_printable(f"a{unsafe}b")
    assert unsafe not in shown and shown.startswith("a\\") and shown.endswith("b")
    assert str(UserError(f"a{unsafe}b")) == shown


@pytest.mark.parametrize("text", ["zoë", "日本", "👩\u200d👧", "می\u200cخواهم", 'a\\b "c"'])
def test_letters_of_any_script_stay(text: str) -> None:
    assert make_printable(text) == text


def test_a_long_message_is_cut() -> None:
    shown = str(UserError("x" * 10**6))
    assert LONGEST <= len(shown) <= LONGEST + 3
