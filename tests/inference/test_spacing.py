import pytest

from makemore.inference.spacing import space_words


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("The jury said , `` It is so '' .", "The jury said, “It is so”."),
        (
            "`` Why not ? ? '' he asked ; nobody ( not one ) knew : it was 1-1/2 % .",
            "“Why not?” he asked; nobody (not one) knew: it was 1-1/2%.",
        ),
        ("a -- b '' , c", "a -- b”, c"),
        ("no ! ! yes ; ; but ... twice", "no! yes; but... twice"),
        ("! ! emma ? ? ?", "! emma?"),
        ("emma", "emma"),
        ("", ""),
    ],
)
def test_marks_stand_as_in_print(tokens: str, text: str) -> None:
    assert space_words(tokens) == text
