"""Damage model files in many ways: each must be read as the original, or be refused with one sentence.

    python -m benchmarks.damage [--seed 1]

Flipped bytes, every bit of the header, files cut short, and headers that say something else: a value replaced, removed,
repeated or nested, once with the digest as it was and once with the digest that the changed file needs.
"""

import argparse
import copy
import hashlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from benchmarks import measuring
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError
from makemore.models import model_file, registry

FLIPS, CUTS, HEADERS = 10_000, 500, 6_000
# What a value of a header is replaced by.
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    10**30,
    0.5,
    float("nan"),
    "",
    "x" * 10**5,
    "${oc.env:HOME}",
    [],
    {},
]
ODD += [["a"] * 1000, [[[[]]]], {"_target_": "os.system"}, "\x1b[2J\u202e\n", "mlp", "mixture", "ngram"]
NAMES = {"mlp": {"emb_dim": 2, "hidden": 4}, "wavenet": {"emb_dim": 2, "hidden": 4}, "bigram": {}}


def make(folder: Path) -> Iterator[Path]:
    """A small file of each model."""
    for name, keys in NAMES.items():
        config_class = registry.config_of(name)
        more = {"init": "normal", "dropout": 0.0, "gradients": "auto"} if name == "mlp" else {}
        model = model_file.build_described({"name": name, **keys, **more}, 3, 1 if name == "bigram" else 2)
        assert isinstance(model.config, config_class)
        model.initialize(torch.Generator().manual_seed(1))
        known = torch.tensor([1, 2, 3])
        trained = model_file.TrainedModel(model, Vocabulary((".", "a", "b")), {"model": name}, {}, 7, known, ["a", "b"])
        path = folder / name
        model_file.save(trained, path)
        yield path


def damage(raw: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Every way of damaging a file that leaves its bytes unexplained."""
    size = 8 + int.from_bytes(raw[:8], "little")
    for _ in range(FLIPS // len(NAMES)):
        at = chance.randrange(len(raw))
        yield "flipped byte", raw[:at] + bytes([raw[at] ^ chance.randrange(1, 256)]) + raw[at + 1 :]
    for bit in range(8 * size):
        yield "header bit", raw[: bit // 8] + bytes([raw[bit // 8] ^ 1 << bit % 8]) + raw[bit // 8 + 1 :]
    for _ in range(CUTS // len(NAMES)):
        yield "cut short", raw[: chance.randrange(len(raw))]


def forge(raw: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Files whose header says something else."""
    size = int.from_bytes(raw[:8], "little")
    description = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"][model_file.ENTRY])
    for _ in range(HEADERS // len(NAMES)):
        changed, tensors = copy.deepcopy(description), safetensors.torch.load(raw)
        group: Any = chance.choice([changed, changed, changed["model"], changed["data"], changed["settings"]])
        key = chance.choice(sorted(group) or ["x"])
        if chance.random() < 0.2:
            group.pop(key, None)
        else:
            group[key] = copy.deepcopy(chance.choice(ODD))
        if chance.random() < 0.3:
            name = chance.choice(sorted(tensors))
            tensors[name] = chance.choice(
                [torch.zeros(0), torch.zeros(1, 1, 1), tensors[name].double(), tensors[name].flatten()[:1]]
            )
        digest = description["digest"]
        if isinstance(changed.get("digest"), str) and chance.random() < 0.9:
            changed["digest"] = digest = model_file.NO_DIGEST
        file = safetensors.torch.save(tensors, {model_file.ENTRY: json.dumps(changed)})
        if digest == model_file.NO_DIGEST:
            file = file.replace(digest.encode(), hashlib.sha256(file).hexdigest().encode(), 1)
        yield "header of another content", file


def judge(path: Path, original: bytes, raw: bytes) -> str:
    """What reading a file gives: `refused`, `read`, or what is wrong."""
    path.write_bytes(raw)
    began = time.perf_counter()
    try:
        model_file.save(model_file.load(path), path.with_name("again"))
    except UserError as error:
        text = str(error)
        if not text.isprintable() or len(text) > 1100:
            return f"wrong: {text[:80]!r}"
        return "refused" if time.perf_counter() - began < 5 else "wrong: took seconds"
    except Exception as error:
        return f"wrong: {type(error).__name__}: {error}"
    return "read" if path.with_name("again").read_bytes() == original else "read, another model"


def main() -> None:
    """Prints how many of each kind were refused and read; writes results/damage.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    chance = random.Random(parser.parse_args().seed)
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in make(Path(folder)):
            original = path.read_bytes()
            for damaged in (damage(original, chance), forge(original, chance)):
                for kind, raw in damaged:
                    counts.setdefault(kind, Counter())[judge(Path(folder, "x"), original, raw)] += 1
    for kind, found in counts.items():
        print(f"{kind:<28}" + ", ".join(f"{number:,} {what}" for what, number in found.most_common()))
    measuring.keep("damage", counts)
    # Only whoever writes a valid digest can make a file of another model.
    wrong = [what for kind, found in counts.items() for what in found if what not in ("refused", "read")]
    if any(what != "read, another model" for what in wrong) or any(
        "read, another model" in found for kind, found in counts.items() if not kind.startswith("header of")
    ):
        sys.exit("something is wrong")


if __name__ == "__main__":
    main()
