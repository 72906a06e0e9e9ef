import pytest
import torch

from makemore.randomness import GlobalGenerator, Use, make_generator


def test_streams_of_one_seed_are_independent_and_repeatable() -> None:
    drawn = {use: torch.rand(4, generator=make_generator(1, use)).tolist() for use in Use}
    assert len({tuple(numbers) for numbers in drawn.values()}) == len(Use)
    assert drawn[Use.sampling] == torch.rand(4, generator=make_generator(1, Use.sampling)).tolist()
    assert drawn[Use.sampling] != torch.rand(4, generator=make_generator(2, Use.sampling)).tolist()


def test_a_global_generators_stream_goes_on_where_it_was_left_whoever_draws_in_between() -> None:
    alone = GlobalGenerator(1)
    with alone:
        expected = torch.rand(6)
    interleaved, other = GlobalGenerator(1), GlobalGenerator(2)
    drawn = []
    for _ in range(3):
        with interleaved:
            drawn.append(torch.rand(2))
        torch.rand(5)
        with other:
            torch.rand(3)
    assert torch.equal(torch.cat(drawn), expected)


def test_a_global_generator_leaves_the_outside_as_it_was_also_after_an_error() -> None:
    stream = GlobalGenerator(1)
    before = torch.get_rng_state()
    with stream:
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="inside"), stream:
        torch.rand(3)
        raise ValueError("inside")
    assert torch.equal(torch.get_rng_state(), before)
