import torch

from makemore.randomness import Stream, generator


def test_streams_of_one_seed_are_independent_and_repeatable() -> None:
    drawn = {stream: torch.rand(4, generator=generator(1, stream)).tolist() for stream in Stream}
    assert len({tuple(numbers) for numbers in drawn.values()}) == len(Stream)
    assert drawn[Stream.sampling] == torch.rand(4, generator=generator(1, Stream.sampling)).tolist()
    assert drawn[Stream.sampling] != torch.rand(4, generator=generator(2, Stream.sampling)).tolist()
