"""Caches prepared texts: in memory, and large ones also on disk, from where their ids are mapped into memory."""

import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from makemore import files
from makemore.config.schema import DataConfig, Level
from makemore.data import corpus
from makemore.data.documents import PARTS, Documents, prepare
from makemore.data.vocabulary import Ids, Vocabulary

LARGE = 2**25  # bytes of a text that takes seconds to prepare
# Part of every key: raise it when what is kept, or how a text is read, changes.
VERSION = 4
DESCRIPTION = "text.json"
UNFINISHED = "unfinished-"
PIECE = 2**24  # bytes of a file that are read at once
LONG = 24 * 3600  # seconds after which an unfinished folder counts as abandoned

_read: dict[str, Documents] = {}


def read_documents(data: DataConfig) -> Documents:
    """Reads a text and splits it; raises UserError if a file or the split is not usable.

    A second call with the same file and split reads nothing: a sweep reads before it forks its runs, which share this.
    """
    same = repr(keep_relevant(data))
    if same not in _read:
        paths = corpus.locate(data)
        size = sum(path.stat().st_size for path in paths if os.path.isfile(path))  # noqa: PTH113 (Path's raises for long names)
        with corpus.name_keys(data):
            _read[same] = prepare(paths, data) if size < LARGE else read_large(paths, data, size)
    return _read[same]


def keep_relevant(data: DataConfig) -> DataConfig:
    """The settings without those that a text's preparation does not depend on."""
    return replace(data, block_size=0, batch_size=0, replacement=False)


def read_large(paths: Sequence[Path], data: DataConfig, size: int) -> Documents:
    """A text of so many bytes from the cache, prepared there first if need be."""
    for path in paths:
        corpus.check(path)
    import pooch

    cache = Path(pooch.os_cache("makemore")) / "texts"
    settings = asdict(replace(keep_relevant(data), path=None, dev_path=None, test_path=None))
    contents = [identify(path, cache) for path in paths]
    key = json.dumps([VERSION, contents, settings], default=str)
    folder = cache / hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    documents = load(folder, paths[0])
    if documents is None:
        print(f"preparing {size / 1e6:,.0f} MB of text ...", flush=True)
        try:
            make(folder, paths, data)
            documents = load(folder, paths[0])
            if documents is not None:
                print(f"kept in {folder} for the next run", flush=True)
        except OSError as error:
            print(f"what is prepared cannot be kept in {cache}: {error.strerror}", flush=True)
    return prepare(paths, data) if documents is None else documents


def identify(path: Path, cache: Path) -> str:
    """The SHA-256 of a file's content, remembered until its size, place or times change."""
    status = path.stat()
    name = str(path.resolve())
    now = [name, status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
    record = cache / f"{hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()}.json"
    try:
        *then, digest = json.loads(record.read_text(encoding="utf-8"))
        if then == now:
            return str(digest)
    except (OSError, ValueError):
        pass  # not there yet, or not whole
    with corpus.explain_failed_reads(path), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        files.write_text(record, json.dumps([*now, digest]))
    except OSError:
        pass  # a cache that cannot be written costs time alone
    return digest


def make(folder: Path, paths: Sequence[Path], data: DataConfig) -> None:
    """Prepares a text in files; their folder appears when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"{UNFINISHED}*"):  # left by a process that was killed
        if time.time() - left.stat().st_mtime > LONG:
            shutil.rmtree(left, ignore_errors=True)
    beside = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder.parent))

    def write(name: str, length: int, pieces: Iterable[Ids]) -> Ids:
        with (beside / f"{name}.npy").open("wb") as file:
            for number, piece in enumerate(pieces):
                if number == 0:
                    header = {"descr": piece.dtype.str, "fortran_order": False, "shape": (length,)}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(piece.data)
        return open_array(beside, name)

    try:
        documents = prepare(paths, data, write)
        np.save(beside / "known.npy", documents.known.numpy())
        description = {
            "tokens": documents.vocabulary.tokens,
            "level": documents.vocabulary.level.value,
            "documents": documents.documents,
            "held_out": documents.held_out,
            "characters": documents.characters,
            "checksums": {file.name: compute_checksum(file) for file in beside.iterdir()},
        }
        (beside / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        if not folder.is_dir():  # otherwise another run was faster
            raise


def compute_checksum(path: Path) -> int:
    """The CRC-32 of a file: a third of a second for 1 GB, if memory has it."""
    checksum = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            checksum = zlib.crc32(piece, checksum)
    return checksum


def open_array(folder: Path, name: str) -> Ids:
    """An array mapped into memory: it is read from the disk where it is needed."""
    # `c`, because PyTorch has no read-only tensors; nothing writes into it.
    array: Ids = np.load(folder / f"{name}.npy", mmap_mode="c")
    return array


def load(folder: Path, path: Path) -> Documents | None:
    """A text that was prepared before; None if it was not, or if what was kept is damaged: that is removed."""
    if not folder.is_dir():
        return None
    try:
        description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        for name, checksum in description["checksums"].items():
            if compute_checksum(folder / name) != checksum:
                raise ValueError(f"{name} has changed")
        train, dev, test, known = (torch.from_numpy(open_array(folder, name)) for name in (*PARTS, "known"))
        return Documents(
            path=path,
            documents=description["documents"],
            vocabulary=Vocabulary(tuple(description["tokens"]), Level(description["level"])),
            known=known,
            held_out=description["held_out"],
            parts=(train, dev, test),
            characters=tuple(description["characters"]),
        )
    except Exception as error:  # NumPy raises many kinds for a damaged header
        print(f"{folder} is damaged ({type(error).__name__}: {error}); preparing it again", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        return None
