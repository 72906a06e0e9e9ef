"""A text file becomes documents: one a line, stripped, none empty, none holding the boundary '.'."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from makemore.config.schema import DataConfig, Source
from makemore.errors import UserError
from makemore.memory import check_memory

BOUNDARY = "."
WANTED = "name a UTF-8 text file, a document a line"
BUNDLED = Path(__file__).parent / "bundled" / "names.txt"
MAKEMORE_URL = "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt"
MAKEMORE_SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"


def locate(data: DataConfig) -> Path:
    """The documents' file; raises UserError if the lecture's list is not cached and cannot be downloaded."""
    if data.source is Source.names:
        return BUNDLED
    if data.source is Source.text:
        return Path(os.path.expanduser(str(data.path)))  # noqa: PTH111 (Path's raises where there is no such user)
    import pooch
    import requests

    cached = Path(pooch.os_cache("makemore")) / "names.txt"
    if not cached.exists():
        try:
            pooch.retrieve(MAKEMORE_URL, f"sha256:{MAKEMORE_SHA256}", fname=cached.name, path=cached.parent)
        except (requests.RequestException, OSError, ValueError) as error:
            raise UserError(
                f"data=makemore: {MAKEMORE_URL} could not be downloaded ({type(error).__name__}); "
                f"save it by hand as {cached}, or use the bundled list: data=names"
            ) from error
    if hashlib.sha256(cached.read_bytes()).hexdigest() != MAKEMORE_SHA256:
        raise UserError(
            f"data=makemore: {cached} is not the lecture's names.txt (SHA-256 {MAKEMORE_SHA256}); "
            f"move it away to download it anew from {MAKEMORE_URL}, or use data=names"
        )
    return cached


def check(path: Path) -> None:
    """Raises UserError for what is not a file that can be read, without reading it."""
    with explain_failed_reads(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(f"data.path={path} is a device or a pipe; {WANTED}")
        if path.is_file() and path.stat().st_size == 0:  # as those of /proc, some of which never end
            raise UserError(f"data.path={path} is empty; {WANTED}")
        with path.open("rb"):
            # As bytes and as text, then as strings and as ids with their positions.
            check_memory(10 * path.stat().st_size, f"data.path={path}", "take a part of it")


@contextlib.contextmanager
def explain_failed_reads(path: Path) -> Iterator[None]:
    """Turns an error of the file system into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"data.path={path} cannot be read: {error.strerror}; {WANTED}") from None


def read(path: Path) -> list[str]:
    """The documents of a UTF-8 text file: its stripped lines, the empty ones left out. Raises UserError if unusable."""
    check(path)
    with explain_failed_reads(path):
        raw = path.read_bytes()
    if b"\0" in raw:
        raise UserError(f"data.path={path} is binary (it holds NUL bytes); {WANTED}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UserError(f"data.path={path} is not UTF-8: see line {line}; convert it to UTF-8 first") from None
    # Only line feeds end a document: str.splitlines would also cut at form feeds and Unicode's own separators.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if BOUNDARY in text:
        line = text.count("\n", 0, text.index(BOUNDARY)) + 1
        raise UserError(
            f"data.path={path} holds '{BOUNDARY}' on line {line}, which marks the boundary between documents; "
            f"take every '{BOUNDARY}' out of the file first"
        )
    # Blank lines go first: as strings they would take fifty times the memory.
    lines = re.sub(r"\n\s+", "\n", text).split("\n")
    documents = [document for document in map(str.strip, lines) if document]
    if not documents:
        raise UserError(f"data.path={path} holds no documents; it must have at least one line that is not blank")
    return documents
