"""Documents are read, split into train, dev and test, and fingerprinted."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from makemore.config.schema import DataConfig
from makemore.data import corpus
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError


def split(documents: Sequence[str], shares: Sequence[float], seed: int) -> tuple[list[str], list[str], list[str]]:
    """Train, dev and test: one shuffle by `random.Random(seed)`, cut as in the lecture. UserError if one is empty."""
    shuffled = list(documents)
    random.Random(seed).shuffle(shuffled)
    # The nudge undoes sums like 0.7 + 0.2 = 0.8999..., which would cut one document short.
    first, second = (int(share * len(shuffled) + 1e-6) for share in (shares[0], shares[0] + shares[1]))
    parts = shuffled[:first], shuffled[first:second], shuffled[second:]
    given, there = f"data.splits={list(shares)}".replace(" ", ""), len(shuffled)
    for name, part in zip(("train", "dev", "test"), parts, strict=True):
        if not part:
            raise UserError(f"{given} leaves {name} empty: there are {there} documents; give more, or larger shares")
    return parts


def digest(documents: Sequence[str]) -> str:
    """A BLAKE2b hash that identifies a list of documents, in hexadecimal."""
    return hashlib.blake2b("\n".join(documents).encode(), digest_size=16).hexdigest()


def fingerprint(documents: Sequence[str]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """A 64-bit BLAKE2b hash of each document: enough to tell a known name from a new one. (N,)"""
    digests = [hashlib.blake2b(document.encode(), digest_size=8).digest() for document in documents]
    return np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)


@dataclass(frozen=True)
class Documents:
    """The documents of a file, split."""

    path: Path
    documents: int  # how many there are
    vocabulary: Vocabulary  # of the whole file, so that a run on its first few documents has the same network
    known: Tensor  # (distinct documents,) int64 fingerprints of the training documents
    held_out: list[str]  # digests of the dev and of the test documents
    parts: tuple[list[str], list[str], list[str]]  # train, dev and test


_read: dict[str, Documents] = {}


def read_documents(data: DataConfig) -> Documents:
    """Reads the documents and splits them; raises UserError if the file or the split is not usable.

    A second call with the same file and split reads nothing: a sweep reads before it forks its runs, which share this.
    """
    same = repr(replace(data, block_size=0, batch_size=0, replacement=False))
    if same in _read:
        return _read[same]
    path = corpus.locate(data)
    documents = corpus.read(path)
    vocabulary = Vocabulary.from_documents(documents)
    if data.unique:
        documents = list(dict.fromkeys(documents))
    if data.overfit is None:
        parts = split(documents, data.splits, data.split_seed)
    elif data.overfit <= len(documents):
        documents = documents[: data.overfit]
        parts = documents, documents, documents
    else:
        raise UserError(f"data.overfit={data.overfit} is more than the {len(documents)} documents there are")
    known = torch.from_numpy(np.unique(fingerprint(parts[0])))
    held_out = [digest(part) for part in parts[1:]]
    _read[same] = Documents(path, len(documents), vocabulary, known, held_out, parts)
    return _read[same]
