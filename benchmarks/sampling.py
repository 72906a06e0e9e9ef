"""Names a second, drawn together, against one character at a time.

python -m benchmarks.sampling
"""

import statistics
from functools import partial

import torch

from benchmarks import measuring, plain
from makemore.data import corpus
from makemore.data.vocabulary import Vocabulary
from makemore.inference import sampling
from makemore.models.mlp import formulas as mlp

PAIRS = 5
ALONE, TOGETHER = 300, 20_000


def main() -> None:
    """Trains the lecture's network for a moment, so that names end, then times both ways of drawing."""
    torch.set_num_threads(1)
    names = corpus.read(corpus.BUNDLED)
    vocabulary = Vocabulary.from_documents(names)
    contexts, targets = plain.double_loop(names, plain.id_of(names), 3)
    p = plain.parameters(len(vocabulary))
    plain.train(p, contexts, targets, 5000)
    parameters = mlp.Parameters(*(parameter.detach() for parameter in p))
    generator = torch.Generator().manual_seed(0)

    def together() -> None:
        for _ in range(0, TOGETHER, sampling.BATCH):
            start = torch.zeros(sampling.BATCH, 0, dtype=torch.int64)
            rows = sampling.draw(partial(mlp.logits, parameters), start, block_size=3, generator=generator)
            names = [vocabulary.decode(row) for row in rows]
            assert all(names)

    def alone() -> None:
        for _ in range(ALONE):
            vocabulary.decode(plain.sample(p, 3, generator))

    drawn = -(-TOGETHER // sampling.BATCH) * sampling.BATCH
    pairs = [(ALONE / measuring.seconds(alone), drawn / measuring.seconds(together)) for _ in range(PAIRS)]
    one, many = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"one character at a time {one:10,.0f} names a second")
    print(f"{sampling.BATCH:,} names at a time    {many:10,.0f} names a second, {ratio:.0f} times as many")
    print(f"median of {PAIRS} pairs; {measuring.machine()}")
    measuring.keep("sampling", {"alone": one, "together": many, "ratio": ratio})


if __name__ == "__main__":
    main()
