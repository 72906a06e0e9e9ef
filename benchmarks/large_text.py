"""How long a large text takes to prepare and to reopen, and how much memory.

    python -m benchmarks.large_text            (1 GB of words with Zipf's frequencies, in a temporary folder)
    python -m benchmarks.large_text --mb 100

For characters and for words, each as documents on lines and as a running text: the seconds and the peak memory of a
process that prepares the text, and of one that reopens it from the cache. Needs three times as much space on the disk.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measuring

WORDS = 50_000
LINE = 12  # words

READ = """
import json, resource, sys, time
from makemore.config.schema import DataConfig, Layout, Level, Source
from makemore.data import cache
import pooch  # here, so that the clock does not count it
started = time.perf_counter()
level, layout, path = sys.argv[1:]
data = DataConfig(source=Source.text, path=path, splits=[0.8, 0.1, 0.1], split_seed=42, unique=False, overfit=None,
                  level=Level[level], layout=Layout[layout], min_count=1)
documents = cache.read_documents(data)
print(json.dumps({
    "seconds": time.perf_counter() - started,
    "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    "tokens": sum(len(part) - 1 for part in documents.parts),
    "vocabulary": len(documents.vocabulary),
}))
"""


def write_text(path: Path, size: int) -> None:
    """Lines of words whose frequencies fall with their rank, until there are so many bytes."""
    generator = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlcumwfgypbvk"))
    words = np.array(["".join(generator.choice(letters, generator.integers(2, 10))) for _ in range(WORDS)])
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size:
            ranks = (WORDS ** generator.random((2**16, LINE))).astype(int) - 1
            file.writelines(" ".join(row) + "\n" for row in words[ranks])


def main() -> None:
    """Prints a line a case; writes results/large_text.json."""
    arguments = argparse.ArgumentParser(description="preparing and reopening a large text")
    arguments.add_argument("--mb", type=int, default=1000, help="size of the text")
    size = arguments.parse_args().mb * 10**6
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        write_text(path, size)
        environment = os.environ | {"XDG_CACHE_HOME": folder}
        for level in ("char", "word"):
            for layout in ("lines", "running"):
                row: dict[str, Any] = {"level": level, "layout": layout, "bytes": path.stat().st_size}
                for what in ("prepare", "reopen"):
                    command = [sys.executable, "-c", READ, level, layout, str(path)]
                    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                    row[what] = json.loads(done.stdout.splitlines()[-1])
                    print(f"{level} {layout} {what}: {{seconds:.1f}} s, {{gb:.2f}} GB".format(**row[what]), flush=True)
                rows.append(row)
    measuring.keep("large_text", rows)
    print("written: benchmarks/results/large_text.json")


if __name__ == "__main__":
    main()
