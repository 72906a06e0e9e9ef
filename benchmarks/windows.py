"""How long windows take to build, and how much memory they hold, against text length and against a double loop.

    python -m benchmarks.windows

The last row is ten million names (the bundled list over and over): about 1.5 GB of memory while it runs.
"""

import itertools
import statistics
from functools import partial

from benchmarks import measuring, plain
from makemore.data import corpus
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows

BLOCK_SIZES = (3, 8)
PAIRS = 5


def main() -> None:
    """Prints and keeps the two tables."""
    names = corpus.read(corpus.BUNDLED)
    vocabulary = Vocabulary.from_documents(names)
    ids = plain.id_of(names)

    print(f"windows of the {len(names):,} bundled names, median of {PAIRS} pairs")
    print("block size   double loop   token stream   times faster   bytes an example")
    ratios = []
    for block_size in BLOCK_SIZES:
        pairs = [
            (
                measuring.seconds(partial(plain.double_loop, names, ids, block_size)),
                measuring.seconds(partial(Windows.from_documents, names, vocabulary, block_size)),
            )
            for _ in range(PAIRS)
        ]
        slow, quick = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        windows = Windows.from_documents(names, vocabulary, block_size)
        size = windows.stream.nbytes / len(windows)
        ratios.append({"block_size": block_size, "seconds": quick, "double_loop": slow, "ratio": ratio, "bytes": size})
        print(f"{block_size:10}   {slow:9.3f} s   {quick:10.4f} s   {ratio:12.0f}   {size:16.1f}")

    print("\ntext length, block size 8")
    print("     names      examples   vocabulary   windows   ns an example   bytes an example")
    lengths = []
    for count in (10_000, 100_000, 1_000_000, 10_000_000):
        documents = list(itertools.islice(itertools.cycle(names), count))
        reading = measuring.seconds(partial(Vocabulary.from_documents, documents))
        building = measuring.seconds(partial(Windows.from_documents, documents, vocabulary, 8))
        windows = Windows.from_documents(documents, vocabulary, 8)
        row = {
            "documents": count,
            "examples": len(windows),
            "vocabulary_seconds": reading,
            "seconds": building,
            "ns_per_example": building / len(windows) * 1e9,
            "bytes": windows.stream.nbytes / len(windows),
        }
        lengths.append(row)
        print(
            f"{count:10,}   {len(windows):11,}   {reading:8.3f} s   {building:6.3f} s   "
            f"{row['ns_per_example']:13.1f}   {row['bytes']:16.1f}"
        )
    measuring.keep("windows", {"against_double_loop": ratios, "by_length": lengths})
    print(f"\n{measuring.machine()}")


if __name__ == "__main__":
    main()
