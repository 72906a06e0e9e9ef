import math

import pytest

from makemore.inference.units import bits_per_character, perplexity


def test_a_uniform_guess_has_the_perplexity_of_its_choices() -> None:
    assert perplexity(math.log(27)) == pytest.approx(27)
    assert perplexity(800) == math.inf
    assert math.isnan(perplexity(math.nan))


def test_bits_are_spread_over_the_characters() -> None:
    # Each of 10 tokens is one of 8 that are equally likely: 3 bits, over 15 characters in all.
    assert bits_per_character(math.log(8), 10, 15) == pytest.approx(2)
