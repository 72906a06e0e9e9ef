"""Encodes a text as streams of ids for train, dev and test, with fingerprints that identify its documents.

It is read twice, for its vocabulary and for its ids, a piece at a time.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from makemore.config.schema import DataConfig, Layout, Level
from makemore.data import corpus
from makemore.data.split import Places, cut, split_numbers
from makemore.data.vocabulary import Ids, Vocabulary
from makemore.errors import FileError, UserError

Prints = np.ndarray[tuple[int], np.dtype[np.int64]]

PARTS = ("train", "dev", "test")
PIECE = 2**22  # ids that are put in order, or decoded, together


@dataclass(frozen=True)
class Documents:
    """A text, split and encoded."""

    path: Path
    documents: int  # how many there are; 1 if the text runs over all lines
    vocabulary: Vocabulary  # of the whole text, so that a run on its first few documents has the same network
    known: Tensor  # (distinct documents,) int64 fingerprints of the training documents, or one of a running text
    held_out: list[str]  # digests of the dev and of the test documents
    parts: tuple[Tensor, Tensor, Tensor]  # train, dev and test: the streams of `Windows`
    characters: tuple[int, int, int]  # of the parts' text, with a space or a line feed after each word or document


# Makes one array of the pieces of a part, whose name and length are given.
Collect = Callable[[str, int, Iterable[Ids]], Ids]


def in_memory(_name: str, _length: int, pieces: Iterable[Ids]) -> Ids:
    return np.concatenate(list(pieces))


def prepare(paths: Sequence[Path], data: DataConfig, collect: Collect = in_memory) -> Documents:
    """Reads the files of a text: one that is split, or those of train, dev and test.

    Raises UserError if a file or the split is not usable.
    """
    sizes = [count(path, data) for path in paths]
    counts: Counter[str] = Counter()
    for path, size in zip(paths, sizes, strict=True):
        if not size.counts:
            raise FileError(path, f"holds no {data.level}s; name a UTF-8 text file")
        counts.update(size.counts)
    vocabulary = Vocabulary.from_counts(counts, data.level, data.min_count)
    if data.layout is Layout.running:
        streams, characters = encode_running(paths, data, vocabulary, [size.counts.total() for size in sizes])
        parts = [collect(name, len(stream), [stream]) for name, stream in zip(PARTS, streams, strict=True)]
        documents, known = 1, fingerprint([digest(vocabulary, parts[0][1:])])
    else:
        ids, starts, lengths, prints = encode_lines(paths, data, vocabulary, sizes)
        numbers = choose_documents(data, [size.documents for size in sizes], prints)
        parts = [
            collect(name, 1 + int((starts[part + 1] - starts[part]).sum()), put_in_order(ids, starts, part))
            for name, part in zip(PARTS, numbers, strict=True)
        ]
        characters = [int(lengths[part].sum()) for part in numbers]
        documents = len(np.unique(np.concatenate(numbers)))  # with data.overfit the three are the same
        known = np.unique(prints[numbers[0]])
    return Documents(
        path=paths[0],
        documents=documents,
        vocabulary=vocabulary,
        known=torch.from_numpy(known),
        held_out=[digest(vocabulary, part[1:]) for part in parts[1:]],
        parts=tuple(map(torch.from_numpy, parts)),  # type: ignore[arg-type]
        characters=tuple(characters),  # type: ignore[arg-type]
    )


class Size(NamedTuple):
    """What a file holds."""

    counts: Counter[str]  # how often each token occurs
    documents: int  # in a running text, its pieces


def read_pieces(path: Path, data: DataConfig) -> Iterator[list[str]]:
    """The documents of a file, many at a time; of a running text its parts."""
    if data.layout is Layout.lines:
        yield from corpus.read_lines(path)
    else:
        for text in corpus.read_pieces(path, None if data.level is Level.char else " \n\t"):
            yield [text]


def count(path: Path, data: DataConfig) -> Size:
    """How often each token of a file occurs, and how many documents it has: the first of two readings."""
    counts: Counter[str] = Counter()
    code_points = np.zeros(sys.maxunicode + 1, dtype=np.int64)
    documents = 0
    for piece in read_pieces(path, data):
        documents += len(piece)
        if data.level is Level.word:
            counts.update(word for document in piece for word in document.split())
        else:
            numbers = np.frombuffer("".join(piece).encode("utf-32-le"), dtype="<u4")
            code_points += np.bincount(numbers, minlength=len(code_points))
    counts.update({chr(each): int(code_points[each]) for each in np.flatnonzero(code_points)})
    return Size(counts, documents)


def encode_running(
    paths: Sequence[Path], data: DataConfig, vocabulary: Vocabulary, sizes: Sequence[int]
) -> tuple[list[Ids], list[int]]:
    """The parts of a running text, a boundary before each, and how many characters each has.

    `sizes` are the tokens of each file.

    Raises:
        UserError: the split leaves a part empty, or there are fewer tokens than `data.overfit`.
    """
    if data.overfit is not None:
        check_overfit(data.overfit, sum(sizes), "tokens")
        ranges = [(0, data.overfit)] * 3
    else:
        first, second = np.cumsum(sizes)[:2].tolist() if len(sizes) == 3 else cut(sum(sizes), data.splits)
        ranges = [(0, first), (first, second), (second, sum(sizes))]
    parts = [np.zeros(1 + last - first, dtype=vocabulary.dtype) for first, last in ranges]
    characters = [0, 0, 0]
    at = 0
    for text in (text for path in paths for (text,) in read_pieces(path, data)):
        ids: Ids = vocabulary.encode_text(text)
        lengths = count_characters(text.split()) if data.level is Level.word else np.ones(len(ids), dtype=np.int32)
        for part, (first, last) in enumerate(ranges):
            here = slice(max(first - at, 0), max(last - at, 0))  # of this piece
            begin = 1 + max(at - first, 0)
            parts[part][begin : begin + len(ids[here])] = ids[here]
            characters[part] += int(lengths[here].sum())
        at += len(ids)
    return parts, characters


def encode_lines(
    paths: Sequence[Path], data: DataConfig, vocabulary: Vocabulary, sizes: Sequence[Size]
) -> tuple[Ids, Places, Ids, Prints]:
    """The D documents of some files, in their order.

    Returns:
        (T,) ids, with a boundary after each document; (D + 1,) where each begins, and the end; (D,) characters of each,
        with the line feed after it; and (D,) fingerprints.
    """
    documents = sum(size.documents for size in sizes)
    ids = np.empty(sum(size.counts.total() for size in sizes) + documents, dtype=vocabulary.dtype)
    starts = np.zeros(documents + 1, dtype=np.int64)
    lengths, prints = np.empty(documents, dtype=np.int32), np.empty(documents, dtype=np.int64)
    at = document = 0
    for piece in (piece for path in paths for piece in read_pieces(path, data)):
        encoded = vocabulary.encode(piece)
        ids[at : at + len(encoded)] = encoded
        starts[document + 1 : document + len(piece) + 1] = at + np.flatnonzero(encoded == 0) + 1
        at += len(encoded)
        normal = [vocabulary.normalize(each) for each in piece]
        here = slice(document, document + len(piece))
        lengths[here], prints[here] = count_characters(normal), fingerprint(normal)
        document += len(piece)
    return ids, starts, lengths, prints


def count_characters(texts: Sequence[str]) -> Ids:
    """The characters of each text, and one for what follows it. (N,) int32"""
    return np.fromiter(map(len, texts), dtype=np.int32, count=len(texts)) + 1


def check_overfit(overfit: int, there: int, what: str) -> None:
    """Raises UserError if a run is to have more documents, or tokens, than there are."""
    if overfit > there:
        raise UserError(f"data.overfit={overfit} is more than the {there:,} {what} there are")


def choose_documents(data: DataConfig, sizes: Sequence[int], prints: Prints) -> tuple[Places, Places, Places]:
    """The numbers of the documents in train, dev and test, of files with `sizes` documents and these fingerprints.

    Raises:
        UserError: the split leaves a part empty, or there are fewer documents than `data.overfit`.
    """
    numbers = np.arange(sum(sizes))
    if data.unique:
        numbers = np.sort(np.unique(prints, return_index=True)[1])
    if data.overfit is not None:
        check_overfit(data.overfit, len(numbers), "documents")
        numbers = numbers[: data.overfit]
        return numbers, numbers, numbers
    if len(sizes) == 3:
        first, second, _ = np.cumsum(sizes).tolist()
        return numbers[:first], numbers[first:second], numbers[second:]
    train, dev, test = split_numbers(len(numbers), data.splits, data.split_seed)
    return numbers[train], numbers[dev], numbers[test]


def put_in_order(ids: Ids, starts: Places, numbers: Places) -> Iterator[Ids]:
    """A boundary, and the ids of the documents with these numbers, one after another, in pieces.

    Of D documents, `starts` (D + 1,) says where they begin in the ids (T,), and where the last one ends.
    """
    yield np.zeros(1, dtype=ids.dtype)
    ends = np.cumsum(starts[numbers + 1] - starts[numbers])  # (documents,) in what is yielded after the boundary
    first = at = 0
    while first < len(numbers):
        last = max(first + 1, int(np.searchsorted(ends, at + PIECE)))
        some = numbers[first:last]
        lengths = starts[some + 1] - starts[some]
        # Where each document begins in the text, less where it begins in this piece.
        shift = np.repeat(starts[some] - (np.cumsum(lengths) - lengths), lengths)
        yield ids[shift + np.arange(len(shift))]
        first, at = last, int(ends[last - 1])


def digest(vocabulary: Vocabulary, ids: Ids) -> str:
    """A BLAKE2b hash that identifies a text, in hexadecimal. What ends the last line, or word, does not count.

    The text is hashed in pieces; what ends a piece is hashed only when more text follows.
    """
    hashed = hashlib.blake2b(digest_size=16)
    end, first = "", 0
    while first < len(ids):
        last = first + PIECE
        while last < len(ids) and ids[last] == 0:  # no piece begins with a boundary, before which words have no space
            last += 1
        text = end + vocabulary.decode(ids[first:last].tolist()) + ("" if vocabulary.level is Level.char else " ")
        text = text.replace("\n ", "\n") if vocabulary.level is Level.word else text
        end = text[-1] if text[-1] in " \n" else ""
        hashed.update(text.removesuffix(end).encode() if end else text.encode())
        first = last
    return hashed.hexdigest()


def fingerprint(documents: Sequence[str]) -> Prints:
    """A 64-bit BLAKE2b hash of each document: enough to tell a known name from a new one. (N,)"""
    digests = [hashlib.blake2b(document.encode(), digest_size=8).digest() for document in documents]
    return np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)
